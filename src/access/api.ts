// The HTTP surface of projects: the platform's routes and shapes, so that the official clients'
// `admin.organization` manages this server.

import { createRoute, z } from '@hono/zod-openapi';
import type { Attribution } from '../audit/model.ts';
import { newId, type ProjectId } from '../platform/ids.ts';
import type { Tx } from '../store/store.ts';
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
import { assertActive } from './model.ts';
import { ProjectSchema, projectObject } from './objects.ts';
import { listOf, listSchema, PageQuery } from './page.ts';
import {
  archiveProject,
  createProject,
  getActiveProject,
  getProject,
  listProjects,
  noteExternalKey,
  renameProject,
} from './store.ts';
import { invalidParameter } from './validation.ts';
import { visibleProjects } from './visible.ts';

/** Of the platform's own service and not of a server of your own: null is taken, a value is refused by name. */
const notHere = z.null({ error: 'is not supported by this server' }).optional();
const elsewhere = {
  external_key_id: IdSchema.nullable().optional(),
  geography: notHere,
  residency: notHere,
};
/** A server of your own keeps everything where it runs: no region of the platform's is promised. */
const Residency = z.literal('GLOBAL', { error: 'is not supported by this server' }).nullable().optional();
const ProjectPath = z.object({ project_id: ProjectIdSchema });
const PROJECTS = '/v1/organization/projects';

export function projectsApi(deps: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const { store, registry, clock } = deps;
  const app = newApp();
  const tags = ['Projects'];

  const list = createRoute({
    method: 'get',
    path: PROJECTS,
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
    path: PROJECTS,
    tags,
    middleware: [admin] as const,
    request: { body: jsonBody(z.strictObject({ name: NameSchema, ...elsewhere, residency: Residency })) },
    responses: replies(ProjectSchema, 'The new project.'),
  });
  app.openapi(create, async (c) => {
    const { name, external_key_id: externalKeyId } = c.req.valid('json');
    const by = attribution(c, clock);
    const id = newId('proj_');
    const setKey = await keyChange(deps, by, id, externalKeyId ?? undefined);
    const project = await store.write(async (tx) => {
      const made = await createProject(store, tx, by, { name, id });
      return setKey === null ? made : { ...made, external_key_id: await setKey(tx) };
    });
    if (setKey !== null) await deps.externalKeys?.ready(id);
    return c.json(projectObject(project), 200);
  });

  const get = createRoute({
    method: 'get',
    path: `${PROJECTS}/{project_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath },
    responses: replies(ProjectSchema, 'The project.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const project = await getProject(store.db, organizationId, c.req.valid('param').project_id);
    return c.json(projectObject(project), 200);
  });

  const update = createRoute({
    method: 'post',
    path: `${PROJECTS}/{project_id}`,
    tags,
    middleware: [admin] as const,
    request: {
      params: ProjectPath,
      body: jsonBody(z.strictObject({ name: NameSchema.nullable().optional(), ...elsewhere })),
    },
    responses: replies(ProjectSchema, 'The project as it is now.'),
  });
  app.openapi(update, async (c) => {
    const { project_id: id } = c.req.valid('param');
    const { name, external_key_id: externalKeyId } = c.req.valid('json');
    const by = attribution(c, clock);
    const now = await getProject(store.db, by.organizationId, id);
    if (externalKeyId !== undefined) assertActive(now);
    const setKey =
      externalKeyId === now.external_key_id ? null : await keyChange(deps, by, id, externalKeyId);
    if (!name && setKey === null) return c.json(projectObject(now), 200);
    const project = await store.write(async (tx) => {
      const named = name
        ? await renameProject(store, tx, by, id, name)
        : await getActiveProject(tx, by.organizationId, id);
      return setKey === null ? named : { ...named, external_key_id: await setKey(tx) };
    });
    if (setKey !== null) await deps.externalKeys?.ready(id);
    return c.json(projectObject(project), 200);
  });

  const archive = createRoute({
    method: 'post',
    path: `${PROJECTS}/{project_id}/archive`,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath },
    responses: replies(ProjectSchema, 'The project, archived: its keys no longer work.'),
  });
  app.openapi(archive, async (c) => {
    const { project_id: id } = c.req.valid('param');
    const by = attribution(c, clock);
    return c.json(projectObject(await store.write((tx) => archiveProject(store, tx, by, id))), 200);
  });

  return app;
}

/** How a project's external key is changed within the change of the project; null where it is not asked for. */
async function keyChange(
  { store, externalKeys }: ControlPlaneDeps,
  by: Attribution,
  id: ProjectId,
  externalKeyId: string | null | undefined,
): Promise<((tx: Tx) => Promise<string | null>) | null> {
  if (externalKeyId === undefined) return null;
  if (externalKeys == null) {
    throw invalidParameter('external_key_id', "Invalid 'external_key_id': is not supported by this server.");
  }
  const set =
    externalKeyId === null ? null : await externalKeys.prepare(by.organizationId, id, externalKeyId);
  return async (tx) => {
    if (set === null) await externalKeys.release(tx, by, id);
    else await set(tx, by);
    await noteExternalKey(store, tx, by, id, externalKeyId);
    return externalKeyId;
  };
}
