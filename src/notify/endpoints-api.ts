// The HTTP surface of webhook endpoints: the published routes with a project's key, for that project (the official
// client's `client.webhooks`), and keygate's own with an admin key, for the organization and all its projects.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlContext,
  IdSchema,
  jsonBody,
  NameSchema,
  newApp,
  ProjectIdSchema,
  replies,
  seconds,
  TimestampSchema,
} from '../access/http.ts';
import { listOf, listSchema, PageQuery } from '../access/page.ts';
import { invalidParameter } from '../access/validation.ts';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { newId, type ProjectId } from '../platform/ids.ts';
import type { WebhookEndpointTable } from '../store/schema-notify.ts';
import type { Store } from '../store/store.ts';
import {
  createEndpoint,
  deleteEndpoint,
  eventTypesOf,
  getEndpoint,
  listEndpoints,
  newEndpointId,
  newSecret,
  rotateSecret,
  type Scope,
  updateEndpoint,
} from './endpoints.ts';
import { EVENT_TYPES, eventBody } from './model.ts';
import { post, type WebhookSending } from './webhook.ts';

export interface EndpointDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly sending: WebhookSending;
}

const EventTypes = z
  .array(z.enum(EVENT_TYPES, `must be one of ${EVENT_TYPES.join(', ')}`))
  .min(1, 'must name at least one event type')
  .max(EVENT_TYPES.length, `must name at most ${EVENT_TYPES.length} event types`)
  .transform((types) => [...new Set(types)]);
const Url = z.string().max(2048, 'must be at most 2048 characters long');

const Create = z.strictObject({ name: NameSchema, url: Url, event_types: EventTypes });
const Update = z.strictObject({
  name: NameSchema.optional(),
  url: Url.optional(),
  event_types: EventTypes.optional(),
});
const Rotate = z.strictObject({ keep_old_secret_active_for_24_hours: z.boolean().default(false) });
const Test = z.strictObject({ event_type: z.enum(EVENT_TYPES, `must be one of ${EVENT_TYPES.join(', ')}`) });

const Endpoint = z.object({
  id: IdSchema,
  object: z.literal('webhook_endpoint'),
  name: z.string(),
  url: z.string(),
  event_types: z.array(z.string()),
  signing_secret_hint: z.string().nullable(),
  created_at: TimestampSchema,
  updated_at: TimestampSchema,
  project_id: IdSchema.nullable()
    .optional()
    .openapi({ description: 'Of keygate’s own routes only; null: told of the whole organization.' }),
});
const EndpointSchema = Endpoint.openapi('WebhookEndpoint');
const WithSecret = Endpoint.extend({ signing_secret: z.string() }).openapi('WebhookEndpointWithSecret');
const Result = z
  .object({
    object: z.literal('webhook_endpoint.test'),
    webhook_endpoint_id: IdSchema,
    event_type: z.string(),
    status_code: z.int(),
    success: z.literal(true),
  })
  .openapi('WebhookEndpointTestResult');
const Deleted = z
  .object({ object: z.literal('webhook_endpoint.deleted'), id: IdSchema, deleted: z.literal(true) })
  .openapi('DeletedWebhookEndpoint');
const Types = z
  .object({ object: z.literal('list'), data: z.array(z.string()) })
  .openapi('WebhookEventTypeList');

const EndpointPath = z.object({ webhook_endpoint_id: IdSchema });

export function projectEndpointsApi(deps: EndpointDeps, { projectKey }: Authentication): ControlApp {
  const app = newApp();
  endpointRoutes(app, deps, {
    path: '/v1/webhook_endpoints',
    types: '/v1/webhook_event_types',
    tag: 'Webhooks',
    read: [projectKey],
    write: [projectKey],
    create: Create,
    object: plain,
    scope: (c) => {
      const { organizationId, project } = c.get('principal');
      return { organizationId, projectId: project?.id ?? null };
    },
    projectOf: (c) => c.get('principal').project?.id ?? null,
  });
  return app;
}

const OurCreate = Create.extend({ project_id: ProjectIdSchema.nullable().optional() });

export function organizationEndpointsApi(deps: EndpointDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  endpointRoutes(app, deps, {
    path: '/v1/keygate/webhooks',
    types: '/v1/keygate/webhook_event_types',
    tag: 'keygate webhooks',
    read: [admin],
    write: [admin],
    create: OurCreate,
    object: (row) => ({ ...plain(row), project_id: row.project_id }),
    scope: (c) => ({ organizationId: c.get('principal').organizationId, projectId: 'any' }),
    projectOf: (_c, body) => OurCreate.parse(body).project_id ?? null,
  });
  return app;
}

interface Of {
  readonly path: string;
  readonly types: string;
  readonly tag: string;
  readonly read: readonly Authentication['admin'][];
  readonly write: readonly Authentication['admin'][];
  readonly create: typeof Create | typeof OurCreate;
  readonly object: (row: WebhookEndpointTable) => z.infer<typeof Endpoint>;
  readonly scope: (c: ControlContext) => Scope;
  readonly projectOf: (c: ControlContext, body: unknown) => ProjectId | null;
}

function endpointRoutes(app: ControlApp, { store, clock, sending }: EndpointDeps, of: Of): void {
  const tags = [of.tag];
  const one = `${of.path}/{webhook_endpoint_id}`;
  const read = [...of.read];
  const write = [...of.write];
  const checkUrl = (url: string): string => {
    const flaw = sending.outgoing.flaw(url);
    if (flaw !== null) throw invalidParameter('url', `Invalid 'url': ${flaw}`);
    return url;
  };

  const types = createRoute({
    method: 'get',
    path: of.types,
    tags,
    middleware: read,
    responses: replies(Types, 'The event types that this server sends.'),
  });
  app.openapi(types, (c) => c.json({ object: 'list' as const, data: [...EVENT_TYPES] }, 200));

  const list = createRoute({
    method: 'get',
    path: of.path,
    tags,
    middleware: read,
    request: { query: PageQuery },
    responses: replies(listSchema(EndpointSchema), 'The webhook endpoints, the newest first.'),
  });
  app.openapi(list, async (c) => {
    const { rows, hasMore } = await listEndpoints(store.db, of.scope(c), c.req.valid('query'));
    return c.json(listOf(rows.map(of.object), hasMore), 200);
  });

  const create = createRoute({
    method: 'post',
    path: of.path,
    tags,
    middleware: write,
    request: { body: jsonBody(of.create) },
    responses: replies(WithSecret, 'The new endpoint, with its signing secret, which is shown only here.'),
  });
  app.openapi(create, async (c) => {
    const body: z.infer<typeof Create> = c.req.valid('json');
    const by = attribution(c, clock);
    const projectId = of.projectOf(c, body);
    const id = newEndpointId();
    const url = checkUrl(body.url);
    const fresh = await newSecret(sending.seals, { organizationId: by.organizationId, projectId, id });
    const order = { id, projectId, url, name: body.name, eventTypes: body.event_types, ...fresh };
    const row = await store.write((tx) => createEndpoint(tx, by, order));
    return c.json({ ...of.object(row), signing_secret: fresh.secret }, 200);
  });

  const get = createRoute({
    method: 'get',
    path: one,
    tags,
    middleware: read,
    request: { params: EndpointPath },
    responses: replies(EndpointSchema, 'The webhook endpoint.'),
  });
  app.openapi(get, async (c) => {
    const id = c.req.valid('param').webhook_endpoint_id;
    return c.json(of.object(await getEndpoint(store.db, of.scope(c), id)), 200);
  });

  const update = createRoute({
    method: 'post',
    path: one,
    tags,
    middleware: write,
    request: { params: EndpointPath, body: jsonBody(Update) },
    responses: replies(EndpointSchema, 'The webhook endpoint as it is now.'),
  });
  app.openapi(update, async (c) => {
    const id = c.req.valid('param').webhook_endpoint_id;
    const { name, url, event_types } = c.req.valid('json');
    const by = attribution(c, clock);
    const changes = {
      ...(name !== undefined && { name }),
      ...(url !== undefined && { url: checkUrl(url) }),
      ...(event_types !== undefined && { eventTypes: event_types }),
    };
    const row = await store.write((tx) => updateEndpoint(tx, by, of.scope(c), id, changes));
    return c.json(of.object(row), 200);
  });

  const remove = createRoute({
    method: 'delete',
    path: one,
    tags,
    middleware: write,
    request: { params: EndpointPath },
    responses: replies(Deleted, 'The endpoint is gone, and what waited for it.'),
  });
  app.openapi(remove, async (c) => {
    const id = c.req.valid('param').webhook_endpoint_id;
    const by = attribution(c, clock);
    await store.write((tx) => deleteEndpoint(tx, by, of.scope(c), id));
    return c.json({ object: 'webhook_endpoint.deleted' as const, id, deleted: true as const }, 200);
  });

  const rotate = createRoute({
    method: 'post',
    path: `${one}/rotate_secret`,
    tags,
    middleware: write,
    request: { params: EndpointPath, body: { ...jsonBody(Rotate), required: false } },
    responses: replies(WithSecret, 'The endpoint with its new signing secret, which is shown only here.'),
  });
  app.openapi(rotate, async (c) => {
    const id = c.req.valid('param').webhook_endpoint_id;
    const { keep_old_secret_active_for_24_hours: keep } = Rotate.parse(c.req.valid('json') ?? {});
    const by = attribution(c, clock);
    const before = await getEndpoint(store.db, of.scope(c), id);
    const projectId = before.project_id as ProjectId | null;
    const fresh = await newSecret(sending.seals, { organizationId: by.organizationId, projectId, id });
    const row = await store.write((tx) => rotateSecret(tx, by, of.scope(c), id, fresh, keep));
    return c.json({ ...of.object(row), signing_secret: fresh.secret }, 200);
  });

  const test = createRoute({
    method: 'post',
    path: `${one}/test`,
    tags,
    middleware: write,
    request: { params: EndpointPath, body: jsonBody(Test) },
    responses: replies(Result, 'What the endpoint answered to a sample event, sent once and at once.'),
  });
  app.openapi(test, async (c) => {
    const id = c.req.valid('param').webhook_endpoint_id;
    const type = c.req.valid('json').event_type;
    const scope = of.scope(c);
    const endpoint = await getEndpoint(store.db, scope, id);
    const event = newId('evt_');
    const { organizationId } = scope;
    const projectId = endpoint.project_id as ProjectId | null;
    const data = { id: 'test', test: true };
    const body = eventBody(event, { organizationId, projectId, type, at: clock.now(), data });
    const reply = await post(sending, endpoint, event, body);
    if ('kind' in reply) {
      throw new ApiError(400, `The endpoint gave no answer: ${reply.reason}`, {
        code: 'webhook_unreachable',
        param: 'webhook_endpoint_id',
      });
    }
    return c.json(
      {
        object: 'webhook_endpoint.test' as const,
        webhook_endpoint_id: id,
        event_type: type,
        status_code: reply.status,
        success: true as const,
      },
      200,
    );
  });
}

function plain(row: WebhookEndpointTable): z.infer<typeof Endpoint> {
  return {
    id: row.id,
    object: 'webhook_endpoint',
    name: row.name,
    url: row.url,
    event_types: eventTypesOf(row),
    signing_secret_hint: row.secret_hint,
    created_at: seconds(row.created_at),
    updated_at: seconds(row.updated_at),
  };
}
