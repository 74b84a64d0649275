// The HTTP surface of a project's keys: the platform's own routes (list, get, update, delete) and keygate's, which
// also issue keys for people, because the platform has no route for that.

import { createRoute, z } from '@hono/zod-openapi';
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
} from '../access/http.ts';
import { assertForSelf, assertOwn, keysOf } from '../access/own-keys.ts';
import { listOf, listSchema, PageQuery } from '../access/page.ts';
import { getActiveProject, getProject, getUser } from '../access/store.ts';
import { invalidParameter } from '../access/validation.ts';
import { CnfSchema, confirmationOf } from '../identity/proof/cnf.ts';
import { ApiError } from '../platform/errors.ts';
import { changeKey, issueKey, revokeKey } from './issue.ts';
import {
  AddressesSchema,
  canonicalRanges,
  ExpirySchema,
  KeygateKeySchema,
  keygateKey,
  ModelsSchema,
  ProjectApiKeySchema,
  projectApiKey,
  ScopesSchema,
} from './objects.ts';
import { getKey, listKeys } from './store.ts';

const KeyPath = z.object({ project_id: ProjectIdSchema, api_key_id: IdSchema });
const ProjectPath = z.object({ project_id: ProjectIdSchema });

/** Routes under /v1/organization/projects/{project_id}/api_keys. */
export function projectKeysApi({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const path = '/v1/organization/projects/{project_id}/api_keys';
  const tags = ['Project API keys'];

  const list = createRoute({
    method: 'get',
    path,
    tags,
    middleware: [admin] as const,
    request: {
      params: ProjectPath,
      query: PageQuery.extend({ owner_project_access: z.enum(['active', 'inactive', 'any']).default('any') }),
    },
    responses: replies(listSchema(ProjectApiKeySchema), "The project's keys that were not revoked."),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    const { owner_project_access: owner, ...page } = c.req.valid('query');
    await getProject(store.db, organizationId, projectId);
    const { rows, hasMore } = await listKeys(
      store.db,
      { organizationId, projectId },
      { revoked: 'without', owner, only: keysOf(c, projectId, 'read') },
      page,
    );
    return c.json(listOf(rows.map(projectApiKey), hasMore), 200);
  });

  const get = createRoute({
    method: 'get',
    path: `${path}/{api_key_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: KeyPath },
    responses: replies(ProjectApiKeySchema, 'The key, without its secret.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId, api_key_id: id } = c.req.valid('param');
    const key = await getKey(store.db, { organizationId, projectId }, id);
    assertOwn(keysOf(c, projectId, 'read'), key);
    return c.json(projectApiKey(key), 200);
  });

  const update = createRoute({
    method: 'post',
    path: `${path}/{api_key_id}`,
    tags,
    middleware: [admin] as const,
    request: {
      params: KeyPath,
      body: jsonBody(
        z.strictObject({ scopes: ScopesSchema.optional(), expires_in_seconds: ExpirySchema.optional() }),
      ),
    },
    responses: replies(ProjectApiKeySchema, 'The key as it is now, without its secret.'),
  });
  app.openapi(update, async (c) => {
    const { project_id: projectId, api_key_id: id } = c.req.valid('param');
    const { scopes, expires_in_seconds: expiresInSeconds } = c.req.valid('json');
    if (scopes === undefined && expiresInSeconds === undefined) {
      throw new ApiError(400, "Name what to change: 'scopes', 'expires_in_seconds' or both.");
    }
    const by = attribution(c, clock);
    const key = await store.write(async (tx) => {
      await getActiveProject(tx, by.organizationId, projectId);
      const found = await getKey(tx, { organizationId: by.organizationId, projectId }, id);
      assertOwn(keysOf(c, projectId, 'write'), found);
      if (found.expires_at !== null && found.expires_at <= by.at) {
        throw new ApiError(400, 'An expired key cannot be updated. Issue a new one.');
      }
      const changes = { ...(scopes && { scopes }), ...(expiresInSeconds && { expiresInSeconds }) };
      return { ...found, ...(await changeKey(store, tx, by, found, changes)) };
    });
    return c.json(projectApiKey(key), 200);
  });

  const remove = createRoute({
    method: 'delete',
    path: `${path}/{api_key_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: KeyPath },
    responses: replies(
      z.object({
        object: z.literal('organization.project.api_key.deleted'),
        id: IdSchema,
        deleted: z.literal(true),
      }),
      'The key is revoked: on this node already, on others within a second.',
    ),
  });
  app.openapi(remove, async (c) => {
    const { project_id: projectId, api_key_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    await store.write(async (tx) => {
      const key = await getKey(tx, { organizationId: by.organizationId, projectId }, id);
      assertOwn(keysOf(c, projectId, 'write'), key);
      await revokeKey(store, tx, by, key);
    });
    return c.json(
      { object: 'organization.project.api_key.deleted' as const, id, deleted: true as const },
      200,
    );
  });

  return app;
}

const IssueBody = z.strictObject({
  name: NameSchema,
  type: z.enum(['project', 'test']).default('project').openapi({
    description: 'A test key reaches the sandbox only, whatever model it names, and costs nothing.',
  }),
  owner_user_id: IdSchema.optional().openapi({ description: 'Whoever asks if left out.' }),
  scopes: ScopesSchema.default([]),
  models: ModelsSchema.nullable().default(null),
  addresses: AddressesSchema.nullable().default(null),
  expires_in_seconds: ExpirySchema.nullable().default(null),
  cnf: CnfSchema.nullable().default(null),
});

/** keygate's own routes under /v1/keygate/projects/{project_id}/api_keys. */
export function keygateKeysApi(
  { store, registry, clock }: ControlPlaneDeps,
  { admin }: Authentication,
): ControlApp {
  const app = newApp();
  const path = '/v1/keygate/projects/{project_id}/api_keys';
  const tags = ['keygate'];

  const issue = createRoute({
    method: 'post',
    path,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath, body: jsonBody(IssueBody) },
    responses: replies(
      KeygateKeySchema.extend({
        value: z.string().openapi({ description: 'The key itself, shown this once.' }),
      }),
      'The new key.',
    ),
  });
  app.openapi(issue, async (c) => {
    const { project_id: projectId } = c.req.valid('param');
    const body = c.req.valid('json');
    const addresses = body.addresses && canonicalRanges(body.addresses);
    const by = attribution(c, clock);
    const { organizationId } = by;
    const issued = await store.write(async (tx) => {
      await getActiveProject(tx, organizationId, projectId);
      const owner = await getUser(tx, organizationId, body.owner_user_id ?? c.get('principal').ownerId);
      assertForSelf(keysOf(c, projectId, 'write'), owner.id);
      if (registry.access.within('user', owner.id, projectId) === null) {
        const message = 'This user has no access to the project: add it to the project first.';
        throw invalidParameter('owner_user_id', message);
      }
      const { key, value } = await issueKey(store, tx, by, {
        type: body.type,
        name: body.name,
        projectId,
        owner: { type: 'user', id: owner.id },
        scopes: [...new Set(body.scopes)],
        models: body.models && [...new Set(body.models)],
        addresses,
        expiresInSeconds: body.expires_in_seconds,
        confirmation: confirmationOf(body.cnf),
      });
      return { value, key: await getKey(tx, { organizationId, projectId }, key.id) };
    });
    return c.json({ ...keygateKey(issued.key, by.at), value: issued.value }, 200);
  });

  const list = createRoute({
    method: 'get',
    path,
    tags,
    middleware: [admin] as const,
    request: {
      params: ProjectPath,
      query: PageQuery.extend({
        status: z
          .enum(['active', 'all'])
          .default('active')
          .openapi({ description: '`all` adds revoked keys.' }),
      }),
    },
    responses: replies(listSchema(KeygateKeySchema), "The project's keys."),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    const { status, ...page } = c.req.valid('query');
    await getProject(store.db, organizationId, projectId);
    const revoked = status === 'all' ? 'with' : 'without';
    const { rows, hasMore } = await listKeys(
      store.db,
      { organizationId, projectId },
      { revoked, owner: 'any', only: keysOf(c, projectId, 'read') },
      page,
    );
    const now = clock.now();
    return c.json(
      listOf(
        rows.map((row) => keygateKey(row, now)),
        hasMore,
      ),
      200,
    );
  });

  const get = createRoute({
    method: 'get',
    path: `${path}/{api_key_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: KeyPath },
    responses: replies(KeygateKeySchema, 'The key, also if it was revoked.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId, api_key_id: id } = c.req.valid('param');
    const key = await getKey(store.db, { organizationId, projectId }, id, 'with');
    assertOwn(keysOf(c, projectId, 'read'), key);
    return c.json(keygateKey(key, clock.now()), 200);
  });

  return app;
}
