// The audit log's hash chain.
//
// Each entry's hash is SHA-256 over its number, every other column and the hash of the entry before it, so that an
// entry that is altered, removed, inserted or moved breaks the chain at its place. The head (number and hash of the
// newest entry) is also kept in `meta`; entries are chained to it, not to the last row found, so that cutting off
// the newest rows leaves a gap that later entries cannot close.
//
// What it cannot show: whoever can write the database can also rewrite the whole chain with its head. Against that,
// keep a head outside from time to time and give it to `verifyChain`.
//
// `append` runs inside the change's own transaction, and such transactions run one at a time (Store.write): the
// change and its entry are both there or both not, and the chain has one head.

import { hash } from 'node:crypto';
import { newId } from '../platform/ids.ts';
import type { AuditTable } from '../store/schema.ts';
import type { Store, Tx } from '../store/store.ts';
import type { AuditEntry, ChainHead, ChainVerdict } from './model.ts';

/** What the first entry is chained to. */
const GENESIS: ChainHead = { seq: 0, hash: '0'.repeat(64) };
const HEAD = 'audit_head';
const PAGE = 1000;

/** Appends one entry within the transaction of the change that it tells of. */
export async function append(tx: Tx, entry: AuditEntry): Promise<void> {
  const head = await readHead(tx);
  const row: Omit<AuditTable, 'hash'> = {
    seq: head.seq + 1,
    id: newId('audit_log-'),
    at: entry.by.at,
    organization_id: entry.by.organizationId,
    project_id: entry.projectId,
    type: entry.type,
    actor: JSON.stringify(entry.by.actor),
    payload: JSON.stringify(entry.payload),
    previous_hash: head.hash,
  };
  const sealed = { ...row, hash: entryHash(row) };
  await tx.insertInto('audit_log').values(sealed).execute();
  const value = `${sealed.seq}:${sealed.hash}`;
  await tx
    .insertInto('meta')
    .values({ name: HEAD, value })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
    .execute();
}

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

/** The newest entry's number and hash; number 0 if there is none yet. */
export async function readHead(db: Store['db'] | Tx): Promise<ChainHead> {
  const kept = await db.selectFrom('meta').select('value').where('name', '=', HEAD).executeTakeFirst();
  if (kept === undefined) return GENESIS;
  const colon = kept.value.indexOf(':');
  return { seq: Number(kept.value.slice(0, colon)), hash: kept.value.slice(colon + 1) };
}

/**
 * Reads the whole log in pages and says whether it is whole. Entries may be appended meanwhile.
 * @param anchor a head that was kept elsewhere: the log must contain it
 */
export async function verifyChain(store: Store, anchor?: ChainHead): Promise<ChainVerdict> {
  const head = await readHead(store.db);
  let previous = GENESIS;
  for (;;) {
    const rows = await store.db
      .selectFrom('audit_log')
      .selectAll()
      .where('seq', '>', previous.seq)
      .orderBy('seq')
      .limit(PAGE)
      .execute();
    if (rows.length === 0) break;
    for (const row of rows) {
      const problem = flaw(row, previous, [head, anchor]);
      if (problem !== undefined) return broken(previous, problem);
      previous = { seq: row.seq, hash: row.hash };
    }
  }
  for (const known of [head, anchor]) {
    if (known !== undefined && known.seq > previous.seq) {
      return broken(previous, `The log ends at entry ${previous.seq}, but entry ${known.seq} was written.`);
    }
  }
  const newest = await readHead(store.db);
  if (newest.seq < previous.seq) {
    return broken(
      newest,
      `The log goes on to entry ${previous.seq}, but its head was set back to ${newest.seq}.`,
    );
  }
  return { ok: true, entries: previous.seq, head: previous };
}

function flaw(
  row: AuditTable,
  previous: ChainHead,
  known: readonly (ChainHead | undefined)[],
): string | undefined {
  if (row.seq !== previous.seq + 1) return `Entry ${previous.seq + 1} is missing.`;
  if (row.previous_hash !== previous.hash) return `Entry ${row.seq} does not follow from the one before it.`;
  if (row.hash !== entryHash(row)) return `Entry ${row.seq} was altered.`;
  for (const head of known) {
    if (head?.seq === row.seq && head.hash !== row.hash) return `Entry ${row.seq} was replaced by another.`;
  }
  return undefined;
}

function broken(previous: ChainHead, problem: string): ChainVerdict {
  return { ok: false, entries: previous.seq, seq: previous.seq + 1, problem };
}
