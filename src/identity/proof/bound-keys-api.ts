// keygate's own route for bound keys of service accounts: what the published route makes, with `cnf`. A project's own
// keys, and admin keys, take it where keygate's other fields are (src/keys/api.ts, src/keys/admin-api.ts).

import { createRoute, z } from '@hono/zod-openapi';
import { assertMayGrant, permissionsOfAccount } from '../../access/grants.ts';
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
import { addServiceAccountKey, getServiceAccount } from '../../access/service-accounts.ts';
import {
  ExpirySchema,
  ScopesSchema,
  ServiceAccountKeySchema,
  serviceAccountKey,
} from '../../keys/objects.ts';
import { CnfSchema, confirmationOf } from './cnf.ts';

const BoundTo = { cnf: CnfSchema };

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
      const issued = await store.write(async (tx) => {
        const { role } = await getServiceAccount(tx, path);
        assertMayGrant(c.get('rights'), projectId, permissionsOfAccount(role));
        return await addServiceAccountKey(store, tx, by, path, order);
      });
      return c.json({ ...serviceAccountKey(issued), cnf }, 200);
    },
  );

  return app;
}
