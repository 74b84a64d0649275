// The HTTP surface of users (docs/api-reference/users), and keygate's own route that adds one without an invitation.

import { createRoute, z } from '@hono/zod-openapi';
import { assertMayGrant } from './grants.ts';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  EmailSchema,
  IdSchema,
  jsonBody,
  NameSchema,
  newApp,
  replies,
} from './http.ts';
import { UserSchema, userObject } from './objects.ts';
import { listOf, listSchema, PageQuery } from './page.ts';
import { PREDEFINED_ROLES } from './permission-names.ts';
import { getRole } from './roles.ts';
import { getUser, listUsers } from './store.ts';
import { addUser, changeUser, deleteUser, giveOrganizationRole } from './users.ts';

const USERS = '/v1/organization/users';
const UserPath = z.object({ user_id: IdSchema });
const RoleSchema = z.enum(['owner', 'reader']);
const tags = ['Users'];

const Emails = z.union([
  z.string().max(320).array().max(100),
  z
    .string()
    .max(320)
    .transform((one) => [one]),
]);

export function usersApi({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();

  const list = createRoute({
    method: 'get',
    path: USERS,
    tags,
    middleware: [admin] as const,
    // The official clients write lists with brackets; others repeat the name.
    request: { query: PageQuery.extend({ emails: Emails.optional(), 'emails[]': Emails.optional() }) },
    responses: replies(listSchema(UserSchema), "The organization's users."),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { emails = [], 'emails[]': bracketed = [], ...page } = c.req.valid('query');
    const { rows, hasMore } = await listUsers(store.db, organizationId, {
      ...page,
      emails: [...emails, ...bracketed],
    });
    return c.json(listOf(rows.map(userObject), hasMore), 200);
  });

  const get = createRoute({
    method: 'get',
    path: `${USERS}/{user_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: UserPath },
    responses: replies(UserSchema, 'The user.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    return c.json(userObject(await getUser(store.db, organizationId, c.req.valid('param').user_id)), 200);
  });

  const update = createRoute({
    method: 'post',
    path: `${USERS}/{user_id}`,
    tags,
    middleware: [admin] as const,
    request: {
      params: UserPath,
      body: jsonBody(
        z.strictObject({
          role: RoleSchema.nullable().optional(),
          role_id: IdSchema.nullable().optional(),
          developer_persona: NameSchema.nullable().optional(),
          technical_level: NameSchema.nullable().optional(),
        }),
      ),
    },
    responses: replies(UserSchema, 'The user as it is now.'),
  });
  app.openapi(update, async (c) => {
    const { user_id: id } = c.req.valid('param');
    const { role, role_id, ...texts } = c.req.valid('json');
    const by = attribution(c, clock);
    const changes = { ...(role && { role }), ...texts };
    const user = await store.write(async (tx) => {
      await getUser(tx, by.organizationId, id);
      if (role === 'owner')
        assertMayGrant(c.get('rights'), null, PREDEFINED_ROLES.organizationOwner.permissions);
      if (role_id) {
        const scope = { organizationId: by.organizationId, projectId: null };
        assertMayGrant(c.get('rights'), null, (await getRole(tx, scope, role_id)).permissions);
        await giveOrganizationRole(store, tx, by, id, role_id);
      }
      return await changeUser(store, tx, by, id, changes);
    });
    return c.json(userObject(user), 200);
  });

  const remove = createRoute({
    method: 'delete',
    path: `${USERS}/{user_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: UserPath },
    responses: replies(
      z.object({ object: z.literal('organization.user.deleted'), id: IdSchema, deleted: z.literal(true) }),
      'The user has left, and its keys are revoked: on this node already, on others within a second.',
    ),
  });
  app.openapi(remove, async (c) => {
    const { user_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    await store.write((tx) => deleteUser(store, tx, by, id));
    return c.json({ object: 'organization.user.deleted' as const, id, deleted: true as const }, 200);
  });

  const add = createRoute({
    method: 'post',
    path: '/v1/keygate/users',
    tags: ['keygate'],
    middleware: [admin] as const,
    request: {
      body: jsonBody(
        z.strictObject({
          email: EmailSchema,
          name: NameSchema.optional(),
          role: RoleSchema.default('reader'),
        }),
      ),
    },
    responses: replies(UserSchema, 'The new user, without an invitation.'),
  });
  app.openapi(add, async (c) => {
    const { email, name = email, role } = c.req.valid('json');
    const by = attribution(c, clock);
    if (role === 'owner')
      assertMayGrant(c.get('rights'), null, PREDEFINED_ROLES.organizationOwner.permissions);
    return c.json(userObject(await store.write((tx) => addUser(store, tx, by, { email, name, role }))), 200);
  });

  return app;
}
