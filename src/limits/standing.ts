// Where an organization stands: what it paid, the tier that it reached by that, and the tier that an administrator
// pinned. The rows, and the changes of them, each within the caller's `Store.write`, with its audit entry.
//
// An organization reaches a tier by two things, what it paid and the days since it first did (tiers.ts). That is looked
// at when a payment is recorded and once an hour (rise.ts). The tier reached is kept in the row, so that a change is
// audited and announced once, by whichever node sees it first. A pin wins over it and leaves it as it is.

import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import type { Tier } from './tables.ts';
import { type TierAccount, tierFor } from './tiers.ts';

export interface Standing extends TierAccount {
  readonly organizationId: string;
  /** The tier that it reached, as it was last announced; null: it was never looked at, and is in the lowest. */
  readonly reached: string | null;
}

/** What raised an organization, or brought it down. */
export type Occasion = 'payment' | 'time';

const PAGE = 1_000;

export function noStanding(organizationId: string): Standing {
  return { organizationId, paidTotal: 0n, firstPaymentAt: null, pinned: null, reached: null };
}

/** The tier that an organization reached by itself, whatever is pinned. */
export function reachedTier(tiers: readonly Tier[], standing: TierAccount, now: number): Tier {
  return tierFor(tiers, { ...standing, pinned: null }, now);
}

/** The standings of these organizations; one that never paid and was never pinned has none. */
export async function standingsOf(db: Db | Tx, organizationIds: readonly string[]): Promise<Standing[]> {
  if (organizationIds.length === 0) return [];
  const rows = await db
    .selectFrom('usage_tiers')
    .selectAll()
    .where('organization_id', 'in', organizationIds)
    .execute();
  return rows.map(standingOf);
}

export async function readStanding(db: Db | Tx, organizationId: string): Promise<Standing> {
  const [found] = await standingsOf(db, [organizationId]);
  return found ?? noStanding(organizationId);
}

export async function* allStandings(db: Db): AsyncGenerator<Standing[]> {
  let after = '';
  for (;;) {
    const rows = await db
      .selectFrom('usage_tiers')
      .selectAll()
      .where('organization_id', '>', after)
      .orderBy('organization_id')
      .limit(PAGE)
      .execute();
    if (rows.length > 0) yield rows.map(standingOf);
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) return;
    after = last.organization_id;
  }
}

/** Within a `write`: the standing is this from now on. */
export async function putStanding(
  store: Pick<Store, 'announce'>,
  tx: Tx,
  standing: Standing,
  atMs: number,
): Promise<void> {
  const row = {
    tier: standing.reached,
    pinned: standing.pinned,
    paid_nano: standing.paidTotal.toString(),
    first_payment_at: standing.firstPaymentAt,
  };
  await tx
    .insertInto('usage_tiers')
    .values({ organization_id: standing.organizationId, ...row })
    .onConflict((conflict) => conflict.column('organization_id').doUpdateSet(row))
    .execute();
  await store.announce(tx, 'organization', standing.organizationId, atMs);
}

/** Within a `write`: looks at what the organization has reached, and writes down and audits a change of it. */
export async function settleTier(
  store: Pick<Store, 'announce'>,
  tx: Tx,
  by: Attribution,
  tiers: readonly Tier[],
  occasion: Occasion,
): Promise<Standing> {
  const before = await readStanding(tx, by.organizationId);
  const reached = reachedTier(tiers, before, by.at).name;
  if (isSettled(tiers, before, reached)) return before;
  const after = { ...before, reached };
  await putStanding(store, tx, after, by.at);
  await append(tx, {
    by,
    projectId: null,
    type: 'organization.updated',
    payload: {
      id: by.organizationId,
      changes_requested: { usage_tier: reached },
      before: { usage_tier: before.reached ?? tiers[0]?.name ?? null },
      occasion,
      pinned: before.pinned,
    },
  });
  return after;
}

/** Whether the row says already what was reached. One that was never looked at says the lowest. */
export function isSettled(tiers: readonly Tier[], standing: Standing, reached: string): boolean {
  return (standing.reached ?? tiers[0]?.name) === reached;
}

/** Within a `write`: pins the organization to a tier, which the caller knows to be one; null takes the pin away. */
export async function pinTier(
  store: Pick<Store, 'announce'>,
  tx: Tx,
  by: Attribution,
  pinned: string | null,
): Promise<Standing> {
  const before = await readStanding(tx, by.organizationId);
  if (before.pinned === pinned) return before;
  const after = { ...before, pinned };
  await putStanding(store, tx, after, by.at);
  await append(tx, {
    by,
    projectId: null,
    type: 'organization.updated',
    payload: {
      id: by.organizationId,
      changes_requested: { usage_tier_pin: pinned },
      before: { usage_tier_pin: before.pinned },
    },
  });
  return after;
}

interface Row {
  readonly organization_id: string;
  readonly tier: string | null;
  readonly pinned: string | null;
  readonly paid_nano: string;
  readonly first_payment_at: number | null;
}

function standingOf(row: Row): Standing {
  return {
    organizationId: row.organization_id,
    reached: row.tier,
    pinned: row.pinned,
    paidTotal: BigInt(row.paid_nano),
    firstPaymentAt: row.first_payment_at,
  };
}
