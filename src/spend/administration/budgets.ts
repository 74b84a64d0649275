// Budgets beyond the published limits: of API keys, service accounts and end users, by day, week, month or all time, hard
// or soft. Keygate's own.

import { beyond, cut, type Page, type PageRequest, unknownAfter } from '../../access/page.ts';
import { invalidParameter } from '../../access/validation.ts';
import type { Attribution } from '../../audit/model.ts';
import { ApiError } from '../../platform/errors.ts';
import { type BudgetId, newId, type OrganizationId, type ProjectId } from '../../platform/ids.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import { enterSpentBefore } from '../budgets/before.ts';
import { type Budget, type BudgetScope, EACH } from '../budgets/model.ts';
import {
  type BudgetChange,
  changeBudget,
  deleteBudget,
  getBudget,
  insertBudget,
  readBudgets,
} from '../budgets/store.ts';
import type { Period } from '../budgets/window.ts';
import { assertActiveOwner, limitIdOf, note } from './owner.ts';

export interface BudgetOrder {
  readonly projectId: ProjectId | null;
  readonly scope: Exclude<BudgetScope, 'credits'>;
  /** Null: the organization or the project itself. */
  readonly scopeId: string | null;
  readonly period: Period;
  readonly enforcement: Budget['enforcement'];
  readonly limit: bigint;
  readonly alerts: readonly bigint[];
}

/** Budgets of one organization: each is a row in memory on every node. */
const MAX_OF_ORGANIZATION = 100_000;

/** What an account of a budget holds in its running window. */
export interface Standing {
  readonly settled: bigint;
  readonly committed: bigint;
}

export async function createBudget(
  store: Store,
  tx: Tx,
  by: Attribution,
  order: BudgetOrder,
): Promise<Budget> {
  const { organizationId } = by;
  const { scope, projectId } = order;
  if (projectId === null && (scope === 'project' || scope === 'end_user'))
    throw invalidParameter('project_id', `Name the project: a budget of ${scope} belongs to one.`);
  if (scope === 'organization' && projectId !== null)
    throw invalidParameter('project_id', 'A budget of the organization belongs to no project.');
  await assertActiveOwner(tx, { organizationId, projectId });
  const { owner, within } = await ownerOf(tx, organizationId, order);
  if (isPublished(order) && (await limitIdOf(tx, { organizationId, projectId })) !== undefined)
    throw new ApiError(400, 'This owner has a hard limit of a month already: change that one.', {
      param: 'scope',
    });
  const { many } = await tx
    .selectFrom('budgets')
    .select((eb) => eb.fn.countAll<number>().as('many'))
    .where('organization_id', '=', organizationId)
    .executeTakeFirstOrThrow();
  if (Number(many) >= MAX_OF_ORGANIZATION)
    throw new ApiError(400, `There are ${MAX_OF_ORGANIZATION} budgets already: delete one first.`);
  const budget: Budget = {
    id: newId('budget_'),
    organizationId,
    projectId: within,
    scope,
    scopeId: owner,
    period: order.period,
    limit: order.limit,
    enforcement: order.enforcement,
    alerts: order.alerts,
    createdAt: by.at,
  };
  await insertBudget(store, tx, budget);
  await enterSpentBefore(tx, budget, by.at);
  await note(tx, by, projectId, 'budget.created', budget.id, {
    scope,
    scope_id: owner,
    interval: order.period,
    enforcement: order.enforcement,
    limit_nano: order.limit.toString(),
    alerts_nano: order.alerts.map(String),
  });
  return budget;
}

export async function updateBudget(
  store: Store,
  tx: Tx,
  by: Attribution,
  id: BudgetId,
  change: BudgetChange,
): Promise<Budget> {
  await budgetOf(tx, by.organizationId, id);
  await assertNotAlerts(tx, id);
  const before = await budgetOf(tx, by.organizationId, id);
  const budget = await changeBudget(store, tx, by.organizationId, id, change, by.at);
  if (budget === undefined) throw unknownBudget();
  const said = (of: BudgetChange) => ({
    ...(of.limit !== undefined && change.limit !== undefined && { limit_nano: of.limit.toString() }),
    ...(of.enforcement && change.enforcement && { enforcement: of.enforcement }),
    ...(of.alerts && change.alerts && { alerts_nano: of.alerts.map(String) }),
  });
  const projectId = budget.projectId as ProjectId | null;
  await note(tx, by, projectId, 'budget.updated', id, said(change), said(before));
  return budget;
}

export async function removeBudget(store: Store, tx: Tx, by: Attribution, id: BudgetId): Promise<void> {
  const budget = await budgetOf(tx, by.organizationId, id);
  await assertNotAlerts(tx, id);
  await deleteBudget(store, tx, by.organizationId, id, by.at);
  await note(tx, by, budget.projectId as ProjectId | null, 'budget.deleted', id, null, {
    scope: budget.scope,
    scope_id: budget.scopeId,
    interval: budget.period,
    limit_nano: budget.limit.toString(),
  });
}

/** The organization's budget of this id, or 404. */
export async function budgetOf(db: Db | Tx, organizationId: OrganizationId, id: BudgetId): Promise<Budget> {
  const budget = await getBudget(db, organizationId, id);
  // Credits have routes of their own, and a limit that nobody sets.
  if (budget === undefined || budget.scope === 'credits') throw unknownBudget();
  return budget;
}

export async function listBudgets(
  db: Db,
  organizationId: OrganizationId,
  page: PageRequest & { readonly projectId?: string | undefined; readonly scope?: BudgetScope | undefined },
): Promise<Page<Budget>> {
  let query = db
    .selectFrom('budgets')
    .select(['id', 'created_at'])
    .where('organization_id', '=', organizationId)
    .where('scope', '!=', 'credits');
  if (page.projectId !== undefined) query = query.where('project_id', '=', page.projectId);
  if (page.scope !== undefined) query = query.where('scope', '=', page.scope);
  if (page.after !== undefined) {
    const place = await db
      .selectFrom('budgets')
      .select(['id', 'created_at'])
      .where('organization_id', '=', organizationId)
      .where('id', '=', page.after)
      .executeTakeFirst();
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('budgets', place, 'asc'));
  }
  const rows = await query
    .orderBy('created_at')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute();
  const { rows: shown, hasMore } = cut(rows, page.limit);
  const byId = new Map<string, Budget>();
  const ids = shown.map(({ id }) => id);
  for (const budget of await readBudgets(db, ids)) byId.set(budget.id, budget);
  return { rows: ids.flatMap((id) => byId.get(id) ?? []), hasMore };
}

/** What is spent, and may be, in the running window. Of a budget that each owner has for itself: of this owner. */
export async function standingOf(
  db: Db,
  budget: Budget,
  windowStart: number,
  subject: string,
): Promise<Standing> {
  const row = await db
    .selectFrom('escrow_accounts')
    .select(['settled', 'committed'])
    .where('budget_id', '=', budget.id)
    .where('window_start', '=', windowStart)
    .where('subject', '=', subject)
    .executeTakeFirst();
  return { settled: BigInt(row?.settled ?? '0'), committed: BigInt(row?.committed ?? '0') };
}

/** Whether it is what `spend_limit` of the published API speaks of. */
function isPublished({ scope, period, enforcement }: BudgetOrder): boolean {
  return (scope === 'organization' || scope === 'project') && period === 'month' && enforcement === 'hard';
}

/** The owner's id as a budget has it, and the project that it is in; 404 where there is none in this organization. */
async function ownerOf(
  tx: Tx,
  organizationId: OrganizationId,
  { scope, scopeId, projectId }: BudgetOrder,
): Promise<{ owner: string; within: string | null }> {
  switch (scope) {
    case 'organization':
      return { owner: own(scopeId, organizationId), within: null };
    case 'project':
      return scopeId === EACH
        ? { owner: EACH, within: null }
        : { owner: own(scopeId, projectId ?? ''), within: projectId };
    case 'group': {
      if (scopeId === EACH) return { owner: EACH, within: projectId };
      if (projectId !== null)
        throw invalidParameter(
          'project_id',
          'A group belongs to no project: leave it out, or name each (`*`).',
        );
      const row = await tx
        .selectFrom('groups')
        .select('id')
        .where('organization_id', '=', organizationId)
        .where('id', '=', scopeId ?? '')
        .executeTakeFirst();
      if (row === undefined)
        throw new ApiError(404, 'No such group in this organization.', { param: 'scope_id' });
      return { owner: row.id, within: null };
    }
    case 'end_user':
      if (scopeId === null || scopeId === '')
        throw invalidParameter('scope_id', "Name the end user as calls do, or '*' for each of them.");
      return { owner: scopeId, within: projectId };
    case 'api_key':
    case 'service_account': {
      if (scopeId === EACH) return { owner: EACH, within: projectId };
      const table = scope === 'api_key' ? 'api_keys' : 'service_accounts';
      let query = tx
        .selectFrom(table)
        .select(['id', 'project_id'])
        .where('organization_id', '=', organizationId)
        .where('id', '=', scopeId ?? '');
      if (projectId !== null) query = query.where('project_id', '=', projectId);
      const row = await query.executeTakeFirst();
      if (row === undefined)
        throw new ApiError(404, `No such ${scope.replace('_', ' ')} in this organization or project.`, {
          param: 'scope_id',
        });
      return { owner: row.id, within: row.project_id };
    }
  }
}

function own(given: string | null, id: string): string {
  if (given !== null && given !== id)
    throw invalidParameter('scope_id', `Leave scope_id out, or give ${id}: the owner is that already.`);
  return id;
}

/** The budget behind spend alerts is theirs. */
async function assertNotAlerts(tx: Tx, id: BudgetId): Promise<void> {
  const alert = await tx
    .selectFrom('spend_alerts')
    .select('id')
    .where('budget_id', '=', id)
    .limit(1)
    .executeTakeFirst();
  if (alert !== undefined)
    throw new ApiError(400, `This budget counts for spend alerts, ${alert.id} among them: change those.`);
}

function unknownBudget(): ApiError {
  return new ApiError(404, 'No such budget.', { param: 'budget_id' });
}
