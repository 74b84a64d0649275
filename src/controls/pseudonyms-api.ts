// What stands for an end user where names of end users are not kept: so that whoever administers can find the limits
// and the spend of somebody whose name they know.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  type ControlApp,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  newApp,
  replies,
} from '../access/http.ts';
import { getProject } from '../access/store.ts';
import { ProjectPath } from './permissions-api.ts';
import type { Pseudonyms } from './pseudonyms.ts';

const PseudonymSchema = z
  .object({
    object: z.literal('keygate.end_user_pseudonym'),
    project_id: IdSchema,
    pseudonym: z.string(),
  })
  .openapi('EndUserPseudonym');

export function pseudonymsApi(
  { store, pseudonyms }: ControlPlaneDeps & { readonly pseudonyms: Pseudonyms },
  { admin }: Authentication,
): ControlApp {
  const app = newApp();
  const route = createRoute({
    method: 'post',
    path: '/v1/keygate/projects/{project_id}/end_users/pseudonym',
    tags: ['Data retention'],
    middleware: [admin] as const,
    request: {
      params: ProjectPath,
      // In the body, and not in the path: paths stand in the logs of proxies.
      body: jsonBody(z.strictObject({ end_user: z.string().min(1).max(128) })),
    },
    responses: replies(PseudonymSchema, 'What stands for this end user. Nothing is kept of the name.'),
  });
  app.openapi(route, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    await getProject(store.db, organizationId, projectId);
    const pseudonym = pseudonyms.of(projectId, c.req.valid('json').end_user);
    return c.json({ object: 'keygate.end_user_pseudonym' as const, project_id: projectId, pseudonym }, 200);
  });
  return app;
}
