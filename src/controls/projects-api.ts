// keygate's own routes for projects: what the platform says of a project, and what it is for.

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
  replies,
  seconds,
  secondsOrNull,
  TimestampSchema,
} from '../access/http.ts';
import type { Project } from '../access/model.ts';
import { listOf, listSchema, PageQuery } from '../access/page.ts';
import { createProject, getProject, listProjects } from '../access/store.ts';
import { visibleProjects } from '../access/visible.ts';
import { ENVIRONMENTS } from '../keys/model.ts';
import { ApiError } from '../platform/errors.ts';
import { ProjectPath } from './permissions-api.ts';
import { updateProject } from './projects.ts';

const EnvironmentSchema = z.enum(ENVIRONMENTS).openapi({
  description: 'What the project is for: providers and models may be kept for some environments.',
});

const ProjectSchema = z
  .object({
    object: z.literal('keygate.project'),
    id: IdSchema,
    name: z.string(),
    environment: EnvironmentSchema,
    status: z.enum(['active', 'archived']),
    is_default: z.boolean(),
    created_at: TimestampSchema,
    archived_at: TimestampSchema.nullable(),
  })
  .openapi('KeygateProject');

function projectObject(project: Project): z.infer<typeof ProjectSchema> {
  const { id, name, environment, status } = project;
  return {
    object: 'keygate.project',
    id,
    name,
    environment,
    status,
    is_default: project.is_default === 1,
    created_at: seconds(project.created_at),
    archived_at: secondsOrNull(project.archived_at),
  };
}

export function keygateProjectsApi(
  { store, registry, clock }: ControlPlaneDeps,
  { admin }: Authentication,
): ControlApp {
  const app = newApp();
  const tags = ['keygate projects'];
  const path = '/v1/keygate/projects';

  const list = createRoute({
    method: 'get',
    path,
    tags,
    middleware: [admin] as const,
    request: { query: PageQuery.extend({ include_archived: z.enum(['true', 'false']).default('false') }) },
    responses: replies(listSchema(ProjectSchema), "The organization's projects."),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { include_archived, ...page } = c.req.valid('query');
    const includeArchived = include_archived === 'true';
    const only = visibleProjects(c, registry);
    const { rows, hasMore } = await listProjects(store.db, organizationId, {
      ...page,
      includeArchived,
      only,
    });
    return c.json(listOf(rows.map(projectObject), hasMore), 200);
  });

  const create = createRoute({
    method: 'post',
    path,
    tags,
    middleware: [admin] as const,
    request: {
      body: jsonBody(
        z.strictObject({ name: NameSchema, environment: EnvironmentSchema.default('production') }),
      ),
    },
    responses: replies(ProjectSchema, 'The new project.'),
  });
  app.openapi(create, async (c) => {
    const order = c.req.valid('json');
    const by = attribution(c, clock);
    return c.json(projectObject(await store.write((tx) => createProject(store, tx, by, order))), 200);
  });

  const get = createRoute({
    method: 'get',
    path: `${path}/{project_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath },
    responses: replies(ProjectSchema, 'The project.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    return c.json(
      projectObject(await getProject(store.db, organizationId, c.req.valid('param').project_id)),
      200,
    );
  });

  const update = createRoute({
    method: 'post',
    path: `${path}/{project_id}`,
    tags,
    middleware: [admin] as const,
    request: {
      params: ProjectPath,
      body: jsonBody(
        z.strictObject({ name: NameSchema.optional(), environment: EnvironmentSchema.optional() }),
      ),
    },
    responses: replies(ProjectSchema, 'The project as it is now.'),
  });
  app.openapi(update, async (c) => {
    const change = c.req.valid('json');
    if (change.name === undefined && change.environment === undefined) {
      throw new ApiError(400, 'Supply at least one of name and environment.', {
        code: 'missing_required_parameter',
        param: 'environment',
      });
    }
    const { project_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    return c.json(projectObject(await store.write((tx) => updateProject(store, tx, by, id, change))), 200);
  });

  return app;
}
