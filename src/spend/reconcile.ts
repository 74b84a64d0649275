// Reconciling a dead node's lease: what its usage log shows as settled is entered, so that what stays counted as possibly
// spent is only what was under way when it died.
//
// Each event names the lease that it was spent under. A lease's id says when it began, so only the segments that its node
// wrote since are read, one at a time, and in them only the lines that name the lease. Which accounts an event belongs to
// follows from the budgets above it, by the same look-up as on the road; a budget that is younger than the event did not
// count it.
//
// Any node may do this, and twice does no harm: escrow takes the larger of what it knows and what it is told, never more
// than the slice.

import { leaseIdTime } from '../platform/ids.ts';
import type { Store } from '../store/store.ts';
import type { BudgetDirectory } from './budgets/directory.ts';
import { windowAt } from './budgets/window.ts';
import type { AccountKey, EscrowStore, FencedLease } from './escrow/protocol.ts';
import type { SqlEscrowStore } from './escrow/store.ts';
import { readSegment } from './segment/read.ts';
import type { UsageEvent } from './usage.ts';

/** Clocks of the node and of its events differ by less. */
const MARGIN_MS = 60_000;

type Spent = AccountKey & { readonly spent: number };

export interface ReconcileDeps {
  readonly store: Store;
  readonly escrow: Pick<EscrowStore, 'reconcile'> & Pick<SqlEscrowStore, 'unresolved'>;
  readonly budgets: BudgetDirectory;
}

/** Enters what the usage log shows of one dead lease. */
export async function reconcileLease(deps: ReconcileDeps, { lease, node }: FencedLease): Promise<void> {
  const since = leaseIdTime(lease);
  if (since === undefined) return;
  const accounts = new Map<string, { key: AccountKey; spent: number }>();
  for await (const event of eventsOf(deps.store, lease, node, since - MARGIN_MS)) {
    for (const key of accountsOf(deps.budgets, event)) {
      const name = `${key.budgetId}\n${key.subject}\n${key.windowStart}`;
      const account = accounts.get(name) ?? { key, spent: 0 };
      account.spent += event.spend?.cost ?? 0;
      accounts.set(name, account);
    }
  }
  const spent: Spent[] = [...accounts.values()].map(({ key, spent }) => ({ ...key, spent }));
  if (spent.length > 0) await deps.escrow.reconcile(lease, spent);
}

/** At start: every lease whose node died, whoever fenced it, and perhaps died before it could reconcile it. */
export async function reconcileAll(deps: ReconcileDeps): Promise<void> {
  const leases = new Map<string, FencedLease>();
  for (const { lease, node, fencedAt } of await deps.escrow.unresolved())
    leases.set(lease, { lease, node, fencedAt });
  for (const lease of leases.values()) await reconcileLease(deps, lease);
}

async function* eventsOf(
  store: Store,
  lease: string,
  node: string,
  since: number,
): AsyncGenerator<UsageEvent> {
  let after = 0;
  for (;;) {
    const segment = await store.db
      .selectFrom('usage_segments')
      .selectAll()
      .where('node', '=', node)
      .where('last_at', '>=', since)
      .where('seq', '>', after)
      .orderBy('seq')
      .limit(1)
      .executeTakeFirst();
    if (segment === undefined) return;
    after = segment.seq;
    if (!Buffer.from(segment.payload).includes(lease)) continue;
    for (const event of readSegment(segment)) if (event.spend?.lease === lease) yield event;
  }
}

function accountsOf(budgets: BudgetDirectory, event: UsageEvent): AccountKey[] {
  const applying = budgets.applying({
    organizationId: event.organizationId,
    projectId: event.projectId,
    keyId: event.keyId,
    serviceAccountId: event.ownerId.startsWith('svc_acct_') ? event.ownerId : null,
    groupIds: event.spend?.groups ?? [],
    endUser: event.spend?.endUser ?? null,
  });
  return applying
    .filter(({ budget }) => budget.createdAt <= event.at)
    .map(({ budget, subject }) => ({
      budgetId: budget.id,
      subject,
      windowStart: windowAt(budget.period, event.at).start,
    }));
}
