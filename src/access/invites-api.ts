// The HTTP surface of invitations (docs/api-reference/invite), and keygate's own routes beside it: those that show the
// token, for who has no mail set up, and the one by which it is accepted.

import { createRoute, z } from '@hono/zod-openapi';
import { issueKey } from '../keys/issue.ts';
import { assertMayGrant } from './grants.ts';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlContext,
  type ControlPlaneDeps,
  EmailSchema,
  IdSchema,
  jsonBody,
  NameSchema,
  newApp,
  replies,
  seconds,
  secondsOrNull,
  TimestampSchema,
} from './http.ts';
import {
  acceptInvite,
  createInvite,
  deleteInvite,
  getInvite,
  type Invited,
  listInvites,
  newInviteToken,
  projectsOf,
  renewInvite,
  statusOf,
} from './invites.ts';
import type { Invite } from './model.ts';
import { UserSchema, userObject } from './objects.ts';
import { listOf, listSchema, PageQuery } from './page.ts';
import { PREDEFINED_ROLES } from './permission-names.ts';

const INVITES = '/v1/organization/invites';
const OURS = '/v1/keygate/invites';
const PROJECTS_MAX = 100;
const InvitePath = z.object({ invite_id: IdSchema });
const ProjectsSchema = z.array(z.strictObject({ id: IdSchema, role: z.enum(['member', 'owner']) }));

const InviteSchema = z
  .object({
    object: z.literal('organization.invite'),
    id: IdSchema,
    email: z.string(),
    role: z.enum(['owner', 'reader']),
    status: z.enum(['pending', 'accepted', 'expired']),
    projects: ProjectsSchema,
    created_at: TimestampSchema,
    expires_at: TimestampSchema,
    accepted_at: TimestampSchema.nullable(),
  })
  .openapi('Invite');

function inviteObject(invite: Invite, nowMs: number): z.infer<typeof InviteSchema> {
  const { id, email, role, created_at, expires_at, accepted_at } = invite;
  return {
    object: 'organization.invite',
    id,
    email,
    role,
    status: statusOf(invite, nowMs),
    projects: [...projectsOf(invite)],
    created_at: seconds(created_at),
    expires_at: seconds(expires_at),
    accepted_at: secondsOrNull(accepted_at),
  };
}

const InvitedSchema = InviteSchema.extend({
  token: z.string().openapi({ description: 'What accepts the invite, shown this once.' }),
}).openapi('KeygateInvite');

const CreateBody = z.strictObject({
  email: EmailSchema,
  role: z.enum(['owner', 'reader']),
  projects: ProjectsSchema.max(PROJECTS_MAX).optional(),
});

const AcceptedSchema = z
  .object({
    object: z.literal('keygate.invite.accepted'),
    user: UserSchema,
    projects: ProjectsSchema,
    admin_api_key: z
      .object({ id: IdSchema, value: z.string() })
      .nullable()
      .openapi({ description: 'With `admin_key`: a key that acts with this user’s roles, shown this once.' }),
  })
  .openapi('AcceptedInvite');

export function invitesApi(deps: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const { store, clock } = deps;
  const app = newApp();
  const published = { tags: ['Invites'], middleware: [admin] };
  const ours = { tags: ['keygate'], middleware: [admin] };

  const list = createRoute({
    ...published,
    method: 'get',
    path: INVITES,
    request: { query: PageQuery },
    responses: replies(listSchema(InviteSchema), "The organization's invites."),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { rows, hasMore } = await listInvites(store.db, organizationId, c.req.valid('query'));
    const now = clock.now();
    return c.json(
      listOf(
        rows.map((row) => inviteObject(row, now)),
        hasMore,
      ),
      200,
    );
  });

  const create = createRoute({
    ...published,
    method: 'post',
    path: INVITES,
    request: { body: jsonBody(CreateBody) },
    responses: replies(InviteSchema, 'The new invite, which is sent by mail where mail is set up.'),
  });
  app.openapi(create, async (c) => {
    const { invite } = await invited(c, deps, c.req.valid('json'));
    return c.json(inviteObject(invite, clock.now()), 200);
  });

  const get = createRoute({
    ...published,
    method: 'get',
    path: `${INVITES}/{invite_id}`,
    request: { params: InvitePath },
    responses: replies(InviteSchema, 'The invite.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const invite = await getInvite(store.db, organizationId, c.req.valid('param').invite_id);
    return c.json(inviteObject(invite, clock.now()), 200);
  });

  const remove = createRoute({
    ...published,
    method: 'delete',
    path: `${INVITES}/{invite_id}`,
    request: { params: InvitePath },
    responses: replies(
      z.object({ object: z.literal('organization.invite.deleted'), id: IdSchema, deleted: z.literal(true) }),
      'The invite is deleted, and its token works no longer.',
    ),
  });
  app.openapi(remove, async (c) => {
    const { invite_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    await store.write((tx) => deleteInvite(tx, by, id));
    return c.json({ object: 'organization.invite.deleted' as const, id, deleted: true as const }, 200);
  });

  const createShown = createRoute({
    ...ours,
    method: 'post',
    path: OURS,
    request: { body: jsonBody(CreateBody) },
    responses: replies(InvitedSchema, 'The new invite with its token.'),
  });
  app.openapi(createShown, async (c) => {
    const { invite, token } = await invited(c, deps, c.req.valid('json'));
    return c.json({ ...inviteObject(invite, clock.now()), token }, 200);
  });

  const renew = createRoute({
    ...ours,
    method: 'post',
    path: `${OURS}/{invite_id}/token`,
    request: { params: InvitePath },
    responses: replies(InvitedSchema, 'The invite with a new token, for seven days; the one before is void.'),
  });
  app.openapi(renew, async (c) => {
    const { invite_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    const fresh = await newInviteToken(deps.mail ?? null, by.organizationId, id);
    const { invite, token } = await store.write(async (tx) => {
      const { role } = await getInvite(tx, by.organizationId, id);
      if (role === 'owner')
        assertMayGrant(c.get('rights'), null, PREDEFINED_ROLES.organizationOwner.permissions);
      return await renewInvite(tx, by, fresh);
    });
    return c.json({ ...inviteObject(invite, by.at), token }, 200);
  });

  const accept = createRoute({
    method: 'post',
    path: `${OURS}/accept`,
    tags: ['keygate'],
    security: [],
    request: {
      body: jsonBody(
        z.strictObject({
          token: z.string().min(1).max(128),
          name: NameSchema.optional(),
          admin_key: z.boolean().default(false),
        }),
      ),
    },
    responses: replies(AcceptedSchema, 'The new user. The token is the proof; no key is asked for.'),
  });
  app.openapi(accept, async (c) => {
    const { token, name, admin_key } = c.req.valid('json');
    const address = c.env.remoteAddress || null;
    const result = await store.write(async (tx) => {
      const { invite, user, by } = await acceptInvite(store, tx, token, name, clock.now(), address);
      const owner = { type: 'user', id: user.id } as const;
      const order = {
        type: 'admin',
        name: `${user.name}'s key`.slice(0, 256),
        projectId: null,
        owner,
      } as const;
      return { invite, user, issued: admin_key ? await issueKey(store, tx, by, order) : null };
    });
    const { invite, user, issued } = result;
    return c.json(
      {
        object: 'keygate.invite.accepted' as const,
        user: userObject(user),
        projects: [...projectsOf(invite)],
        admin_api_key: issued && { id: issued.key.id, value: issued.value },
      },
      200,
    );
  });

  return app;
}

async function invited(
  c: ControlContext,
  { store, clock, mail = null }: ControlPlaneDeps,
  order: z.infer<typeof CreateBody>,
): Promise<Invited> {
  const by = attribution(c, clock);
  if (order.role === 'owner') {
    assertMayGrant(c.get('rights'), null, PREDEFINED_ROLES.organizationOwner.permissions);
  }
  const fresh = await newInviteToken(mail, by.organizationId);
  return await store.write((tx) => createInvite(tx, by, order, fresh));
}
