// GET /v1/keygate/whoami: what a key is, for whoever holds it. It answers from memory, so it works while the store
// is down, and it says nothing that its holder could not find out by using the key.

import { createRoute, z } from '@hono/zod-openapi';
import { ENVIRONMENTS } from '../keys/model.ts';
import {
  type Authentication,
  type ControlApp,
  IdSchema,
  newApp,
  replies,
  secondsOrNull,
  TimestampSchema,
} from './http.ts';

const WhoamiSchema = z
  .object({
    object: z.literal('keygate.whoami'),
    organization_id: IdSchema,
    project_id: IdSchema.nullable(),
    environment: z.enum(ENVIRONMENTS).nullable(),
    api_key_id: IdSchema,
    type: z.enum(['project', 'service_account', 'admin', 'test', 'session']),
    owner: z.object({ type: z.enum(['user', 'service_account']), id: IdSchema }),
    scopes: z.array(z.string()),
    models: z.array(z.string()).nullable(),
    expires_at: TimestampSchema.nullable(),
  })
  .openapi('Whoami');

export function whoamiApi({ anyKey }: Authentication): ControlApp {
  const app = newApp();
  const whoami = createRoute({
    method: 'get',
    path: '/v1/keygate/whoami',
    tags: ['keygate'],
    middleware: [anyKey] as const,
    responses: replies(WhoamiSchema, 'What the presented key stands for.'),
  });
  app.openapi(whoami, (c) => {
    const principal = c.get('principal');
    return c.json(
      {
        object: 'keygate.whoami' as const,
        organization_id: principal.organizationId,
        project_id: principal.project?.id ?? null,
        environment: principal.project?.environment ?? null,
        api_key_id: principal.keyId,
        type: principal.type,
        owner: { type: principal.ownerType, id: principal.ownerId },
        scopes: [...principal.scopes],
        models: principal.models && [...principal.models],
        expires_at: secondsOrNull(principal.expiresAt || null),
      },
      200,
    );
  });
  return app;
}
