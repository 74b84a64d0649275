// The HTTP surface of lists of addresses that may call, of an organization and of a project. The platform has them in
// its dashboard and its audit log, and no published route: these are keygate's own.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlContext,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  NameSchema,
  newApp,
  ProjectIdSchema,
  replies,
  seconds,
  TimestampSchema,
} from '../access/http.ts';
import { listOf, listSchema } from '../access/page.ts';
import { getProject } from '../access/store.ts';
import { canonicalRange } from '../keys/addresses.ts';
import { ApiError } from '../platform/errors.ts';
import type { ProjectId } from '../platform/ids.ts';
import {
  type Allowlist,
  type Allowlists,
  activateAllowlist,
  createAllowlist,
  deleteAllowlist,
  find,
  type Scope,
  updateAllowlist,
} from './allowlists.ts';
import { getOrganizationSettings, getProjectSettings } from './store.ts';

const RANGES_MAX = 200;

const AllowlistSchema = z
  .object({
    object: z.literal('keygate.ip_allowlist'),
    id: IdSchema,
    name: z.string(),
    allowed_ips: z.array(z.string()),
    active: z.boolean(),
    project_id: IdSchema.nullable(),
    created_at: TimestampSchema,
  })
  .openapi('IpAllowlist');

/** Kept in canonical form, so that equal ranges are equal texts. */
const Ranges = z
  .string()
  .max(64)
  .transform((text, context) => {
    const range = canonicalRange(text);
    if (range !== undefined) return range;
    context.issues.push({ code: 'custom', message: 'must be an address or a CIDR range', input: text });
    return z.NEVER;
  })
  .array()
  .min(1, 'must name at least one address or range')
  .max(RANGES_MAX, `must name at most ${RANGES_MAX} ranges`)
  .openapi({ type: 'array', items: { type: 'string' } });

const Deleted = z
  .object({ object: z.literal('keygate.ip_allowlist.deleted'), id: IdSchema, deleted: z.literal(true) })
  .openapi('IpAllowlistDeleted');

export function allowlistsApi(deps: ControlPlaneDeps, auth: Authentication): ControlApp {
  const app = newApp();
  app.route('/', routes(deps, auth, '/v1/keygate/ip_allowlists', z.object({})));
  const ofProject = z.object({ project_id: ProjectIdSchema });
  app.route('/', routes(deps, auth, '/v1/keygate/projects/{project_id}/ip_allowlists', ofProject));
  return app;
}

/** What a path may name: the organization's routes name no project. */
const Named = z.object({ project_id: ProjectIdSchema.optional(), allowlist_id: IdSchema.default('') });

/** The routes of one scope. */
function routes(
  { store, clock }: ControlPlaneDeps,
  { admin }: Authentication,
  path: string,
  Path: z.ZodObject,
): ControlApp {
  const app = newApp();
  const tags = ['IP allowlists'];
  const One = Path.extend({ allowlist_id: IdSchema });

  const object = (list: Allowlist, projectId: ProjectId | null): z.infer<typeof AllowlistSchema> => ({
    object: 'keygate.ip_allowlist',
    id: list.id,
    name: list.name,
    allowed_ips: [...list.allowed_ips],
    active: list.active,
    project_id: projectId,
    created_at: seconds(list.created_at),
  });
  const scopeOf = (c: ControlContext, projectId: ProjectId | null): Scope => ({
    by: attribution(c, clock),
    projectId,
    address: c.env.remoteAddress,
  });
  async function listsOf(c: ControlContext, projectId: ProjectId | null): Promise<Allowlists> {
    const { organizationId } = c.get('principal');
    if (projectId === null)
      return (await getOrganizationSettings(store.db, organizationId)).ip_allowlists ?? [];
    await getProject(store.db, organizationId, projectId);
    return (await getProjectSettings(store.db, organizationId, projectId)).ip_allowlists ?? [];
  }
  const within = (c: ControlContext): ProjectId | null => Named.parse(c.req.param()).project_id ?? null;
  const idOf = (c: ControlContext): string => Named.parse(c.req.param()).allowlist_id;

  const list = createRoute({
    method: 'get',
    path,
    tags,
    middleware: [admin] as const,
    request: { params: Path },
    responses: replies(listSchema(AllowlistSchema), 'Every list, active or not.'),
  });
  app.openapi(list, async (c) => {
    const projectId = within(c);
    const lists = await listsOf(c, projectId);
    return c.json(
      listOf(
        lists.map((one) => object(one, projectId)),
        false,
      ),
      200,
    );
  });

  const create = createRoute({
    method: 'post',
    path,
    tags,
    middleware: [admin] as const,
    request: { params: Path, body: jsonBody(z.strictObject({ name: NameSchema, allowed_ips: Ranges })) },
    responses: replies(AllowlistSchema, 'The new list. It holds once it is activated.'),
  });
  app.openapi(create, async (c) => {
    const projectId = within(c);
    const order = c.req.valid('json');
    return c.json(object(await createAllowlist(store, scopeOf(c, projectId), order), projectId), 200);
  });

  const get = createRoute({
    method: 'get',
    path: `${path}/{allowlist_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: One },
    responses: replies(AllowlistSchema, 'The list.'),
  });
  app.openapi(get, async (c) => {
    const projectId = within(c);
    return c.json(object(find(await listsOf(c, projectId), idOf(c)), projectId), 200);
  });

  const update = createRoute({
    method: 'post',
    path: `${path}/{allowlist_id}`,
    tags,
    middleware: [admin] as const,
    request: {
      params: One,
      body: jsonBody(z.strictObject({ name: NameSchema.optional(), allowed_ips: Ranges.optional() })),
    },
    responses: replies(AllowlistSchema, 'The list as it is now.'),
  });
  app.openapi(update, async (c) => {
    const projectId = within(c);
    const change = c.req.valid('json');
    if (change.name === undefined && change.allowed_ips === undefined) {
      throw new ApiError(400, 'Supply at least one of name and allowed_ips.', {
        code: 'missing_required_parameter',
        param: 'allowed_ips',
      });
    }
    const changed = await updateAllowlist(store, scopeOf(c, projectId), idOf(c), change);
    return c.json(object(changed, projectId), 200);
  });

  for (const [verb, active] of [
    ['activate', true],
    ['deactivate', false],
  ] as const) {
    const route = createRoute({
      method: 'post',
      path: `${path}/{allowlist_id}/${verb}`,
      tags,
      middleware: [admin] as const,
      request: { params: One },
      responses: replies(
        AllowlistSchema,
        active ? 'The list, which holds now.' : 'The list, which holds no more.',
      ),
    });
    app.openapi(route, async (c) => {
      const projectId = within(c);
      const changed = await activateAllowlist(store, scopeOf(c, projectId), idOf(c), active);
      return c.json(object(changed, projectId), 200);
    });
  }

  const remove = createRoute({
    method: 'delete',
    path: `${path}/{allowlist_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: One },
    responses: replies(Deleted, 'The list is gone.'),
  });
  app.openapi(remove, async (c) => {
    const id = idOf(c);
    await deleteAllowlist(store, scopeOf(c, within(c)), id);
    return c.json({ object: 'keygate.ip_allowlist.deleted' as const, id, deleted: true as const }, 200);
  });

  return app;
}
