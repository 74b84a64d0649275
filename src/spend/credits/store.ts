// Credits in the database. What is read here to be changed is locked first: the budget that the credits are, then its
// account, in the order in which a turn of escrow locks them, so that neither waits for the other in a circle.

import { append } from '../../audit/chain.ts';
import type { BudgetId, OrganizationId } from '../../platform/ids.ts';
import type { CreditGrantTable } from '../../store/schema-credits.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import { accountName, stateOf } from '../escrow/rows.ts';
import { endDue, type Grant, type Ledger, limitOf, nextExpiry } from './ledger.ts';

/** How an organization pays. `undeclared`: nobody said, and paid calls are refused. */
export type Billing = 'prepaid' | 'postpaid' | 'undeclared';

export interface CreditAccount {
  readonly billing: 'prepaid' | 'postpaid';
  readonly budgetId: BudgetId | null;
  readonly charged: bigint;
  readonly declaredAt: number;
}

/** The money of a credit budget: settled, and settled or possible. */
export interface Held {
  readonly settled: bigint;
  readonly committed: bigint;
}

/** Undefined: nobody declared how this organization pays. */
export async function creditAccount(
  db: Db | Tx,
  organizationId: OrganizationId,
): Promise<CreditAccount | undefined> {
  const row = await db
    .selectFrom('credit_accounts')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .executeTakeFirst();
  return (
    row && {
      billing: row.billing,
      // The column holds what newId made.
      budgetId: row.budget_id as BudgetId | null,
      charged: BigInt(row.charged),
      declaredAt: row.declared_at,
    }
  );
}

/** The organizations that said how they pay. */
export async function declared(db: Db): Promise<Set<string>> {
  const rows = await db.selectFrom('credit_accounts').select('organization_id').execute();
  return new Set(rows.map((row) => row.organization_id));
}

/** Within a transaction: the money of a credit budget, which is locked until the transaction ends. */
export async function lockHeld(store: Pick<Store, 'kind'>, tx: Tx, budgetId: BudgetId): Promise<Held> {
  const budget = tx.selectFrom('budgets').select('id').where('id', '=', budgetId);
  await (store.kind === 'postgres' ? budget.forUpdate() : budget).execute();
  const account = accountOf(tx, budgetId);
  return heldIn(await (store.kind === 'postgres' ? account.forUpdate() : account).executeTakeFirst());
}

/** The money of a credit budget, to be shown. */
export async function readHeld(db: Db, budgetId: BudgetId): Promise<Held> {
  return heldIn(await accountOf(db, budgetId).executeTakeFirst());
}

function accountOf(db: Db | Tx, budgetId: BudgetId) {
  const name = accountName({ budgetId, subject: '', windowStart: 0 });
  return db.selectFrom('escrow_accounts').selectAll().where('name', '=', name);
}

function heldIn(row: Parameters<typeof stateOf>[0] | undefined): Held {
  if (row === undefined) return { settled: 0n, committed: 0n };
  const { settled, committed } = stateOf(row);
  return { settled, committed };
}

/** The grants that still matter: those that hold, and those that calls under way may draw on. */
export async function readLedger(
  db: Db | Tx,
  organizationId: OrganizationId,
  charged: bigint,
): Promise<Ledger> {
  const rows = await db
    .selectFrom('credit_grants')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where((eb) => eb.or([eb('status', '=', 'active'), eb('honours', '!=', '0')]))
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  return { grants: rows.map(grantOf), charged };
}

export function grantOf(row: CreditGrantTable): Grant {
  return {
    id: row.id,
    amount: BigInt(row.amount),
    used: BigInt(row.used),
    taken: BigInt(row.taken),
    honours: BigInt(row.honours),
    status: row.status,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    endedAt: row.ended_at,
  };
}

/** Within the transaction that locked `before`: writes what became of it, and moves the budget's limit. */
export async function writeLedger(
  tx: Tx,
  organizationId: OrganizationId,
  budgetId: BudgetId,
  before: Ledger,
  after: Ledger,
): Promise<void> {
  const known = new Map(before.grants.map((grant) => [grant.id, grant]));
  for (const grant of after.grants) {
    if (known.get(grant.id) === grant) continue;
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
  await tx
    .updateTable('credit_accounts')
    .set({ charged: after.charged.toString() })
    .where('organization_id', '=', organizationId)
    .execute();
  await tx
    .updateTable('budgets')
    .set({ limit_nano: limitOf(after).toString(), limit_until: nextExpiry(after) })
    .where('id', '=', budgetId)
    .execute();
}

/**
 * Ends the grants of these credit budgets whose time has come, each once, whoever notices first.
 * @param now by the clock by which the store keeps escrow
 */
export async function endDueGrants(store: Store, budgetIds: readonly string[], now: number): Promise<void> {
  for (const id of [...budgetIds].sort()) {
    await store.write(async (tx) => {
      const row = await tx
        .selectFrom('credit_accounts')
        .select(['organization_id', 'charged', 'budget_id'])
        .where('budget_id', '=', id)
        .executeTakeFirst();
      if (row === undefined) return;
      // The columns hold what newId made.
      const organizationId = row.organization_id as OrganizationId;
      const budgetId = row.budget_id as BudgetId;
      const { settled, committed } = await lockHeld(store, tx, budgetId);
      const before = await readLedger(tx, organizationId, BigInt(row.charged));
      const after = endDue(before, settled, committed, now);
      await writeLedger(tx, organizationId, budgetId, before, after);
      for (const [at, grant] of after.grants.entries()) {
        if (grant.status !== 'expired' || before.grants[at]?.status !== 'active') continue;
        const by = { organizationId, actor: { type: 'server' as const }, at: now };
        const payload = { id: grant.id, data: { taken_nano: grant.taken.toString() } };
        await append(tx, { by, projectId: null, type: 'credits.expired', payload });
      }
      await store.announce(tx, 'budget', budgetId, now);
    });
  }
}
