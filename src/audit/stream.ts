// Streams of the audit log: every entry, in order, to where the administrator's configuration says, at least once. How
// far a stream has come is kept in the database and moves only when the receiver has taken what was sent; of several
// nodes one sends, whoever holds the stream's lease. A receiver that is away is tried again for as long as it takes: the
// log waits in the database, and retention removes nothing that a stream has not taken.

import type { Clock } from '../platform/clock.ts';
import { StoreLease } from '../store/lease.ts';
import type { AuditTable } from '../store/schema.ts';
import type { Db, Store } from '../store/store.ts';
import { readBase } from './chain.ts';

/** Where entries go. Resolves when the receiver has them; rejects with what went wrong, without any secret. */
export interface AuditSink {
  readonly name: string;
  /** Entries in one go. */
  readonly most: number;
  send(entries: readonly AuditTable[], signal: AbortSignal): Promise<void>;
}

export interface AuditStreamOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly node: string;
  readonly sink: AuditSink;
  readonly onError: (error: unknown) => void;
  /** From 0 to 1. */
  readonly random?: () => number;
}

const LEASE_MS = 60_000;
const LOOK_MS = 1_000;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 5 * 60_000;

export class AuditStream {
  readonly name: string;
  /** Entries that this process sent, and goes that failed. */
  sent = 0;
  failed = 0;
  /** Entries that waited when it was last looked. */
  behind = 0;
  readonly #options: AuditStreamOptions;
  readonly #lease: StoreLease;
  readonly #abort = new AbortController();
  #failures = 0;
  #holds = false;
  #timer: NodeJS.Timeout | null = null;
  #working: Promise<unknown> = Promise.resolve();

  constructor(options: AuditStreamOptions) {
    this.#options = options;
    this.name = options.sink.name;
    this.#lease = new StoreLease(options.store, `audit/${this.name}`, options.node, options.clock);
  }

  start(): void {
    this.#later(0);
  }

  /** Sends what there is, in order. False: another node does, or the receiver did not take it. */
  async pass(): Promise<boolean> {
    const { store, clock, sink, onError } = this.#options;
    try {
      this.#holds = await this.#lease.take(LEASE_MS);
      if (!this.#holds) return false;
      for (;;) {
        const from = await cursorOf(store.db, this.name);
        const entries = await entriesAfter(store.db, from, sink.most);
        const last = entries.at(-1);
        if (last === undefined) break;
        await sink.send(entries, this.#abort.signal);
        await moveCursor(store.db, this.name, last.seq, clock.now());
        this.sent += entries.length;
        this.#failures = 0;
        if (this.#abort.signal.aborted || !(await this.#lease.take(LEASE_MS))) break;
      }
      this.behind = 0;
      return true;
    } catch (error) {
      if (this.#abort.signal.aborted) return false;
      this.failed += 1;
      this.#failures += 1;
      onError(error);
      await noteFailure(store.db, this.name, error, clock.now()).catch(onError);
      this.behind = await behindOf(store.db, this.name).catch(() => this.behind);
      return false;
    }
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#abort.abort();
    await this.#working;
    if (this.#holds) await this.#lease.release();
  }

  #later(ms: number): void {
    if (this.#abort.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#working = this.pass().finally(() => this.#later(this.#pause()));
    }, ms).unref();
  }

  #pause(): number {
    if (this.#failures === 0) return LOOK_MS;
    const { random = Math.random } = this.#options;
    const pause = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(20, this.#failures - 1));
    return pause * (1 + random() / 5);
  }
}

/** The last entry that every one of these streams has taken; Infinity: there are none. */
export async function takenByAll(db: Db, names: readonly string[]): Promise<number> {
  const cursors = await Promise.all(names.map((name) => cursorOf(db, name)));
  return Math.min(Number.POSITIVE_INFINITY, ...cursors);
}

/** The last entry that a stream has taken; a new one begins with the oldest entry that there is. */
export async function cursorOf(db: Db, name: string): Promise<number> {
  const row = await db.selectFrom('audit_streams').select('seq').where('name', '=', name).executeTakeFirst();
  return row?.seq ?? (await readBase(db)).seq;
}

async function moveCursor(db: Db, name: string, seq: number, at: number): Promise<void> {
  const row = { seq, updated_at: at, last_error: null };
  await db
    .insertInto('audit_streams')
    .values({ name, ...row })
    // A holder that was held up longer than its lease must not take the cursor back.
    .onConflict((conflict) => conflict.column('name').doUpdateSet(row).where('audit_streams.seq', '<', seq))
    .execute();
}

async function noteFailure(db: Db, name: string, error: unknown, at: number): Promise<void> {
  const last_error = (error instanceof Error ? error.message : 'it failed').slice(0, 500);
  const seq = await cursorOf(db, name);
  await db
    .insertInto('audit_streams')
    .values({ name, seq, updated_at: at, last_error })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ updated_at: at, last_error }))
    .execute();
}

async function entriesAfter(db: Db, seq: number, limit: number): Promise<AuditTable[]> {
  return await db
    .selectFrom('audit_log')
    .selectAll()
    .where('seq', '>', seq)
    .orderBy('seq')
    .limit(limit)
    .execute();
}

async function behindOf(db: Db, name: string): Promise<number> {
  const newest = await db
    .selectFrom('audit_log')
    .select(({ fn }) => fn.max<number | null>('seq').as('seq'))
    .executeTakeFirst();
  return Math.max(0, (newest?.seq ?? 0) - (await cursorOf(db, name)));
}
