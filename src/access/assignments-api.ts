// The HTTP surface of role assignments (docs/api-reference/role-assignments): of users and of groups, in the
// organization and in a project, four times the same routes.

import { createRoute, z } from '@hono/zod-openapi';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Db, Tx } from '../store/store.ts';
import { assignRole, type PrincipalRef, unassignRole } from './assignments.ts';
import { assertMayGrant } from './grants.ts';
import { getGroup } from './groups.ts';
import { heldRole, heldRoles } from './held-roles.ts';
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
  seconds,
  TimestampSchema,
} from './http.ts';
import type { Group, User } from './model.ts';
import { notFound } from './model.ts';
import { UserSchema, userObject } from './objects.ts';
import { nextListOf, nextListSchema, nextPageQuery } from './page.ts';
import { PREDEFINED_ROLES } from './permission-names.ts';
import { HeldRoleSchema, heldRoleObject, RoleSchema, roleObject } from './role-objects.ts';
import { getRole, pageOf } from './roles.ts';
import { getActiveProject, getProject, getUser } from './store.ts';
import { assertNotLastOwner, noteOwner } from './users.ts';

const AssignBody = z.strictObject({ role_id: IdSchema });
const GroupSummarySchema = z.object({
  object: z.literal('group'),
  id: IdSchema,
  name: z.string(),
  created_at: TimestampSchema,
  scim_managed: z.literal(false),
});
const AssignedSchema = z.union([
  z.object({ object: z.literal('user.role'), role: RoleSchema, user: UserSchema }),
  z.object({ object: z.literal('group.role'), role: RoleSchema, group: GroupSummarySchema }),
]);
const DeletedSchema = z.object({
  object: z.enum(['user.role.deleted', 'group.role.deleted']),
  deleted: z.literal(true),
});

type Kind = PrincipalRef['type'];

export function assignmentsApi(deps: ControlPlaneDeps, auth: Authentication): ControlApp {
  const app = newApp();
  for (const kind of ['user', 'group'] as const) {
    for (const base of ['/v1/organization', '/v1/projects/{project_id}'])
      addRoutes(app, deps, auth, kind, base);
  }
  return app;
}

function addRoutes(
  app: ControlApp,
  { store, clock }: ControlPlaneDeps,
  { admin }: Authentication,
  kind: Kind,
  base: string,
): void {
  const inProject = base.includes('{project_id}');
  const path = `${base}/${kind}s/{${kind}_id}/roles`;
  const common = {
    tags: [inProject ? 'Project role assignments' : 'Role assignments'],
    middleware: [admin],
  };
  // Which of them the path has is known here; the handlers read all by name.
  const params = z.object({
    ...(inProject && { project_id: ProjectIdSchema }),
    ...(kind === 'user' ? { user_id: IdSchema } : { group_id: IdSchema }),
  }) as z.ZodObject<Record<string, z.ZodType<string>>>;
  const one = params.extend({ role_id: IdSchema });
  const read = (given: Record<string, string>) => ({
    // The path's own schema has read it as a project's id.
    projectId: (given['project_id'] ?? null) as ProjectId | null,
    principal: { type: kind, id: given[`${kind}_id`] ?? '' },
    roleId: given['role_id'] ?? '',
  });

  const list = createRoute({
    ...common,
    method: 'get',
    path,
    request: { params, query: nextPageQuery(1000) },
    responses: replies(nextListSchema(HeldRoleSchema), 'The roles that it has here.'),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { projectId, principal } = read(c.req.valid('param'));
    await assertThere(store.db, organizationId, projectId, principal);
    const held = await heldRoles(store.db, { organizationId, projectId }, principal);
    const { rows, hasMore } = pageOf(held, c.req.valid('query'));
    return c.json(nextListOf(rows.map(heldRoleObject), hasMore, rows.at(-1)?.id), 200);
  });

  const assign = createRoute({
    ...common,
    method: 'post',
    path,
    request: { params, body: jsonBody(AssignBody) },
    responses: replies(AssignedSchema, 'It has the role.'),
  });
  app.openapi(assign, async (c) => {
    const { projectId, principal } = read(c.req.valid('param'));
    const { role_id: roleId } = c.req.valid('json');
    const by = attribution(c, clock);
    const assigned = await store.write(async (tx) => {
      if (projectId !== null) await getActiveProject(tx, by.organizationId, projectId);
      const holder = await holderOf(tx, by.organizationId, principal);
      const role = await getRole(tx, { organizationId: by.organizationId, projectId }, roleId);
      assertMayGrant(c.get('rights'), projectId, role.permissions);
      await assignRole(store, tx, by, { projectId, principal, roleId });
      if (projectId === null && kind === 'user') await noteOwner(tx, by, principal.id);
      return { role, holder };
    });
    return c.json(assignedObject(roleObject(assigned.role), assigned.holder), 200);
  });

  const get = createRoute({
    ...common,
    method: 'get',
    path: `${path}/{role_id}`,
    request: { params: one },
    responses: replies(HeldRoleSchema, 'The role, which it has here.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const { projectId, principal, roleId } = read(c.req.valid('param'));
    await assertThere(store.db, organizationId, projectId, principal);
    const held = await heldRole(store.db, { organizationId, projectId }, principal, roleId);
    return c.json(heldRoleObject(held), 200);
  });

  const unassign = createRoute({
    ...common,
    method: 'delete',
    path: `${path}/{role_id}`,
    request: { params: one },
    responses: replies(DeletedSchema, 'It has the role no longer.'),
  });
  app.openapi(unassign, async (c) => {
    const { projectId, principal, roleId } = read(c.req.valid('param'));
    const by = attribution(c, clock);
    await store.write(async (tx) => {
      await assertThere(tx, by.organizationId, projectId, principal);
      const role = await getRole(tx, { organizationId: by.organizationId, projectId }, roleId);
      assertMayGrant(c.get('rights'), projectId, role.permissions);
      const ofOwner =
        projectId === null && kind === 'user' && roleId === PREDEFINED_ROLES.organizationOwner.id;
      if (ofOwner) await assertNotLastOwner(tx, by, principal.id);
      if (!(await unassignRole(store, tx, by, { projectId, principal, roleId }))) {
        throw notFound('role assignment', roleId);
      }
      if (ofOwner) await noteOwner(tx, by, principal.id);
    });
    return c.json({ object: `${kind}.role.deleted` as const, deleted: true as const }, 200);
  });
}

type Holder = { readonly user: User } | { readonly group: Group };

async function holderOf(
  db: Db | Tx,
  organizationId: OrganizationId,
  principal: PrincipalRef,
): Promise<Holder> {
  return principal.type === 'user'
    ? { user: await getUser(db, organizationId, principal.id) }
    : { group: await getGroup(db, organizationId, principal.id) };
}

async function assertThere(
  db: Db | Tx,
  organizationId: OrganizationId,
  projectId: ProjectId | null,
  principal: PrincipalRef,
): Promise<void> {
  if (projectId !== null) await getProject(db, organizationId, projectId);
  await holderOf(db, organizationId, principal);
}

function assignedObject(role: z.infer<typeof RoleSchema>, holder: Holder): z.infer<typeof AssignedSchema> {
  if ('user' in holder) return { object: 'user.role', role, user: userObject(holder.user) };
  const { id, name, created_at } = holder.group;
  const group = {
    object: 'group' as const,
    id,
    name,
    created_at: seconds(created_at),
    scim_managed: false as const,
  };
  return { object: 'group.role', role, group };
}
