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

import { newId } from '../platform/ids.ts';
import type { AuditTable } from '../store/schema.ts';
import type { Store, Tx } from '../store/store.ts';
import { ChainCheck, entryHash, GENESIS, parseHead, showHead } from './check.ts';
import type { AuditEntry, ChainHead, ChainVerdict } from './model.ts';
import { subjectsOf } from './subjects.ts';

const HEAD = 'audit_head';
export const BASE = 'audit_base';
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
  const subjects = subjectsOf(entry.by.actor, entry.payload).map((one) => ({ ...one, seq: sealed.seq }));
  if (subjects.length > 0)
    await tx
      .insertInto('audit_subjects')
      .values(subjects)
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  await keep(tx, HEAD, { seq: sealed.seq, hash: sealed.hash });
}

/** The newest entry's number and hash; number 0 if there is none yet. */
export async function readHead(db: Store['db'] | Tx): Promise<ChainHead> {
  return await readKept(db, HEAD);
}

/** The last entry that retention removed; number 0 if it never did. */
export async function readBase(db: Store['db'] | Tx): Promise<ChainHead> {
  return await readKept(db, BASE);
}

async function readKept(db: Store['db'] | Tx, name: string): Promise<ChainHead> {
  const kept = await db.selectFrom('meta').select('value').where('name', '=', name).executeTakeFirst();
  return kept === undefined ? GENESIS : (parseHead(kept.value) ?? GENESIS);
}

/** Within a `write`: keeps a head in `meta`. */
export async function keep(tx: Tx, name: typeof HEAD | typeof BASE, head: ChainHead): Promise<void> {
  const value = showHead(head);
  await tx
    .insertInto('meta')
    .values({ name, value })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
    .execute();
}

/** Entries in order, in pages. */
export async function* entriesAfter(db: Store['db'], seq: number, page = PAGE): AsyncGenerator<AuditTable[]> {
  let after = seq;
  for (;;) {
    const rows = await db
      .selectFrom('audit_log')
      .selectAll()
      .where('seq', '>', after)
      .orderBy('seq')
      .limit(page)
      .execute();
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.seq;
    yield rows;
  }
}

/**
 * Reads the whole log in pages and says whether it is whole. Entries may be appended meanwhile.
 * @param anchor a head that was kept elsewhere: the log must contain it
 */
export async function verifyChain(store: Store, anchor?: ChainHead): Promise<ChainVerdict> {
  const [head, base] = [await readHead(store.db), await readBase(store.db)];
  const check = new ChainCheck(base, anchor === undefined ? [head] : [head, anchor]);
  reading: for await (const rows of entriesAfter(store.db, base.seq)) {
    for (const row of rows) if (!check.take(row)) break reading;
  }
  const verdict = check.end();
  const newest = await readHead(store.db);
  if (verdict.ok && newest.seq < verdict.head.seq) {
    const problem = `The log goes on to entry ${verdict.head.seq}, but its head was set back to ${newest.seq}.`;
    return { ok: false, entries: newest.seq - base.seq, seq: newest.seq + 1, problem };
  }
  return verdict;
}
