// Checks the hash chain entry by entry, wherever the entries come from: the database (chain.ts) or an export that was
// read from a file, so that whoever keeps one needs no server, and no trust in it, to see whether it is whole.
//
// A log whose oldest part was removed begins with its base: the number and hash of the last entry that was removed. That
// is to be believed only because a later entry of the chain, `audit_log.pruned`, says the same.

import { hash } from 'node:crypto';
import type { AuditTable } from '../store/schema.ts';
import type { ChainHead, ChainVerdict } from './model.ts';

/** What the first entry is chained to. */
export const GENESIS: ChainHead = { seq: 0, hash: '0'.repeat(64) };
export const PRUNED = 'audit_log.pruned';

/** The columns in a fixed order as a JSON list: one text for one entry, whatever wrote the row. */
export function entryHash(row: Omit<AuditTable, 'hash'>): string {
  const canonical = JSON.stringify([
    'keygate-audit-1',
    row.seq,
    row.id,
    row.at,
    row.organization_id,
    row.project_id,
    row.type,
    row.actor,
    row.payload,
    row.previous_hash,
  ]);
  return hash('sha256', canonical, 'hex');
}

/** An entry of another organization in an export: its place in the chain, and nothing of what it says. */
export type Hidden = Pick<AuditTable, 'seq' | 'previous_hash' | 'hash'>;

export class ChainCheck {
  /** The last entry that was right. */
  last: ChainHead;
  #problem: { readonly seq: number; readonly text: string } | null = null;
  readonly #base: ChainHead;
  readonly #known: readonly ChainHead[];
  readonly #pruned: ChainHead[] = [];
  #hidden = 0;

  /**
   * @param base what comes before the first entry
   * @param known heads that were kept elsewhere, or elsewhere in the database: the log must contain them
   */
  constructor(base: ChainHead, known: readonly ChainHead[]) {
    this.#base = base;
    this.last = base;
    this.#known = known;
    for (const head of known) {
      if (head.seq > 0 && head.seq < base.seq)
        this.#fail(
          head.seq,
          `Entry ${head.seq}, which was kept elsewhere, was removed by retention: entries up to ${base.seq} are no ` +
            'longer there. Compare with a head that was kept later.',
        );
      if (head.seq === base.seq && head.hash !== base.hash)
        this.#fail(head.seq, `Entry ${head.seq} was replaced by another.`);
    }
  }

  /** The next entry. False: it, or one before it, is wrong, and nothing after it can be told. */
  take(row: AuditTable | Hidden): boolean {
    if (this.#problem !== null) return false;
    const next = this.last.seq + 1;
    if (row.seq !== next) return this.#fail(next, `Entry ${next} is missing.`);
    if (row.previous_hash !== this.last.hash)
      return this.#fail(next, `Entry ${next} does not follow from the one before it.`);
    if (!('payload' in row)) this.#hidden += 1;
    else if (row.hash !== entryHash(row)) return this.#fail(next, `Entry ${next} was altered.`);
    for (const head of this.#known) {
      if (head.seq === row.seq && head.hash !== row.hash)
        return this.#fail(next, `Entry ${next} was replaced by another.`);
    }
    if ('payload' in row && row.type === PRUNED) {
      const said = prunedBy(row.payload);
      if (said !== null) this.#pruned.push(said);
    }
    this.last = { seq: row.seq, hash: row.hash };
    return true;
  }

  end(): ChainVerdict {
    const missing = this.#known.find((head) => head.seq > this.last.seq);
    if (this.#problem === null && missing !== undefined) {
      const { seq } = this.last;
      this.#fail(seq + 1, `The log ends at entry ${seq}, but entry ${missing.seq} was written.`);
    }
    if (this.#problem === null && this.#base.seq > 0 && this.#hidden === 0) {
      const said = this.#pruned.some(({ seq, hash }) => seq === this.#base.seq && hash === this.#base.hash);
      if (!said)
        this.#fail(
          this.#base.seq + 1,
          `The log begins after entry ${this.#base.seq}, and no entry says that the ones before were removed by retention.`,
        );
    }
    const entries = this.last.seq - this.#base.seq;
    if (this.#problem !== null)
      return { ok: false, entries, seq: this.#problem.seq, problem: this.#problem.text };
    return { ok: true, entries, base: this.#base, head: this.last };
  }

  #fail(seq: number, text: string): false {
    this.#problem ??= { seq, text };
    return false;
  }
}

function prunedBy(payload: string): ChainHead | null {
  const parsed: unknown = JSON.parse(payload);
  const data: unknown = typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, 'data') : null;
  if (typeof data !== 'object' || data === null) return null;
  const seq: unknown = Reflect.get(data, 'through_seq');
  const text: unknown = Reflect.get(data, 'through_hash');
  return typeof seq === 'number' && typeof text === 'string' ? { seq, hash: text } : null;
}

/** `123:abcd…`, as `keygate audit head` prints it. */
export function parseHead(text: string): ChainHead | null {
  const [, seq, digest] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text.trim()) ?? [];
  return seq === undefined || digest === undefined ? null : { seq: Number(seq), hash: digest };
}

export function showHead({ seq, hash }: ChainHead): string {
  return `${seq}:${hash}`;
}
