// Budgets in the database. Every look-up is by (organization, id); a change is announced in its own transaction, so
// that every node reads the budget again. The period and the owner of a budget never change: another is another budget.

import type { BudgetId } from '../../platform/ids.ts';
import type { BudgetTable } from '../../store/schema-money.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import { type Budget, MAX_ALERTS, MAX_LIMIT } from './model.ts';

/** What of a budget can be changed. */
export type BudgetChange = Partial<Pick<Budget, 'limit' | 'enforcement' | 'alerts'>>;

/** Within a `write`: adds a budget. @throws RangeError if its limit or alerts are out of range */
export async function insertBudget(store: Pick<Store, 'announce'>, tx: Tx, budget: Budget): Promise<void> {
  await tx.insertInto('budgets').values(toRow(budget)).execute();
  await store.announce(tx, 'budget', budget.id, budget.createdAt);
}

/**
 * Within a `write`: changes a budget. A lowered limit holds for every slice taken after this commits; what is out is
 * given back within a second, and calls under way are finished.
 * @returns the budget as it is now; undefined if the organization has none of that id
 */
export async function changeBudget(
  store: Pick<Store, 'announce'>,
  tx: Tx,
  organizationId: string,
  id: BudgetId,
  change: BudgetChange,
  atMs: number,
): Promise<Budget | undefined> {
  const before = await getBudget(tx, organizationId, id);
  if (before === undefined) return undefined;
  const after = { ...before, ...change };
  const { limit_nano, enforcement, alerts } = toRow(after);
  await tx.updateTable('budgets').set({ limit_nano, enforcement, alerts }).where('id', '=', id).execute();
  await store.announce(tx, 'budget', id, atMs);
  return after;
}

/** Within a `write`: removes a budget. What was counted in it stays. False if the organization has none of that id. */
export async function deleteBudget(
  store: Pick<Store, 'announce'>,
  tx: Tx,
  organizationId: string,
  id: BudgetId,
  atMs: number,
): Promise<boolean> {
  const deleted = await tx
    .deleteFrom('budgets')
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
  if (deleted.numDeletedRows === 0n) return false;
  await store.announce(tx, 'budget', id, atMs);
  return true;
}

export async function getBudget(
  db: Db | Tx,
  organizationId: string,
  id: BudgetId,
): Promise<Budget | undefined> {
  const row = await db
    .selectFrom('budgets')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
  return row && fromRow(row);
}

/** The budgets that changed, for a node that was told so; an id that is missing in the answer was deleted. */
export async function readBudgets(db: Db, ids: readonly string[]): Promise<Budget[]> {
  if (ids.length === 0) return [];
  return (await db.selectFrom('budgets').selectAll().where('id', 'in', ids).execute()).map(fromRow);
}

/** Every budget, a page at a time, for a node that starts. */
export async function* allBudgets(db: Db, page = 1000): AsyncGenerator<Budget[]> {
  let after = '';
  for (;;) {
    const rows = await db
      .selectFrom('budgets')
      .selectAll()
      .where('id', '>', after)
      .orderBy('id')
      .limit(page)
      .execute();
    if (rows.length > 0) yield rows.map(fromRow);
    const last = rows.at(-1);
    if (last === undefined || rows.length < page) return;
    after = last.id;
  }
}

function toRow(budget: Budget): Omit<BudgetTable, 'limit_until'> {
  if (budget.limit < 0n || budget.limit > MAX_LIMIT)
    throw new RangeError('a limit is from 0 to nine billion dollars');
  const alerts = [...new Set(budget.alerts)].sort((a, b) => (a < b ? -1 : 1));
  if (alerts.length > MAX_ALERTS) throw new RangeError(`a budget has at most ${MAX_ALERTS} alerts`);
  if (alerts.some((threshold) => threshold <= 0n || threshold > MAX_LIMIT)) {
    throw new RangeError('an alert is above 0 and at most nine billion dollars');
  }
  return {
    id: budget.id,
    organization_id: budget.organizationId,
    project_id: budget.projectId,
    scope: budget.scope,
    scope_id: budget.scopeId,
    period: budget.period,
    limit_nano: budget.limit.toString(),
    enforcement: budget.enforcement,
    alerts: JSON.stringify(alerts.map(String)),
    created_at: budget.createdAt,
  };
}

function fromRow(row: BudgetTable): Budget {
  return {
    // The column holds what newId made.
    id: row.id as BudgetId,
    organizationId: row.organization_id,
    projectId: row.project_id,
    scope: row.scope,
    scopeId: row.scope_id,
    period: row.period,
    limit: BigInt(row.limit_nano),
    enforcement: row.enforcement,
    alerts: readAlerts(row.alerts),
    createdAt: row.created_at,
  };
}

/** The thresholds as the column holds them: a JSON list of decimal text. */
export function readAlerts(column: string): bigint[] {
  const list: unknown = JSON.parse(column);
  if (!Array.isArray(list)) throw new Error('the alerts of a budget are damaged in the database');
  return list.map((each) => BigInt(String(each)));
}
