// The HTTP surface of roles (docs/api-reference/roles): the organization's, and each project's.

import { createRoute, z } from '@hono/zod-openapi';
import type { ProjectId } from '../platform/ids.ts';
import { assertMayGrant } from './grants.ts';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  NameSchema,
  newApp,
  ProjectIdSchema,
  replies,
} from './http.ts';
import { nextListOf, nextListSchema, nextPageQuery } from './page.ts';
import { PERMISSIONS } from './permission-names.ts';
import { RoleSchema, roleObject } from './role-objects.ts';
import { changeRole, createRole, deleteRole, getRole, listRoles } from './roles.ts';
import { getActiveProject, getProject } from './store.ts';

const PermissionsSchema = z
  .array(z.string().min(1).max(128))
  .max(PERMISSIONS.length)
  .openapi({ description: 'What the role grants, such as api.files.read.' });
const DescriptionSchema = z.string().max(1000).nullable().optional();

const CreateBody = z.strictObject({
  role_name: NameSchema,
  permissions: PermissionsSchema,
  description: DescriptionSchema,
});
const UpdateBody = z.strictObject({
  role_name: NameSchema.nullable().optional(),
  permissions: PermissionsSchema.nullable().optional(),
  description: DescriptionSchema,
});

interface Place {
  readonly path: string;
  readonly tag: string;
  readonly params: z.ZodObject<{ project_id?: typeof ProjectIdSchema }>;
}

const PLACES: readonly Place[] = [
  { path: '/v1/organization/roles', tag: 'Roles', params: z.object({}) },
  {
    path: '/v1/projects/{project_id}/roles',
    tag: 'Project roles',
    params: z.object({ project_id: ProjectIdSchema }),
  },
];

/** The project of the path, as its schema has read it, or null where it names none. */
function projectIn({ project_id }: { readonly project_id?: unknown }): ProjectId | null {
  return typeof project_id === 'string' ? (project_id as ProjectId) : null;
}

export function rolesApi(deps: ControlPlaneDeps, auth: Authentication): ControlApp {
  const app = newApp();
  for (const place of PLACES) addRoutes(app, deps, auth, place);
  return app;
}

function addRoutes(
  app: ControlApp,
  { store, clock }: ControlPlaneDeps,
  { admin }: Authentication,
  { path, tag, params }: Place,
): void {
  const common = { tags: [tag], middleware: [admin] };
  const roleParams = params.extend({ role_id: IdSchema });

  const list = createRoute({
    ...common,
    method: 'get',
    path,
    request: { params, query: nextPageQuery(1000) },
    responses: replies(nextListSchema(RoleSchema), 'The roles that can be given here.'),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const projectId = projectIn(c.req.valid('param'));
    if (projectId !== null) await getProject(store.db, organizationId, projectId);
    const page = c.req.valid('query');
    const { rows, hasMore } = await listRoles(store.db, { organizationId, projectId }, page);
    return c.json(nextListOf(rows.map(roleObject), hasMore, rows.at(-1)?.id), 200);
  });

  const create = createRoute({
    ...common,
    method: 'post',
    path,
    request: { params, body: jsonBody(CreateBody) },
    responses: replies(RoleSchema, 'The new role.'),
  });
  app.openapi(create, async (c) => {
    const projectId = projectIn(c.req.valid('param'));
    const { role_name: name, permissions, description = null } = c.req.valid('json');
    const by = attribution(c, clock);
    const role = await store.write(async (tx) => {
      if (projectId !== null) await getActiveProject(tx, by.organizationId, projectId);
      assertMayGrant(c.get('rights'), projectId, permissions);
      return await createRole(store, tx, by, projectId, { name, permissions, description });
    });
    return c.json(roleObject(role), 200);
  });

  const get = createRoute({
    ...common,
    method: 'get',
    path: `${path}/{role_id}`,
    request: { params: roleParams },
    responses: replies(RoleSchema, 'The role.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const projectId = projectIn(c.req.valid('param'));
    const { role_id: id } = c.req.valid('param');
    if (projectId !== null) await getProject(store.db, organizationId, projectId);
    return c.json(roleObject(await getRole(store.db, { organizationId, projectId }, id)), 200);
  });

  const update = createRoute({
    ...common,
    method: 'post',
    path: `${path}/{role_id}`,
    request: { params: roleParams, body: jsonBody(UpdateBody) },
    responses: replies(RoleSchema, 'The role as it is now, for everybody who has it.'),
  });
  app.openapi(update, async (c) => {
    const projectId = projectIn(c.req.valid('param'));
    const { role_id: id } = c.req.valid('param');
    const { role_name: name, permissions, description } = c.req.valid('json');
    const by = attribution(c, clock);
    const changes = {
      ...(name && { name }),
      ...(permissions && { permissions }),
      ...(description !== undefined && { description }),
    };
    const role = await store.write(async (tx) => {
      if (projectId !== null) await getActiveProject(tx, by.organizationId, projectId);
      const before = await getRole(tx, { organizationId: by.organizationId, projectId }, id);
      assertMayGrant(c.get('rights'), projectId, [...before.permissions, ...(permissions ?? [])]);
      return await changeRole(store, tx, by, projectId, id, changes);
    });
    return c.json(roleObject(role), 200);
  });

  const remove = createRoute({
    ...common,
    method: 'delete',
    path: `${path}/{role_id}`,
    request: { params: roleParams },
    responses: replies(
      z.object({ object: z.literal('role.deleted'), id: IdSchema, deleted: z.literal(true) }),
      'The role is deleted, and nobody has it any more.',
    ),
  });
  app.openapi(remove, async (c) => {
    const projectId = projectIn(c.req.valid('param'));
    const { role_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    await store.write(async (tx) => {
      if (projectId !== null) await getProject(tx, by.organizationId, projectId);
      const role = await getRole(tx, { organizationId: by.organizationId, projectId }, id);
      assertMayGrant(c.get('rights'), projectId, role.permissions);
      await deleteRole(store, tx, by, projectId, id);
    });
    return c.json({ object: 'role.deleted' as const, id, deleted: true as const }, 200);
  });
}
