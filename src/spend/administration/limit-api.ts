// The HTTP surface of hard spend limits as the published API has it: one for the organization and one for each project,
// by the calendar month.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  jsonBody,
  newApp,
  ProjectIdSchema,
  replies,
} from '../../access/http.ts';
import type { Attribution } from '../../audit/model.ts';
import { ApiError } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import { enterSpentBefore } from '../budgets/before.ts';
import { type Budget, centsToNano, nanoToCents } from '../budgets/model.ts';
import { changeBudget, deleteBudget, getBudget, insertBudget } from '../budgets/store.ts';
import { windowAt } from '../budgets/window.ts';
import { accountName } from '../escrow/rows.ts';
import { assertActiveOwner, assertOwner, limitIdOf, MAX_CENTS, note, type Owner, scopeOf } from './owner.ts';

const UpdateBody = z.strictObject({
  currency: z.literal('USD'),
  interval: z.literal('month'),
  threshold_amount: z
    .int('must be a whole number of cents')
    .min(1, 'must be at least one cent')
    .max(MAX_CENTS, `must be at most ${MAX_CENTS} cents`),
});

/** The same three routes for the organization and for a project. */
function limitRoutes(
  app: ControlApp,
  { store, clock }: ControlPlaneDeps,
  { admin }: Authentication,
  of: {
    readonly path: string;
    readonly params: z.ZodObject;
    readonly object: 'organization' | 'project';
    readonly tag: string;
  },
): void {
  const object = `${of.object}.spend_limit` as const;
  const schema = z
    .object({
      object: z.literal(object),
      currency: z.literal('USD'),
      interval: z.literal('month'),
      threshold_amount: z.int(),
      enforcement: z.object({ status: z.enum(['inactive', 'enforcing']) }),
    })
    .openapi(of.object === 'project' ? 'ProjectSpendLimit' : 'OrganizationSpendLimit');
  const common = { path: of.path, tags: [of.tag], middleware: [admin] };
  const ownerOf = (organizationId: Owner['organizationId'], params: unknown): Owner => ({
    organizationId,
    projectId: of.object === 'project' ? Project.parse(params).project_id : null,
  });
  const said = async (db: Db | Tx, budget: Budget) => ({
    object,
    currency: 'USD' as const,
    interval: 'month' as const,
    threshold_amount: nanoToCents(budget.limit),
    enforcement: { status: await statusOf(db, budget, clock.now()) },
  });

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      request: { params: of.params },
      responses: replies(schema, 'The hard spend limit.'),
    }),
    async (c) => {
      const owner = ownerOf(c.get('principal').organizationId, c.req.valid('param'));
      await assertOwner(store.db, owner);
      return c.json(await said(store.db, await limitOf(store.db, owner)), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      request: { params: of.params, body: jsonBody(UpdateBody) },
      responses: replies(
        schema,
        'The limit as it is now: in effect on this node already, on others within a second.',
      ),
    }),
    async (c) => {
      const by = attribution(c, clock);
      const owner = ownerOf(by.organizationId, c.req.valid('param'));
      const body = c.req.valid('json');
      const budget = await store.write((tx) => setLimit(store, tx, by, owner, body.threshold_amount));
      return c.json(await said(store.db, budget), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'delete',
      request: { params: of.params },
      responses: replies(
        z.object({ object: z.literal(`${object}.deleted`), deleted: z.literal(true) }),
        'There is no hard limit any more.',
      ),
    }),
    async (c) => {
      const by = attribution(c, clock);
      const owner = ownerOf(by.organizationId, c.req.valid('param'));
      await store.write(async (tx) => {
        await assertOwner(tx, owner);
        const { id, limit } = await limitOf(tx, owner);
        await deleteBudget(store, tx, by.organizationId, id, by.at);
        const before = { threshold_amount: nanoToCents(limit) };
        await note(tx, by, owner.projectId, 'spend_limit.deleted', id, null, before);
      });
      return c.json({ object: `${object}.deleted` as const, deleted: true as const }, 200);
    },
  );
}

const Project = z.object({ project_id: ProjectIdSchema });

export function spendLimitsApi(deps: ControlPlaneDeps, auth: Authentication): ControlApp {
  const app = newApp();
  limitRoutes(app, deps, auth, {
    path: '/v1/organization/spend_limit',
    params: z.object({}),
    object: 'organization',
    tag: 'Spend limits',
  });
  limitRoutes(app, deps, auth, {
    path: '/v1/organization/projects/{project_id}/spend_limit',
    params: Project,
    object: 'project',
    tag: 'Project spend limits',
  });
  return app;
}

async function limitOf(db: Db | Tx, owner: Owner): Promise<Budget> {
  const id = await limitIdOf(db, owner);
  const budget = id && (await getBudget(db, owner.organizationId, id));
  if (!budget) throw new ApiError(404, 'No hard spend limit is set. Set one with `update`.');
  return budget;
}

/** Creates or replaces. */
async function setLimit(store: Store, tx: Tx, by: Attribution, owner: Owner, cents: number): Promise<Budget> {
  await assertActiveOwner(tx, owner);
  const limit = centsToNano(cents);
  const id = await limitIdOf(tx, owner);
  const earlier = id && (await getBudget(tx, owner.organizationId, id));
  const changed = id && (await changeBudget(store, tx, owner.organizationId, id, { limit }, by.at));
  const budget: Budget = changed || {
    id: newId('budget_'),
    ...owner,
    ...scopeOf(owner),
    period: 'month',
    limit,
    enforcement: 'hard',
    alerts: [],
    createdAt: by.at,
  };
  if (!changed) {
    await insertBudget(store, tx, budget);
    await enterSpentBefore(tx, budget, by.at);
  }
  const before = { threshold_amount: earlier ? nanoToCents(earlier.limit) : null };
  const changes = { threshold_amount: cents };
  await note(tx, by, owner.projectId, 'spend_limit.updated', budget.id, changes, before);
  return budget;
}

/** Enforcing: what is spent, and may be by calls under way, has reached the limit to the cent. */
async function statusOf(db: Db | Tx, budget: Budget, atMs: number): Promise<'inactive' | 'enforcing'> {
  const windowStart = windowAt(budget.period, atMs).start;
  const account = await db
    .selectFrom('escrow_accounts')
    .select('committed')
    .where('name', '=', accountName({ budgetId: budget.id, subject: '', windowStart }))
    .executeTakeFirst();
  const cents = nanoToCents(BigInt(account?.committed ?? '0'));
  return cents >= nanoToCents(budget.limit) ? 'enforcing' : 'inactive';
}
