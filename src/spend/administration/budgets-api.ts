// The HTTP surface of budgets, keygate's own: `/v1/keygate/budgets`. Amounts are cents, as in the published API; what is
// spent is shown in dollars to the nano-dollar too.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  newApp,
  ProjectIdSchema,
  replies,
  secondsOrNull,
  TimestampSchema,
} from '../../access/http.ts';
import { listOf, listSchema, PageQuery } from '../../access/page.ts';
import { ApiError } from '../../platform/errors.ts';
import type { BudgetId } from '../../platform/ids.ts';
import { type Budget, centsToNano, EACH, MAX_ALERTS, nanoToCents } from '../budgets/model.ts';
import { windowAt } from '../budgets/window.ts';
import { budgetOf, createBudget, listBudgets, removeBudget, standingOf, updateBudget } from './budgets.ts';
import { dollarsOf } from './dollars.ts';
import { MAX_CENTS } from './owner.ts';

const PATH = '/v1/keygate/budgets';

const ScopeSchema = z.enum(['organization', 'project', 'api_key', 'service_account', 'group', 'end_user']);
const IntervalSchema = z.enum(['day', 'week', 'month', 'total']);
const EnforcementSchema = z.enum(['hard', 'soft']);
const Cents = z
  .int('must be a whole number of cents')
  .min(0, 'must not be negative')
  .max(MAX_CENTS, `must be at most ${MAX_CENTS} cents`);
const AlertsSchema = z
  .array(Cents.min(1, 'must be at least one cent'))
  .max(MAX_ALERTS, `must hold at most ${MAX_ALERTS} amounts`);

const BudgetSchema = z
  .object({
    object: z.literal('keygate.budget'),
    id: IdSchema,
    project_id: z.string().nullable(),
    scope: ScopeSchema.or(z.literal('credits')),
    scope_id: z
      .string()
      .openapi({ description: "The owner's id; `*`: each of them has the limit for itself." }),
    interval: IntervalSchema,
    currency: z.literal('USD'),
    threshold_amount: Cents,
    enforcement: EnforcementSchema,
    alerts: AlertsSchema,
    created_at: TimestampSchema,
    current: z
      .object({
        start: TimestampSchema,
        end: TimestampSchema.nullable(),
        spent: z.string().openapi({ description: 'Dollars.' }),
        reserved: z.string().openapi({
          description: 'Dollars that calls under way may cost, and that nodes hold ahead.',
        }),
      })
      .nullable()
      .openapi({ description: 'The running window. Null where each owner has its own.' }),
  })
  .openapi('Budget');

const CreateBody = z.strictObject({
  project_id: ProjectIdSchema.nullable().optional(),
  scope: ScopeSchema,
  scope_id: z.string().min(1).max(128).optional(),
  interval: IntervalSchema.default('month'),
  currency: z.literal('USD').default('USD'),
  threshold_amount: Cents,
  enforcement: EnforcementSchema.default('hard'),
  alerts: AlertsSchema.default([]),
});

const UpdateBody = z.strictObject({
  threshold_amount: Cents.optional(),
  enforcement: EnforcementSchema.optional(),
  alerts: AlertsSchema.optional(),
});

const Path = z.object({
  budget_id: IdSchema.transform((id) => id as BudgetId).openapi({ type: 'string' }),
});

export function budgetsApi({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const common = { tags: ['Budgets'], middleware: [admin] };

  const said = async (budget: Budget): Promise<z.infer<typeof BudgetSchema>> => {
    const { start, end } = windowAt(budget.period, clock.now());
    const standing = budget.scopeId === EACH ? null : await standingOf(store.db, budget, start, '');
    return {
      object: 'keygate.budget',
      id: budget.id,
      project_id: budget.projectId,
      scope: budget.scope,
      scope_id: budget.scopeId,
      interval: budget.period,
      currency: 'USD',
      threshold_amount: nanoToCents(budget.limit),
      enforcement: budget.enforcement,
      alerts: budget.alerts.map(nanoToCents),
      created_at: Math.floor(budget.createdAt / 1000),
      current: standing && {
        start: Math.floor(start / 1000),
        end: secondsOrNull(Number.isFinite(end) ? end : null),
        spent: dollarsOf(standing.settled),
        reserved: dollarsOf(standing.committed - standing.settled),
      },
    };
  };

  const list = createRoute({
    ...common,
    method: 'get',
    path: PATH,
    request: { query: PageQuery.extend({ project_id: IdSchema.optional(), scope: ScopeSchema.optional() }) },
    responses: replies(listSchema(BudgetSchema), "The organization's budgets, the oldest first."),
  });
  app.openapi(list, async (c) => {
    const { project_id: projectId, ...page } = c.req.valid('query');
    const { rows, hasMore } = await listBudgets(store.db, c.get('principal').organizationId, {
      ...page,
      projectId,
    });
    return c.json(listOf(await Promise.all(rows.map(said)), hasMore), 200);
  });

  const create = createRoute({
    ...common,
    method: 'post',
    path: PATH,
    request: { body: jsonBody(CreateBody) },
    responses: replies(
      BudgetSchema,
      'The new budget: in effect on this node already, on others within a second.',
    ),
  });
  app.openapi(create, async (c) => {
    const by = attribution(c, clock);
    const { project_id, scope, scope_id, interval, threshold_amount, enforcement, alerts } =
      c.req.valid('json');
    const order = {
      projectId: project_id ?? null,
      scope,
      scopeId: scope_id ?? null,
      period: interval,
      enforcement,
      limit: centsToNano(threshold_amount),
      alerts: alerts.map(centsToNano),
    };
    return c.json(await said(await store.write((tx) => createBudget(store, tx, by, order))), 200);
  });

  const get = createRoute({
    ...common,
    method: 'get',
    path: `${PATH}/{budget_id}`,
    request: { params: Path },
    responses: replies(BudgetSchema, 'The budget.'),
  });
  app.openapi(get, async (c) => {
    const { budget_id: id } = c.req.valid('param');
    return c.json(await said(await budgetOf(store.db, c.get('principal').organizationId, id)), 200);
  });

  const update = createRoute({
    ...common,
    method: 'post',
    path: `${PATH}/{budget_id}`,
    request: { params: Path, body: jsonBody(UpdateBody) },
    responses: replies(BudgetSchema, 'The budget as it is now.'),
  });
  app.openapi(update, async (c) => {
    const by = attribution(c, clock);
    const { budget_id: id } = c.req.valid('param');
    const { threshold_amount, enforcement, alerts } = c.req.valid('json');
    if (threshold_amount === undefined && enforcement === undefined && alerts === undefined)
      throw new ApiError(400, 'Name what to change: threshold_amount, enforcement or alerts.');
    const change = {
      ...(threshold_amount === undefined ? {} : { limit: centsToNano(threshold_amount) }),
      ...(enforcement === undefined ? {} : { enforcement }),
      ...(alerts === undefined ? {} : { alerts: alerts.map(centsToNano) }),
    };
    return c.json(await said(await store.write((tx) => updateBudget(store, tx, by, id, change))), 200);
  });

  const remove = createRoute({
    ...common,
    method: 'delete',
    path: `${PATH}/{budget_id}`,
    request: { params: Path },
    responses: replies(
      z.object({ object: z.literal('keygate.budget.deleted'), id: IdSchema, deleted: z.literal(true) }),
      'The budget is deleted.',
    ),
  });
  app.openapi(remove, async (c) => {
    const by = attribution(c, clock);
    const { budget_id: id } = c.req.valid('param');
    await store.write((tx) => removeBudget(store, tx, by, id));
    return c.json({ object: 'keygate.budget.deleted' as const, id, deleted: true as const }, 200);
  });

  return app;
}
