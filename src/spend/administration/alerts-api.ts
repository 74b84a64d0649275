// The HTTP surface of spend alerts as the published API has it, of the organization and of its projects.

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
} from '../../access/http.ts';
import { listOf, listSchema, PageQuery } from '../../access/page.ts';
import type { SpendAlertTable } from '../../store/schema-money.ts';
import { centsToNano, nanoToCents } from '../budgets/model.ts';
import { ChannelSchema, createAlert, deleteAlert, getAlert, listAlerts, updateAlert } from './alerts.ts';
import { MAX_CENTS, type Owner } from './owner.ts';

const AlertBody = z.strictObject({
  currency: z.literal('USD'),
  interval: z.literal('month'),
  notification_channel: ChannelSchema,
  threshold_amount: z
    .int('must be a whole number of cents')
    .min(1, 'must be at least one cent')
    .max(MAX_CENTS, `must be at most ${MAX_CENTS} cents`),
});

const ListQuery = PageQuery.extend({
  before: IdSchema.optional(),
  order: z.enum(['asc', 'desc']).default('asc'),
});

const Project = z.object({ project_id: ProjectIdSchema });
const Alert = z.object({ alert_id: IdSchema });

export function spendAlertsApi(deps: ControlPlaneDeps, auth: Authentication): ControlApp {
  const app = newApp();
  alertRoutes(app, deps, auth, {
    path: '/v1/organization/spend_alerts',
    list: z.object({}),
    one: Alert,
    object: 'organization',
    tag: 'Spend alerts',
  });
  alertRoutes(app, deps, auth, {
    path: '/v1/organization/projects/{project_id}/spend_alerts',
    list: Project,
    one: Alert.extend(Project.shape),
    object: 'project',
    tag: 'Project spend alerts',
  });
  return app;
}

interface Of {
  readonly path: string;
  /** Parameters of the paths. */
  readonly list: z.ZodObject;
  readonly one: z.ZodObject;
  readonly object: 'organization' | 'project';
  readonly tag: string;
}

function alertRoutes(app: ControlApp, deps: ControlPlaneDeps, auth: Authentication, of: Of): void {
  const { store, clock } = deps;
  const object = `${of.object}.spend_alert` as const;
  const schema = AlertBody.extend({ id: IdSchema, object: z.literal(object) }).openapi(
    of.object === 'project' ? 'ProjectSpendAlert' : 'OrganizationSpendAlert',
  );
  const common = { tags: [of.tag], middleware: [auth.admin] };
  const path = `${of.path}/{alert_id}`;
  const said = (row: SpendAlertTable): z.infer<typeof schema> => ({
    id: row.id,
    object,
    currency: 'USD',
    interval: 'month',
    threshold_amount: nanoToCents(BigInt(row.threshold)),
    notification_channel: ChannelSchema.parse(JSON.parse(row.channel)),
  });
  const ownerOf = (organizationId: Owner['organizationId'], params: unknown): Owner => ({
    organizationId,
    projectId: of.object === 'project' ? Project.parse(params).project_id : null,
  });
  const idOf = (params: unknown): string => Alert.parse(params).alert_id;
  const termsOf = ({ threshold_amount, notification_channel }: z.infer<typeof AlertBody>) => ({
    threshold: centsToNano(threshold_amount),
    channel: notification_channel,
  });

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      path: of.path,
      request: { params: of.list, query: ListQuery },
      responses: replies(listSchema(schema), 'The spend alerts.'),
    }),
    async (c) => {
      const owner = ownerOf(c.get('principal').organizationId, c.req.valid('param'));
      const { rows, hasMore } = await listAlerts(store.db, owner, c.req.valid('query'));
      return c.json(listOf(rows.map(said), hasMore), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: of.path,
      request: { params: of.list, body: jsonBody(AlertBody) },
      responses: replies(schema, 'The new spend alert.'),
    }),
    async (c) => {
      const by = attribution(c, clock);
      const owner = ownerOf(by.organizationId, c.req.valid('param'));
      const terms = termsOf(c.req.valid('json'));
      return c.json(said(await store.write((tx) => createAlert(store, tx, by, owner, terms))), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      path,
      request: { params: of.one },
      responses: replies(schema, 'The spend alert.'),
    }),
    async (c) => {
      const params = c.req.valid('param');
      const owner = ownerOf(c.get('principal').organizationId, params);
      return c.json(said(await getAlert(store.db, owner, idOf(params))), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path,
      request: { params: of.one, body: jsonBody(AlertBody) },
      responses: replies(schema, 'The spend alert as it is now.'),
    }),
    async (c) => {
      const by = attribution(c, clock);
      const params = c.req.valid('param');
      const owner = ownerOf(by.organizationId, params);
      const terms = termsOf(c.req.valid('json'));
      const row = await store.write((tx) => updateAlert(store, tx, by, owner, idOf(params), terms));
      return c.json(said(row), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'delete',
      path,
      request: { params: of.one },
      responses: replies(
        z.object({ object: z.literal(`${object}.deleted`), id: IdSchema, deleted: z.literal(true) }),
        'The spend alert is deleted.',
      ),
    }),
    async (c) => {
      const by = attribution(c, clock);
      const params = c.req.valid('param');
      const id = idOf(params);
      await store.write((tx) => deleteAlert(store, tx, by, ownerOf(by.organizationId, params), id));
      return c.json({ object: `${object}.deleted` as const, id, deleted: true as const }, 200);
    },
  );
}
