// The HTTP surface of data retention: of the organization, and of a project, which by default has its organization's.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  jsonBody,
  newApp,
  replies,
} from '../access/http.ts';
import { getProject } from '../access/store.ts';
import { changeOrganizationSetting, changeProjectSetting } from './change.ts';
import { ProjectPath } from './permissions-api.ts';
import {
  OrganizationRetention,
  type OrganizationSettings,
  ProjectRetention,
  type ProjectSettings,
} from './settings.ts';
import { getOrganizationSettings, getProjectSettings } from './store.ts';

const OrganizationSchema = z
  .object({ object: z.literal('organization.data_retention'), type: OrganizationRetention })
  .openapi('OrganizationDataRetention');
const ProjectSchema = z
  .object({ object: z.literal('project.data_retention'), type: ProjectRetention })
  .openapi('ProjectDataRetention');

/**
 * The platform has no word for an organization for which nothing is set; `modified_abuse_monitoring` is the mode whose
 * promise holds then too as long as the administrator does not log prompts (docs/data-retention.md).
 */
function organizationObject(type: OrganizationSettings['data_retention']) {
  return {
    object: 'organization.data_retention' as const,
    type: type ?? ('modified_abuse_monitoring' as const),
  };
}

function projectObject(type: ProjectSettings['data_retention']) {
  return { object: 'project.data_retention' as const, type: type ?? ('organization_default' as const) };
}

export function dataRetentionApi(deps: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const { store, clock } = deps;
  const tags = ['Data retention'];
  const ofOrganization = '/v1/organization/data_retention';
  const ofProject = '/v1/organization/projects/{project_id}/data_retention';

  const get = createRoute({
    method: 'get',
    path: ofOrganization,
    tags,
    middleware: [admin] as const,
    responses: replies(OrganizationSchema, "The organization's data retention."),
  });
  app.openapi(get, async (c) => {
    const { data_retention } = await getOrganizationSettings(store.db, c.get('principal').organizationId);
    return c.json(organizationObject(data_retention), 200);
  });

  const update = createRoute({
    method: 'post',
    path: ofOrganization,
    tags,
    middleware: [admin] as const,
    request: { body: jsonBody(z.strictObject({ retention_type: OrganizationRetention })) },
    responses: replies(OrganizationSchema, "The organization's data retention from now on."),
  });
  app.openapi(update, async (c) => {
    const { retention_type: type } = c.req.valid('json');
    const by = attribution(c, clock);
    return c.json(
      organizationObject(await changeOrganizationSetting(deps, by, 'data_retention', () => type)),
      200,
    );
  });

  const getProjects = createRoute({
    method: 'get',
    path: ofProject,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath },
    responses: replies(ProjectSchema, "The project's data retention."),
  });
  app.openapi(getProjects, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    await getProject(store.db, organizationId, projectId);
    const { data_retention } = await getProjectSettings(store.db, organizationId, projectId);
    return c.json(projectObject(data_retention), 200);
  });

  const updateProjects = createRoute({
    method: 'post',
    path: ofProject,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath, body: jsonBody(z.strictObject({ retention_type: ProjectRetention })) },
    responses: replies(ProjectSchema, "The project's data retention from now on."),
  });
  app.openapi(updateProjects, async (c) => {
    const { retention_type: type } = c.req.valid('json');
    const { project_id: projectId } = c.req.valid('param');
    const by = attribution(c, clock);
    return c.json(
      projectObject(await changeProjectSetting(deps, by, projectId, 'data_retention', () => type)),
      200,
    );
  });

  return app;
}
