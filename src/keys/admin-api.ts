// The HTTP surface of admin keys (docs/api-reference/admin-api-keys): they open the Administration API and nothing
// else, and belong to the organization.

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
  replies,
} from '../access/http.ts';
import { listOf, listSchema, PageQuery } from '../access/page.ts';
import { canonical, PERMISSIONS, rightsOf } from '../access/permission-names.ts';
import { getUser } from '../access/store.ts';
import type { Attribution } from '../audit/model.ts';
import { type Cnf, CnfSchema, confirmationOf } from '../identity/proof/cnf.ts';
import { ApiError } from '../platform/errors.ts';
import type { Store, Tx } from '../store/store.ts';
import { issueKey, revokeKey } from './issue.ts';
import {
  AdminApiKeySchema,
  AdminScopesSchema,
  adminApiKey,
  ExpirySchema,
  KeygateAdminKeySchema,
  keygateAdminKey,
} from './objects.ts';
import { countAdminKeys, getKey, listKeys } from './store.ts';

const PATH = '/v1/organization/admin_api_keys';
const tags = ['Admin API keys'];
const KeyPath = z.object({ key_id: IdSchema });

export function adminKeysApi({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();

  const list = createRoute({
    method: 'get',
    path: PATH,
    tags,
    middleware: [admin] as const,
    request: { query: PageQuery.extend({ order: z.enum(['asc', 'desc']).default('asc') }) },
    responses: replies(listSchema(AdminApiKeySchema), 'The admin keys that were not revoked.'),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const filter = { revoked: 'without', owner: 'any', only: null } as const;
    const scope = { organizationId, projectId: null };
    const { rows, hasMore } = await listKeys(store.db, scope, filter, c.req.valid('query'));
    return c.json(listOf(rows.map(adminApiKey), hasMore), 200);
  });

  const create = createRoute({
    method: 'post',
    path: PATH,
    tags,
    middleware: [admin] as const,
    request: {
      body: jsonBody(z.strictObject({ name: NameSchema, expires_in_seconds: ExpirySchema.optional() })),
    },
    responses: replies(
      AdminApiKeySchema.extend({
        value: z.string().openapi({ description: 'The key itself, shown this once.' }),
      }),
      'The new admin key.',
    ),
  });
  app.openapi(create, async (c) => {
    const { name, expires_in_seconds: expiresInSeconds = null } = c.req.valid('json');
    const by = attribution(c, clock);
    const issued = await store.write((tx) =>
      issueAdminKey(store, tx, by, c, { name, expiresInSeconds, scopes: [], ownerId: undefined, cnf: null }),
    );
    return c.json({ ...adminApiKey(issued.key), value: issued.value }, 200);
  });

  const createScoped = createRoute({
    method: 'post',
    path: '/v1/keygate/admin_api_keys',
    tags: ['keygate'],
    middleware: [admin] as const,
    request: {
      body: jsonBody(
        z.strictObject({
          name: NameSchema,
          scopes: AdminScopesSchema.default([]),
          owner_user_id: IdSchema.optional().openapi({ description: 'Whoever asks if left out.' }),
          expires_in_seconds: ExpirySchema.nullable().optional(),
          cnf: CnfSchema.nullable().default(null),
        }),
      ),
    },
    responses: replies(
      KeygateAdminKeySchema.extend({
        cnf: CnfSchema.nullable(),
        value: z.string().openapi({ description: 'The key itself, shown this once.' }),
      }),
      'The new admin key: it does what its scopes and its owner’s roles both allow.',
    ),
  });
  app.openapi(createScoped, async (c) => {
    const {
      name,
      scopes,
      owner_user_id: ownerId,
      expires_in_seconds: expiresInSeconds = null,
      cnf,
    } = c.req.valid('json');
    const by = attribution(c, clock);
    const issued = await store.write((tx) =>
      issueAdminKey(store, tx, by, c, { name, scopes, ownerId, expiresInSeconds, cnf }),
    );
    return c.json({ ...keygateAdminKey(issued.key), value: issued.value, cnf }, 200);
  });

  const get = createRoute({
    method: 'get',
    path: `${PATH}/{key_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: KeyPath },
    responses: replies(AdminApiKeySchema, 'The admin key, without its secret.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const key = await getKey(store.db, { organizationId, projectId: null }, c.req.valid('param').key_id);
    return c.json(adminApiKey(key), 200);
  });

  const remove = createRoute({
    method: 'delete',
    path: `${PATH}/{key_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: KeyPath },
    responses: replies(
      z.object({
        object: z.literal('organization.admin_api_key.deleted'),
        id: IdSchema,
        deleted: z.literal(true),
      }),
      'The admin key is revoked: on this node already, on others within a second.',
    ),
  });
  app.openapi(remove, async (c) => {
    const { key_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    await store.write(async (tx) => {
      const key = await getKey(tx, { organizationId: by.organizationId, projectId: null }, id);
      const expired = key.expires_at !== null && key.expires_at <= by.at;
      // Nobody could come in again: with the last one gone, only a new bootstrap key would help.
      if (!expired && (await countAdminKeys(tx, by.organizationId, by.at)) === 1) {
        throw new ApiError(400, 'This is the last admin key. Create another before you delete it.');
      }
      await revokeKey(store, tx, by, key);
    });
    return c.json({ object: 'organization.admin_api_key.deleted' as const, id, deleted: true as const }, 200);
  });

  return app;
}

interface AdminKeyOrder {
  readonly name: string;
  readonly scopes: readonly string[];
  /** Undefined: whoever asks. */
  readonly ownerId: string | undefined;
  readonly expiresInSeconds: number | null;
  readonly cnf: Cnf | null;
}

/** A key never has more than the one that made it: without scopes of its own it has that one's. */
async function issueAdminKey(store: Store, tx: Tx, by: Attribution, c: ControlContext, order: AdminKeyOrder) {
  const caller = c.get('principal');
  const owner = await getUser(tx, by.organizationId, order.ownerId ?? caller.ownerId);
  const scopes = order.scopes.length === 0 ? caller.scopes : order.scopes;
  // A key of the caller's own with fewer scopes gives nothing away; one in another's name, or of a restricted key, might.
  const bound =
    owner.id === caller.ownerId && caller.scopes.length === 0 ? [] : scopes.length > 0 ? scopes : PERMISSIONS;
  for (const [at, scope] of bound.entries()) {
    if ([...rightsOf([scope])].every((right) => caller.rights.has(right))) continue;
    throw new ApiError(403, `The key that makes this one does not have ${canonical(scope)} itself.`, {
      param: order.scopes.length > 0 ? `scopes[${at}]` : 'scopes',
    });
  }
  const { key, value } = await issueKey(store, tx, by, {
    type: 'admin',
    name: order.name,
    projectId: null,
    owner: { type: 'user', id: owner.id },
    scopes: [...new Set(scopes)],
    expiresInSeconds: order.expiresInSeconds,
    confirmation: confirmationOf(order.cnf),
  });
  return { value, key: await getKey(tx, { organizationId: by.organizationId, projectId: null }, key.id) };
}
