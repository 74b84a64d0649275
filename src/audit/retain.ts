// Retention of the audit log: the oldest entries are removed, and the chain stays provable. What is left begins with its
// base, the number and hash of the last entry that was removed; that removal is itself an entry of the chain, in the same
// transaction, and says the same base, so that whoever cuts the log off without the key to the rest of the chain is found
// out (check.ts). An export keeps what retention removes.

import type { Clock } from '../platform/clock.ts';
import type { OrganizationId } from '../platform/ids.ts';
import type { Store, Tx } from '../store/store.ts';
import { append, BASE, keep, readBase, readHead } from './chain.ts';
import { PRUNED } from './check.ts';

/** Entries removed in one transaction, which every other change waits for. */
const GROUP = 2_000;

/**
 * Removes entries that are older than `retentionMs`, but none that `taken` says is still to be streamed, and never the
 * newest. @returns how many
 */
export async function pruneAudit(
  store: Store,
  clock: Clock,
  retentionMs: number,
  taken: () => Promise<number>,
): Promise<number> {
  const before = clock.now() - retentionMs;
  const base = await readBase(store.db);
  const kept = await store.db
    .selectFrom('audit_log')
    .select('seq')
    .where('seq', '>', base.seq)
    .where('at', '>=', before)
    .orderBy('seq')
    .limit(1)
    .executeTakeFirst();
  const head = await readHead(store.db);
  // Clocks may have stood otherwise when later entries were written: everything from the first young one on is kept.
  const through = Math.min((kept?.seq ?? head.seq) - 1, head.seq - 1, await taken());
  if (through <= base.seq) return 0;
  let removed = 0;
  for (let at = base.seq; at < through; at = Math.min(through, at + GROUP)) {
    removed += await store.write((tx) => prune(tx, Math.min(through, at + GROUP), through, clock.now()));
  }
  return removed;
}

/** Removes entries up to `to`; with the last group the chain says so. */
async function prune(tx: Tx, to: number, through: number, now: number): Promise<number> {
  const last = await tx
    .selectFrom('audit_log')
    .select(['seq', 'hash', 'at', 'organization_id'])
    .where('seq', '=', to)
    .executeTakeFirst();
  if (last === undefined) return 0;
  const from = await readBase(tx);
  await tx.deleteFrom('audit_log').where('seq', '<=', to).execute();
  await tx.deleteFrom('audit_subjects').where('seq', '<=', to).execute();
  const base = { seq: last.seq, hash: last.hash };
  await keep(tx, BASE, base);
  await append(tx, {
    by: {
      // The column holds what newId made.
      organizationId: last.organization_id as OrganizationId,
      actor: { type: 'server' },
      at: now,
    },
    projectId: null,
    type: PRUNED,
    payload: {
      id: last.organization_id,
      data: {
        through_seq: base.seq,
        through_hash: base.hash,
        through_at: last.at,
        entries: base.seq - from.seq,
        more: to < through,
      },
    },
  });
  return base.seq - from.seq;
}
