// The HTTP surface of a project's service accounts and their keys (docs/api-reference/project-service-accounts).

import { createRoute, z } from '@hono/zod-openapi';
import { ExpirySchema, ScopesSchema, ServiceAccountKeySchema, serviceAccountKey } from '../keys/objects.ts';
import { assertMayGrant, permissionsOfAccount } from './grants.ts';
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
import { ServiceAccountSchema, serviceAccountObject } from './objects.ts';
import { listOf, listSchema, PageQuery } from './page.ts';
import { PREDEFINED_ROLES } from './permission-names.ts';
import {
  addServiceAccountKey,
  changeServiceAccount,
  createServiceAccount,
  deleteServiceAccount,
  getServiceAccount,
  listServiceAccounts,
} from './service-accounts.ts';
import { getProject } from './store.ts';

const PATH = '/v1/organization/projects/{project_id}/service_accounts';
const ProjectPath = z.object({ project_id: ProjectIdSchema });
const AccountPath = z.object({ project_id: ProjectIdSchema, service_account_id: IdSchema });
const tags = ['Project service accounts'];

export function serviceAccountsApi(
  { store, clock }: ControlPlaneDeps,
  { admin }: Authentication,
): ControlApp {
  const app = newApp();

  const list = createRoute({
    method: 'get',
    path: PATH,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath, query: PageQuery },
    responses: replies(listSchema(ServiceAccountSchema), "The project's service accounts."),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    await getProject(store.db, organizationId, projectId);
    const { rows, hasMore } = await listServiceAccounts(
      store.db,
      organizationId,
      projectId,
      c.req.valid('query'),
    );
    return c.json(listOf(rows.map(serviceAccountObject), hasMore), 200);
  });

  const create = createRoute({
    method: 'post',
    path: PATH,
    tags,
    middleware: [admin] as const,
    request: {
      params: ProjectPath,
      body: jsonBody(
        z.strictObject({
          name: NameSchema,
          create_service_account_only: z.boolean().nullable().optional(),
          expires_in_seconds: ExpirySchema.nullable().optional(),
        }),
      ),
    },
    responses: replies(
      ServiceAccountSchema.extend({ api_key: ServiceAccountKeySchema.nullable() }),
      'The new service account, with its first key.',
    ),
  });
  app.openapi(create, async (c) => {
    const { project_id: projectId } = c.req.valid('param');
    const { name, create_service_account_only, expires_in_seconds = null } = c.req.valid('json');
    const by = attribution(c, clock);
    if (create_service_account_only !== true) {
      assertMayGrant(c.get('rights'), projectId, PREDEFINED_ROLES.projectMember.permissions);
    }
    const { account, issued } = await store.write((tx) =>
      createServiceAccount(store, tx, by, {
        projectId,
        name,
        accountOnly: create_service_account_only === true,
        expiresInSeconds: expires_in_seconds,
      }),
    );
    return c.json({ ...serviceAccountObject(account), api_key: issued && serviceAccountKey(issued) }, 200);
  });

  const get = createRoute({
    method: 'get',
    path: `${PATH}/{service_account_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: AccountPath },
    responses: replies(ServiceAccountSchema, 'The service account.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId, service_account_id: id } = c.req.valid('param');
    return c.json(
      serviceAccountObject(await getServiceAccount(store.db, { organizationId, projectId, id })),
      200,
    );
  });

  const update = createRoute({
    method: 'post',
    path: `${PATH}/{service_account_id}`,
    tags,
    middleware: [admin] as const,
    request: {
      params: AccountPath,
      body: jsonBody(
        z.strictObject({ name: NameSchema.optional(), role: z.enum(['owner', 'member']).optional() }),
      ),
    },
    responses: replies(ServiceAccountSchema, 'The service account as it is now.'),
  });
  app.openapi(update, async (c) => {
    const { project_id: projectId, service_account_id: id } = c.req.valid('param');
    const { name, role } = c.req.valid('json');
    const by = attribution(c, clock);
    const path = { organizationId: by.organizationId, projectId, id };
    const changes = { ...(name && { name }), ...(role && { role }) };
    if (role !== undefined) assertMayGrant(c.get('rights'), projectId, permissionsOfAccount(role));
    const account = await store.write((tx) => changeServiceAccount(store, tx, by, path, changes));
    return c.json(serviceAccountObject(account), 200);
  });

  const remove = createRoute({
    method: 'delete',
    path: `${PATH}/{service_account_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: AccountPath },
    responses: replies(
      z.object({
        object: z.literal('organization.project.service_account.deleted'),
        id: IdSchema,
        deleted: z.literal(true),
      }),
      'The service account is deleted and its keys are revoked.',
    ),
  });
  app.openapi(remove, async (c) => {
    const { project_id: projectId, service_account_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    const path = { organizationId: by.organizationId, projectId, id };
    await store.write((tx) => deleteServiceAccount(store, tx, by, path));
    return c.json(
      { object: 'organization.project.service_account.deleted' as const, id, deleted: true as const },
      200,
    );
  });

  const addKey = createRoute({
    method: 'post',
    path: `${PATH}/{service_account_id}/api_keys`,
    tags,
    middleware: [admin] as const,
    request: {
      params: AccountPath,
      body: jsonBody(
        z.strictObject({
          name: NameSchema.optional(),
          scopes: ScopesSchema.default([]),
          expires_in_seconds: ExpirySchema.nullable().optional(),
        }),
      ),
    },
    responses: replies(ServiceAccountKeySchema, 'The new key.'),
  });
  app.openapi(addKey, async (c) => {
    const { project_id: projectId, service_account_id: id } = c.req.valid('param');
    const { name, scopes, expires_in_seconds: expiresInSeconds = null } = c.req.valid('json');
    const by = attribution(c, clock);
    const path = { organizationId: by.organizationId, projectId, id };
    const order = { name, scopes: [...new Set(scopes)], expiresInSeconds };
    const issued = await store.write(async (tx) => {
      const { role } = await getServiceAccount(tx, path);
      assertMayGrant(c.get('rights'), projectId, permissionsOfAccount(role));
      return await addServiceAccountKey(store, tx, by, path, order);
    });
    return c.json(serviceAccountKey(issued), 200);
  });

  return app;
}
