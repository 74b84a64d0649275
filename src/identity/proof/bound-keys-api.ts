// keygate's own routes for bound keys of service accounts and of the organization: what the published routes make, with
// `cnf`. A project's own keys take it where keygate's other fields are (src/keys/api.ts).

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
} from '../../access/http.ts';
import { addServiceAccountKey } from '../../access/service-accounts.ts';
import { firstOwner } from '../../access/store.ts';
import { issueKey } from '../../keys/issue.ts';
import {
  AdminApiKeySchema,
  adminApiKey,
  ExpirySchema,
  ScopesSchema,
  ServiceAccountKeySchema,
  serviceAccountKey,
} from '../../keys/objects.ts';
import { getKey } from '../../keys/store.ts';
import { ApiError } from '../../platform/errors.ts';
import { CnfSchema, confirmationOf } from './cnf.ts';

const BoundTo = { cnf: CnfSchema };
const Value = { value: z.string().openapi({ description: 'The key itself, shown this once.' }) };

export function boundKeysApi({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const common = { tags: ['keygate'], middleware: [admin] };

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: '/v1/keygate/projects/{project_id}/service_accounts/{service_account_id}/api_keys',
      request: {
        params: z.object({ project_id: ProjectIdSchema, service_account_id: IdSchema }),
        body: jsonBody(
          z.strictObject({
            name: NameSchema.optional(),
            scopes: ScopesSchema.default([]),
            expires_in_seconds: ExpirySchema.nullable().default(null),
            cnf: CnfSchema,
          }),
        ),
      },
      responses: replies(ServiceAccountKeySchema.extend(BoundTo), 'The new key, bound.'),
    }),
    async (c) => {
      const { project_id: projectId, service_account_id: id } = c.req.valid('param');
      const { name, scopes, expires_in_seconds: expiresInSeconds, cnf } = c.req.valid('json');
      const by = attribution(c, clock);
      const path = { organizationId: by.organizationId, projectId, id };
      const order = {
        name,
        scopes: [...new Set(scopes)],
        expiresInSeconds,
        confirmation: confirmationOf(cnf),
      };
      const issued = await store.write((tx) => addServiceAccountKey(store, tx, by, path, order));
      return c.json({ ...serviceAccountKey(issued), cnf }, 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: '/v1/keygate/admin_api_keys',
      request: {
        body: jsonBody(
          z.strictObject({
            name: NameSchema,
            expires_in_seconds: ExpirySchema.nullable().default(null),
            cnf: CnfSchema,
          }),
        ),
      },
      responses: replies(AdminApiKeySchema.extend({ ...Value, ...BoundTo }), 'The new admin key, bound.'),
    }),
    async (c) => {
      const { name, expires_in_seconds: expiresInSeconds, cnf } = c.req.valid('json');
      const by = attribution(c, clock);
      const issued = await store.write(async (tx) => {
        const owner = await firstOwner(tx, by.organizationId);
        if (owner === undefined) {
          throw new ApiError(400, 'The organization has no owner who could own an admin key.');
        }
        const { key, value } = await issueKey(store, tx, by, {
          type: 'admin',
          name,
          projectId: null,
          owner: { type: 'user', id: owner.id },
          expiresInSeconds,
          confirmation: confirmationOf(cnf),
        });
        const scope = { organizationId: by.organizationId, projectId: null };
        return { value, key: await getKey(tx, scope, key.id) };
      });
      return c.json({ ...adminApiKey(issued.key), value: issued.value, cnf }, 200);
    },
  );

  return app;
}
