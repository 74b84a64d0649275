// The HTTP surface of groups and of who is in them (docs/api-reference/groups). A service account can be in a group
// too, by its own id in the place of a user's.

import { createRoute, z } from '@hono/zod-openapi';
import { assertMayJoin } from './grants.ts';
import {
  addMember,
  createGroup,
  deleteGroup,
  type GroupMember,
  getGroup,
  getMember,
  listGroups,
  listMembers,
  removeMember,
  renameGroup,
} from './groups.ts';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  NameSchema,
  newApp,
  replies,
  seconds,
  TimestampSchema,
} from './http.ts';
import type { Group } from './model.ts';
import { nextListOf, nextListSchema, nextPageQuery } from './page.ts';

const GROUPS = '/v1/organization/groups';
const GroupPath = z.object({ group_id: IdSchema });
const MemberPath = z.object({ group_id: IdSchema, user_id: IdSchema });
const tags = ['Groups'];

const GroupSchema = z
  .object({
    id: IdSchema,
    name: z.string(),
    created_at: TimestampSchema,
    group_type: z.literal('group'),
    is_scim_managed: z.literal(false),
  })
  .openapi('Group');

function groupObject(group: Group): z.infer<typeof GroupSchema> {
  const { id, name, created_at } = group;
  return { id, name, created_at: seconds(created_at), group_type: 'group', is_scim_managed: false };
}

/** The published reply to a change leaves the type out. */
const RenamedGroupSchema = GroupSchema.omit({ group_type: true }).openapi('RenamedGroup');

function renamedObject({ id, name, created_at }: Group): z.infer<typeof RenamedGroupSchema> {
  return { id, name, created_at: seconds(created_at), is_scim_managed: false };
}

const MemberSchema = z
  .object({ id: IdSchema, name: z.string(), email: z.string().nullable() })
  .openapi('GroupUser');

const MemberDetailsSchema = MemberSchema.extend({
  is_service_account: z.boolean(),
  picture: z.null(),
  user_type: z.literal('user'),
}).openapi('GroupMember');

function memberObject({ id, name, email }: GroupMember): z.infer<typeof MemberSchema> {
  return { id, name, email };
}

export function groupsApi(deps: ControlPlaneDeps, auth: Authentication): ControlApp {
  const app = groupRoutes(deps, auth);
  app.route('/', memberRoutes(deps, auth));
  return app;
}

function groupRoutes({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();

  const list = createRoute({
    method: 'get',
    path: GROUPS,
    tags,
    middleware: [admin] as const,
    request: { query: nextPageQuery(100) },
    responses: replies(nextListSchema(GroupSchema), "The organization's groups."),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { rows, hasMore } = await listGroups(store.db, organizationId, c.req.valid('query'));
    return c.json(nextListOf(rows.map(groupObject), hasMore, rows.at(-1)?.id), 200);
  });

  const create = createRoute({
    method: 'post',
    path: GROUPS,
    tags,
    middleware: [admin] as const,
    request: { body: jsonBody(z.strictObject({ name: NameSchema })) },
    responses: replies(GroupSchema, 'The new group.'),
  });
  app.openapi(create, async (c) => {
    const { name } = c.req.valid('json');
    const by = attribution(c, clock);
    return c.json(groupObject(await store.write((tx) => createGroup(store, tx, by, name))), 200);
  });

  const get = createRoute({
    method: 'get',
    path: `${GROUPS}/{group_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: GroupPath },
    responses: replies(GroupSchema, 'The group.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    return c.json(groupObject(await getGroup(store.db, organizationId, c.req.valid('param').group_id)), 200);
  });

  const update = createRoute({
    method: 'post',
    path: `${GROUPS}/{group_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: GroupPath, body: jsonBody(z.strictObject({ name: NameSchema })) },
    responses: replies(RenamedGroupSchema, 'The group as it is now.'),
  });
  app.openapi(update, async (c) => {
    const { group_id: id } = c.req.valid('param');
    const { name } = c.req.valid('json');
    const by = attribution(c, clock);
    const group = await store.write((tx) => renameGroup(tx, by, id, name));
    return c.json(renamedObject(group), 200);
  });

  const remove = createRoute({
    method: 'delete',
    path: `${GROUPS}/{group_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: GroupPath },
    responses: replies(
      z.object({ object: z.literal('group.deleted'), id: IdSchema, deleted: z.literal(true) }),
      'The group is deleted, and its members have lost the roles that they had by it.',
    ),
  });
  app.openapi(remove, async (c) => {
    const { group_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    await store.write(async (tx) => {
      await assertMayJoin(tx, c.get('rights'), by.organizationId, id);
      await deleteGroup(store, tx, by, id);
    });
    return c.json({ object: 'group.deleted' as const, id, deleted: true as const }, 200);
  });

  return app;
}

function memberRoutes({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const path = `${GROUPS}/{group_id}/users`;

  const list = createRoute({
    method: 'get',
    path,
    tags,
    middleware: [admin] as const,
    request: { params: GroupPath, query: nextPageQuery(100, 1000, 'desc') },
    responses: replies(nextListSchema(MemberSchema), 'Who is in the group.'),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { group_id: id } = c.req.valid('param');
    const { rows, hasMore } = await listMembers(store.db, organizationId, id, c.req.valid('query'));
    return c.json(nextListOf(rows.map(memberObject), hasMore, rows.at(-1)?.id), 200);
  });

  const add = createRoute({
    method: 'post',
    path,
    tags,
    middleware: [admin] as const,
    request: { params: GroupPath, body: jsonBody(z.strictObject({ user_id: IdSchema })) },
    responses: replies(
      z.object({ object: z.literal('group.user'), group_id: IdSchema, user_id: IdSchema }),
      'The user is in the group, and has its roles.',
    ),
  });
  app.openapi(add, async (c) => {
    const { group_id } = c.req.valid('param');
    const { user_id } = c.req.valid('json');
    const by = attribution(c, clock);
    await store.write(async (tx) => {
      await assertMayJoin(tx, c.get('rights'), by.organizationId, group_id);
      await addMember(store, tx, by, group_id, user_id);
    });
    return c.json({ object: 'group.user' as const, group_id, user_id }, 200);
  });

  const get = createRoute({
    method: 'get',
    path: `${path}/{user_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: MemberPath },
    responses: replies(MemberDetailsSchema, 'The user, who is in the group.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const { group_id, user_id } = c.req.valid('param');
    const member = await getMember(store.db, organizationId, group_id, user_id);
    const details = {
      is_service_account: member.isServiceAccount,
      picture: null,
      user_type: 'user' as const,
    };
    return c.json({ ...memberObject(member), ...details }, 200);
  });

  const remove = createRoute({
    method: 'delete',
    path: `${path}/{user_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: MemberPath },
    responses: replies(
      z.object({ object: z.literal('group.user.deleted'), deleted: z.literal(true) }),
      'The user is out of the group.',
    ),
  });
  app.openapi(remove, async (c) => {
    const { group_id, user_id } = c.req.valid('param');
    const by = attribution(c, clock);
    await store.write(async (tx) => {
      await assertMayJoin(tx, c.get('rights'), by.organizationId, group_id);
      await removeMember(store, tx, by, group_id, user_id);
    });
    return c.json({ object: 'group.user.deleted' as const, deleted: true as const }, 200);
  });

  return app;
}
