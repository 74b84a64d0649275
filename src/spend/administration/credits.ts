// Prepaid credits: how an organization pays is declared, and grants are made and revoked. Keygate's own.

import { beyond, cut, type Page, type PageRequest, unknownAfter } from '../../access/page.ts';
import { invalidParameter } from '../../access/validation.ts';
import type { Attribution } from '../../audit/model.ts';
import { ApiError } from '../../platform/errors.ts';
import { type CreditGrantId, newId, type OrganizationId } from '../../platform/ids.ts';
import type { CreditGrantTable } from '../../store/schema-credits.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import { type Budget, MAX_LIMIT } from '../budgets/model.ts';
import { deleteBudget, insertBudget } from '../budgets/store.ts';
import { charge, type Grant, type Ledger, limitOf, nextExpiry, revoke } from '../credits/ledger.ts';
import {
  type Billing,
  type CreditAccount,
  creditAccount,
  endDueGrants,
  grantOf,
  lockHeld,
  readHeld,
  readLedger,
  writeLedger,
} from '../credits/store.ts';
import { note } from './owner.ts';

export interface GrantOrder {
  /** Nano-dollars. */
  readonly amount: bigint;
  /** Milliseconds since the epoch; null: never. */
  readonly expiresAt: number | null;
  readonly note: string;
  /** A second grant of the same reference is not made. */
  readonly reference: string | null;
}

/** A grant of the same reference whose expiry differs by no more is the same: a day. */
const SAME_EXPIRY_MS = 86_400_000;

/** Where the credits of an organization stand. Nano-dollars. */
export interface Standing {
  readonly billing: Billing;
  readonly declaredAt: number | null;
  /** What new calls can still reserve; below 0: more was billed than was granted. */
  readonly available: bigint;
  /** What calls under way may cost, and what nodes hold ahead. */
  readonly reserved: bigint;
  /** The grants as they are with everything charged that is settled. */
  readonly ledger: Ledger;
  /** When what is left of the next grant expires. */
  readonly nextExpiry: number | null;
}

/** @param unsaid how an organization pays that did not say so, by the configuration */
export async function standing(
  store: Store,
  organizationId: OrganizationId,
  unsaid: Billing,
  now: number,
): Promise<Standing> {
  const account = await creditAccount(store.db, organizationId);
  const budgetId = account?.budgetId ?? null;
  if (budgetId !== null) {
    const { grants } = await readLedger(store.db, organizationId, 0n);
    // Nobody may have called since it expired.
    if (grants.some(isDue(now))) await endDueGrants(store, [budgetId], now);
  }
  const current = (await creditAccount(store.db, organizationId)) ?? account;
  const held =
    current?.budgetId == null ? { settled: 0n, committed: 0n } : await readHeld(store.db, current.budgetId);
  const ledger = charge(
    await readLedger(store.db, organizationId, current?.charged ?? 0n),
    held.settled,
    now,
  );
  return {
    billing: current?.billing ?? unsaid,
    declaredAt: current?.declaredAt ?? null,
    available: limitOf(ledger) - held.committed,
    reserved: held.committed - held.settled,
    ledger,
    nextExpiry: nextExpiry(ledger),
  };
}

function isDue(now: number): (grant: Grant) => boolean {
  return ({ status, expiresAt }) => status === 'active' && expiresAt !== null && expiresAt <= now;
}

/** Says how the organization pays. Grants that are there stay; while it is post-paid they are not used. */
export async function declareBilling(
  store: Store,
  tx: Tx,
  by: Attribution,
  billing: 'prepaid' | 'postpaid',
): Promise<void> {
  const account = await creditAccount(tx, by.organizationId);
  if (account?.billing === billing) return;
  if (billing === 'prepaid') await openAccount(store, tx, by, account);
  else await closeAccount(store, tx, by, account);
  await store.announce(tx, 'credit_account', by.organizationId, by.at);
  await note(tx, by, null, 'billing.updated', by.organizationId, { billing });
}

/** Makes a grant; the first one declares the organization prepaid. The same again gives the one that is there. */
export async function grantCredits(
  store: Store,
  tx: Tx,
  by: Attribution,
  order: GrantOrder,
  unsaid: Billing,
): Promise<CreditGrantTable> {
  const { organizationId } = by;
  const again = await repeated(tx, organizationId, order);
  if (again !== undefined) return again;
  if (order.expiresAt !== null && order.expiresAt <= by.at)
    throw invalidParameter('expires_at', 'A grant expires in the future, or never.');
  const known = await creditAccount(tx, organizationId);
  if ((known?.billing ?? unsaid) === 'postpaid')
    throw new ApiError(
      400,
      'This organization is post-paid: its calls are not charged to credits. Declare it prepaid first (`keygate credits prepaid`).',
    );
  if (known === undefined) await declareBilling(store, tx, by, 'prepaid');
  const account = await accountIn(tx, organizationId);
  const { settled } = await lockHeld(store, tx, account.budgetId);
  const before = await readLedger(tx, organizationId, account.charged);
  const row: CreditGrantTable = {
    id: newId('grant_'),
    organization_id: organizationId,
    amount: order.amount.toString(),
    used: '0',
    taken: '0',
    honours: '0',
    status: 'active',
    note: order.note,
    reference: order.reference,
    created_at: by.at,
    expires_at: order.expiresAt,
    ended_at: null,
  };
  // What was owed is owed since before this grant: it is charged when the next thing happens.
  const charged = charge(before, settled, by.at);
  const after = { ...charged, grants: [...charged.grants, grantOf(row)] };
  if (limitOf(after) > MAX_LIMIT)
    throw invalidParameter('amount', 'The credits of an organization are at most nine billion dollars.');
  await tx.insertInto('credit_grants').values(row).execute();
  await writeLedger(tx, organizationId, account.budgetId, before, after);
  await store.announce(tx, 'budget', account.budgetId, by.at);
  await note(tx, by, null, 'credits.granted', row.id, {
    amount_nano: row.amount,
    expires_at: order.expiresAt,
    note: order.note,
    reference: order.reference,
  });
  return row;
}

/** Takes away what is left of a grant. Calls under way are finished. */
export async function revokeGrant(
  store: Store,
  tx: Tx,
  by: Attribution,
  id: CreditGrantId,
): Promise<CreditGrantTable> {
  const { organizationId } = by;
  const row = await getGrant(tx, organizationId, id);
  if (row.status !== 'active') return row;
  const account = await creditAccount(tx, organizationId);
  const budgetId = account?.budgetId ?? null;
  const held = budgetId === null ? { settled: 0n, committed: 0n } : await lockHeld(store, tx, budgetId);
  const before = await readLedger(tx, organizationId, account?.charged ?? 0n);
  const after = revoke(before, id, held.settled, held.committed, by.at);
  if (budgetId === null)
    await writeGrant(
      tx,
      after.grants.find((grant) => grant.id === id),
    );
  else {
    await writeLedger(tx, organizationId, budgetId, before, after);
    await store.announce(tx, 'budget', budgetId, by.at);
  }
  const taken = after.grants.find((grant) => grant.id === id)?.taken ?? 0n;
  await note(tx, by, null, 'credits.revoked', id, { taken_nano: taken.toString() });
  return await getGrant(tx, organizationId, id);
}

/** The organization's grant of this id, or 404. */
export async function getGrant(
  db: Db | Tx,
  organizationId: OrganizationId,
  id: CreditGrantId,
): Promise<CreditGrantTable> {
  const row = await db
    .selectFrom('credit_grants')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
  if (row === undefined) throw new ApiError(404, 'No such grant of credits.', { param: 'grant_id' });
  return row;
}

export async function listGrants(
  db: Db,
  organizationId: OrganizationId,
  page: PageRequest,
): Promise<Page<CreditGrantTable>> {
  let query = db.selectFrom('credit_grants').selectAll().where('organization_id', '=', organizationId);
  if (page.after !== undefined) {
    const place = await db
      .selectFrom('credit_grants')
      .select(['id', 'created_at'])
      .where('organization_id', '=', organizationId)
      .where('id', '=', page.after)
      .executeTakeFirst();
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('credit_grants', place, 'desc'));
  }
  const rows = await query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}

/** The grant that was made under this reference; 400 if it was another one. */
async function repeated(
  tx: Tx,
  organizationId: OrganizationId,
  order: GrantOrder,
): Promise<CreditGrantTable | undefined> {
  if (order.reference === null) return undefined;
  const row = await tx
    .selectFrom('credit_grants')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('reference', '=', order.reference)
    .executeTakeFirst();
  // `90d` from now is a moment later when it is asked again.
  const sameExpiry =
    row?.expires_at === order.expiresAt ||
    Math.abs((row?.expires_at ?? 0) - (order.expiresAt ?? 0)) <= SAME_EXPIRY_MS;
  if (row !== undefined && (BigInt(row.amount) !== order.amount || !sameExpiry))
    throw invalidParameter(
      'reference',
      `There is a grant of this reference already (${row.id}), with another amount or expiry.`,
    );
  return row;
}

/** The budget that the credits are, with what is left of earlier grants. */
async function openAccount(
  store: Store,
  tx: Tx,
  by: Attribution,
  account: CreditAccount | undefined,
): Promise<void> {
  const { organizationId, at } = by;
  const ledger = await readLedger(tx, organizationId, 0n);
  const budget: Budget = {
    id: newId('budget_'),
    organizationId,
    projectId: null,
    scope: 'credits',
    scopeId: organizationId,
    period: 'total',
    limit: limitOf(ledger),
    enforcement: 'hard',
    alerts: [],
    createdAt: at,
  };
  await insertBudget(store, tx, budget);
  await tx
    .updateTable('budgets')
    .set({ limit_until: nextExpiry(ledger) })
    .where('id', '=', budget.id)
    .execute();
  const row = { billing: 'prepaid' as const, budget_id: budget.id, charged: '0', declared_at: at };
  if (account === undefined)
    await tx
      .insertInto('credit_accounts')
      .values({ organization_id: organizationId, ...row })
      .execute();
  else
    await tx.updateTable('credit_accounts').set(row).where('organization_id', '=', organizationId).execute();
}

async function closeAccount(
  store: Store,
  tx: Tx,
  by: Attribution,
  account: CreditAccount | undefined,
): Promise<void> {
  const { organizationId, at } = by;
  const row = { billing: 'postpaid' as const, budget_id: null, charged: '0', declared_at: at };
  if (account === undefined) {
    await tx
      .insertInto('credit_accounts')
      .values({ organization_id: organizationId, ...row })
      .execute();
    return;
  }
  if (account.budgetId !== null) {
    const { settled } = await lockHeld(store, tx, account.budgetId);
    const before = await readLedger(tx, organizationId, account.charged);
    const { grants } = charge(before, settled, at);
    // Calls under way are no business of the credits any more.
    for (const grant of grants) await writeGrant(tx, { ...grant, honours: 0n });
    await deleteBudget(store, tx, organizationId, account.budgetId, at);
  }
  await tx.updateTable('credit_accounts').set(row).where('organization_id', '=', organizationId).execute();
}

async function writeGrant(tx: Tx, grant: Grant | undefined): Promise<void> {
  if (grant === undefined) return;
  await tx
    .updateTable('credit_grants')
    .set({
      used: grant.used.toString(),
      taken: grant.taken.toString(),
      honours: grant.honours.toString(),
      status: grant.status,
      ended_at: grant.endedAt,
    })
    .where('id', '=', grant.id)
    .execute();
}

async function accountIn(tx: Tx, organizationId: OrganizationId) {
  const account = await creditAccount(tx, organizationId);
  if (account?.budgetId == null) throw new Error('a prepaid organization has a budget of credits');
  return { ...account, budgetId: account.budgetId };
}
