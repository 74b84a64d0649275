// The HTTP surface of a project's users and groups (docs/api-reference/project-users, project-groups).

import { createRoute, z } from '@hono/zod-openapi';
import { ApiError } from '../platform/errors.ts';
import { assertMayGrant } from './grants.ts';
import { getGroup } from './groups.ts';
import { heldRoles } from './held-roles.ts';
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
import { notFound } from './model.ts';
import { listOf, listSchema, nextListOf, nextListSchema, nextPageQuery, PageQuery } from './page.ts';
import {
  changeProjectRole,
  getProjectMember,
  joinProject,
  leaveProject,
  listProjectMembers,
  type ProjectMember,
  projectRole,
} from './project-access.ts';
import { permissionsOfRole } from './roles.ts';
import { getActiveProject, getProject, getUser } from './store.ts';
import { plainEmail } from './users.ts';

const PROJECT = '/v1/organization/projects/{project_id}';
const ProjectPath = z.object({ project_id: ProjectIdSchema });
const RoleNameSchema = z
  .string()
  .min(1)
  .max(128)
  .openapi({ description: 'owner, member, viewer, or the id of a role of this project.' });

const ProjectUserSchema = z
  .object({
    object: z.literal('organization.project.user'),
    id: IdSchema,
    name: z.string(),
    email: z.string().nullable(),
    role: z.string(),
    added_at: TimestampSchema,
  })
  .openapi('ProjectUser');

function projectUser({
  id,
  name,
  email,
  role,
  created_at,
}: ProjectMember): z.infer<typeof ProjectUserSchema> {
  return { object: 'organization.project.user', id, name, email, role, added_at: seconds(created_at) };
}

const ProjectGroupSchema = z
  .object({
    object: z.literal('project.group'),
    project_id: IdSchema,
    group_id: IdSchema,
    group_name: z.string(),
    group_type: z.literal('group'),
    created_at: TimestampSchema,
  })
  .openapi('ProjectGroup');

function projectGroup(
  projectId: string,
  { id, name, created_at }: ProjectMember,
): z.infer<typeof ProjectGroupSchema> {
  return {
    object: 'project.group',
    project_id: projectId,
    group_id: id,
    group_name: name,
    group_type: 'group',
    created_at: seconds(created_at),
  };
}

export function projectAccessApi(deps: ControlPlaneDeps, auth: Authentication): ControlApp {
  const app = projectUsers(deps, auth);
  app.route('/', projectGroups(deps, auth));
  return app;
}

function projectUsers({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const path = `${PROJECT}/users`;
  const common = { tags: ['Project users'], middleware: [admin] };
  const UserPath = ProjectPath.extend({ user_id: IdSchema });

  const list = createRoute({
    ...common,
    method: 'get',
    path,
    request: { params: ProjectPath, query: PageQuery },
    responses: replies(listSchema(ProjectUserSchema), 'The users with a role of their own in the project.'),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    await getProject(store.db, organizationId, projectId);
    const place = { organizationId, projectId };
    const { rows, hasMore } = await listProjectMembers(store.db, place, 'user', c.req.valid('query'));
    return c.json(listOf(rows.map(projectUser), hasMore), 200);
  });

  const create = createRoute({
    ...common,
    method: 'post',
    path,
    request: {
      params: ProjectPath,
      body: jsonBody(
        z.strictObject({
          role: RoleNameSchema,
          user_id: IdSchema.nullable().optional(),
          email: z.string().max(320).nullable().optional(),
        }),
      ),
    },
    responses: replies(ProjectUserSchema, 'The user, in the project.'),
  });
  app.openapi(create, async (c) => {
    const { project_id: projectId } = c.req.valid('param');
    const { role: wanted, user_id, email } = c.req.valid('json');
    if (!user_id === !email) {
      const message = "Name the user by one of 'user_id' and 'email'.";
      throw new ApiError(400, message, { code: 'invalid_value', param: 'user_id' });
    }
    const by = attribution(c, clock);
    const { organizationId } = by;
    const member = await store.write(async (tx) => {
      await getActiveProject(tx, organizationId, projectId);
      const user = user_id
        ? await getUser(tx, organizationId, user_id)
        : await tx
            .selectFrom('users')
            .select('id')
            .where('organization_id', '=', organizationId)
            .where('email', '=', plainEmail(email ?? ''))
            .executeTakeFirst();
      if (user === undefined) throw notFound('user', 'with this address');
      const role = await projectRole(tx, { organizationId, projectId }, wanted);
      assertMayGrant(c.get('rights'), projectId, role.permissions);
      return await joinProject(store, tx, by, projectId, { type: 'user', id: user.id }, role.id);
    });
    return c.json(projectUser(member), 200);
  });

  const get = createRoute({
    ...common,
    method: 'get',
    path: `${path}/{user_id}`,
    request: { params: UserPath },
    responses: replies(ProjectUserSchema, 'The user, in the project.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId, user_id: id } = c.req.valid('param');
    await getProject(store.db, organizationId, projectId);
    const place = { organizationId, projectId };
    return c.json(projectUser(await getProjectMember(store.db, place, { type: 'user', id })), 200);
  });

  const update = createRoute({
    ...common,
    method: 'post',
    path: `${path}/{user_id}`,
    request: {
      params: UserPath,
      body: jsonBody(z.strictObject({ role: RoleNameSchema.nullable().optional() })),
    },
    responses: replies(ProjectUserSchema, 'The user with its role as it is now.'),
  });
  app.openapi(update, async (c) => {
    const { project_id: projectId, user_id: id } = c.req.valid('param');
    const { role: wanted } = c.req.valid('json');
    const by = attribution(c, clock);
    const place = { organizationId: by.organizationId, projectId };
    const member = await store.write(async (tx) => {
      await getActiveProject(tx, by.organizationId, projectId);
      const before = await getProjectMember(tx, place, { type: 'user', id });
      if (!wanted) return before;
      const role = await projectRole(tx, place, wanted);
      const held = await heldRoles(tx, place, { type: 'user', id });
      const lost = held.filter(({ direct }) => direct).flatMap((one) => [...one.role.permissions]);
      assertMayGrant(c.get('rights'), projectId, [...role.permissions, ...lost]);
      return await changeProjectRole(store, tx, by, projectId, id, role.id);
    });
    return c.json(projectUser(member), 200);
  });

  const remove = createRoute({
    ...common,
    method: 'delete',
    path: `${path}/{user_id}`,
    request: { params: UserPath },
    responses: replies(
      z.object({
        object: z.literal('organization.project.user.deleted'),
        id: IdSchema,
        deleted: z.literal(true),
      }),
      'The user is out of the project: its keys there have stopped.',
    ),
  });
  app.openapi(remove, async (c) => {
    const { project_id: projectId, user_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    const place = { organizationId: by.organizationId, projectId };
    await store.write(async (tx) => {
      await getActiveProject(tx, by.organizationId, projectId);
      const held = await heldRoles(tx, place, { type: 'user', id });
      const lost = held.filter(({ direct }) => direct).flatMap((one) => [...one.role.permissions]);
      assertMayGrant(c.get('rights'), projectId, lost);
      await leaveProject(store, tx, by, projectId, { type: 'user', id });
    });
    return c.json({ object: 'organization.project.user.deleted' as const, id, deleted: true as const }, 200);
  });

  return app;
}

function projectGroups({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const path = `${PROJECT}/groups`;
  const common = { tags: ['Project groups'], middleware: [admin] };
  const GroupPath = ProjectPath.extend({ group_id: IdSchema });

  const list = createRoute({
    ...common,
    method: 'get',
    path,
    request: { params: ProjectPath, query: nextPageQuery(20, 100) },
    responses: replies(nextListSchema(ProjectGroupSchema), 'The groups that have a role in the project.'),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    await getProject(store.db, organizationId, projectId);
    const place = { organizationId, projectId };
    const { rows, hasMore } = await listProjectMembers(store.db, place, 'group', c.req.valid('query'));
    const groups = rows.map((row) => projectGroup(projectId, row));
    return c.json(nextListOf(groups, hasMore, rows.at(-1)?.id), 200);
  });

  const create = createRoute({
    ...common,
    method: 'post',
    path,
    request: {
      params: ProjectPath,
      body: jsonBody(z.strictObject({ group_id: IdSchema, role: RoleNameSchema })),
    },
    responses: replies(ProjectGroupSchema, 'The group, in the project.'),
  });
  app.openapi(create, async (c) => {
    const { project_id: projectId } = c.req.valid('param');
    const { group_id: id, role: wanted } = c.req.valid('json');
    const by = attribution(c, clock);
    const member = await store.write(async (tx) => {
      await getActiveProject(tx, by.organizationId, projectId);
      await getGroup(tx, by.organizationId, id);
      const role = await projectRole(tx, { organizationId: by.organizationId, projectId }, wanted);
      assertMayGrant(c.get('rights'), projectId, role.permissions);
      return await joinProject(store, tx, by, projectId, { type: 'group', id }, role.id);
    });
    return c.json(projectGroup(projectId, member), 200);
  });

  const get = createRoute({
    ...common,
    method: 'get',
    path: `${path}/{group_id}`,
    request: {
      params: GroupPath,
      query: z.object({ group_type: z.enum(['group', 'tenant_group']).optional() }),
    },
    responses: replies(ProjectGroupSchema, 'The group, in the project.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId, group_id: id } = c.req.valid('param');
    await getProject(store.db, organizationId, projectId);
    if (c.req.valid('query').group_type === 'tenant_group') throw notFound('group', id);
    const place = { organizationId, projectId };
    return c.json(
      projectGroup(projectId, await getProjectMember(store.db, place, { type: 'group', id })),
      200,
    );
  });

  const remove = createRoute({
    ...common,
    method: 'delete',
    path: `${path}/{group_id}`,
    request: { params: GroupPath },
    responses: replies(
      z.object({ object: z.literal('project.group.deleted'), deleted: z.literal(true) }),
      'The group is out of the project.',
    ),
  });
  app.openapi(remove, async (c) => {
    const { project_id: projectId, group_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    const place = { organizationId: by.organizationId, projectId };
    await store.write(async (tx) => {
      await getActiveProject(tx, by.organizationId, projectId);
      for (const { id: roleId } of await heldRoles(tx, place, { type: 'group', id })) {
        assertMayGrant(c.get('rights'), projectId, await permissionsOfRole(tx, by.organizationId, roleId));
      }
      await leaveProject(store, tx, by, projectId, { type: 'group', id });
    });
    return c.json({ object: 'project.group.deleted' as const, deleted: true as const }, 200);
  });

  return app;
}
