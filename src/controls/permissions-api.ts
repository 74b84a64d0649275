// The HTTP surface of what a project may ask for: which models, which hosted tools, which service tiers. Paths and
// objects are the platform's (docs/api-reference/project-model-permissions and its neighbours).

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  jsonBody,
  newApp,
  ProjectIdSchema,
  replies,
} from '../access/http.ts';
import { getProject } from '../access/store.ts';
import { invalidParameter } from '../access/validation.ts';
import { ApiError } from '../platform/errors.ts';
import { changeProjectSetting } from './change.ts';
import { HOSTED_TOOLS, type HostedTool, OPTIONAL_TIERS, type ProjectSettings } from './settings.ts';
import { getProjectSettings } from './store.ts';

const PROJECT = '/v1/organization/projects/{project_id}';
const MODELS_MAX = 1000;

export const ProjectPath = z.object({ project_id: ProjectIdSchema });

const ModelIds = z
  .string()
  .regex(/^[\x21-\x7e]{1,256}$/, 'must be a model: 1 to 256 visible characters')
  .array()
  .max(MODELS_MAX, `must name at most ${MODELS_MAX} models`)
  .refine((ids) => new Set(ids).size === ids.length, 'must not name a model twice');

const ModelPermissionsSchema = z
  .object({
    object: z.literal('project.model_permissions'),
    mode: z.enum(['allow_list', 'deny_list']),
    model_ids: z.array(z.string()),
  })
  .openapi('ProjectModelPermissions');

/** A project for which nothing is set denies nothing. */
function modelPermissionsObject(set: ProjectSettings['model_permissions']) {
  const { mode = 'deny_list' as const, model_ids = [] } = set ?? {};
  return { object: 'project.model_permissions' as const, mode, model_ids };
}

export function modelPermissionsApi(deps: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const path = `${PROJECT}/model_permissions`;
  const tags = ['Project model permissions'];
  const { store, clock } = deps;

  const get = createRoute({
    method: 'get',
    path,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath },
    responses: replies(ModelPermissionsSchema, 'Which models the project may call.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    await getProject(store.db, organizationId, projectId);
    const { model_permissions } = await getProjectSettings(store.db, organizationId, projectId);
    return c.json(modelPermissionsObject(model_permissions), 200);
  });

  const update = createRoute({
    method: 'post',
    path,
    tags,
    middleware: [admin] as const,
    request: {
      params: ProjectPath,
      body: jsonBody(z.strictObject({ mode: z.enum(['allow_list', 'deny_list']), model_ids: ModelIds })),
    },
    responses: replies(ModelPermissionsSchema, 'Which models the project may call from now on.'),
  });
  app.openapi(update, async (c) => {
    const asked = c.req.valid('json');
    const { project_id: projectId } = c.req.valid('param');
    const by = attribution(c, clock);
    const set = await changeProjectSetting(deps, by, projectId, 'model_permissions', () => asked);
    return c.json(modelPermissionsObject(set), 200);
  });

  const remove = createRoute({
    method: 'delete',
    path,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath },
    responses: replies(
      z
        .object({ object: z.literal('project.model_permissions.deleted'), deleted: z.boolean() })
        .openapi('ProjectModelPermissionsDeleted'),
      'The project may call every model again.',
    ),
  });
  app.openapi(remove, async (c) => {
    const { project_id: projectId } = c.req.valid('param');
    await changeProjectSetting(deps, attribution(c, clock), projectId, 'model_permissions', () => null);
    return c.json({ object: 'project.model_permissions.deleted' as const, deleted: true }, 200);
  });

  return app;
}

const Enabled = z.object({ enabled: z.boolean() });
const ToolsSchema = z
  .object({
    code_interpreter: Enabled,
    file_search: Enabled,
    image_generation: Enabled,
    mcp: Enabled,
    web_search: Enabled,
  })
  .openapi('ProjectHostedToolPermissions');
const EnabledUpdate = z.strictObject({ enabled: z.boolean() }).nullable().optional();

function toolsObject(forbidden: readonly HostedTool[] = []): z.infer<typeof ToolsSchema> {
  const of = (tool: HostedTool) => ({ enabled: !forbidden.includes(tool) });
  return {
    code_interpreter: of('code_interpreter'),
    file_search: of('file_search'),
    image_generation: of('image_generation'),
    mcp: of('mcp'),
    web_search: of('web_search'),
  };
}

export function hostedToolsApi(deps: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const path = `${PROJECT}/hosted_tool_permissions`;
  const tags = ['Project hosted tool permissions'];
  const { store, clock } = deps;

  const get = createRoute({
    method: 'get',
    path,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath },
    responses: replies(ToolsSchema, 'Which hosted tools the project may use.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    await getProject(store.db, organizationId, projectId);
    const { forbidden_tools } = await getProjectSettings(store.db, organizationId, projectId);
    return c.json(toolsObject(forbidden_tools), 200);
  });

  const update = createRoute({
    method: 'post',
    path,
    tags,
    middleware: [admin] as const,
    request: {
      params: ProjectPath,
      body: jsonBody(
        z.strictObject({
          code_interpreter: EnabledUpdate,
          file_search: EnabledUpdate,
          image_generation: EnabledUpdate,
          mcp: EnabledUpdate,
          web_search: EnabledUpdate,
        }),
      ),
    },
    responses: replies(ToolsSchema, 'Which hosted tools the project may use from now on.'),
  });
  app.openapi(update, async (c) => {
    const asked = c.req.valid('json');
    const { project_id: projectId } = c.req.valid('param');
    const set = await changeProjectSetting(
      deps,
      attribution(c, clock),
      projectId,
      'forbidden_tools',
      (before = []) => {
        const forbidden = HOSTED_TOOLS.filter((tool) => {
          const enabled = asked[tool]?.enabled ?? !before.includes(tool);
          return !enabled;
        });
        return forbidden.length === 0 ? null : forbidden;
      },
    );
    return c.json(toolsObject(set), 200);
  });

  return app;
}

const Default = z.enum(['standard', 'fast', 'scale']);
const EnabledTiers = z.union([z.literal('all'), z.enum(OPTIONAL_TIERS).array()]);
const TiersSchema = z
  .object({
    object: z.literal('project.service_tier_settings'),
    default: Default,
    enabled_tiers: EnabledTiers,
  })
  .openapi('ProjectServiceTierSettings');

type Tiers = NonNullable<ProjectSettings['service_tiers']>;
/** As before anybody set anything: a call is sent on with the tier that it names, or with none. */
const UNSET: Tiers = { default: 'standard', enabled_tiers: 'all' };

export function serviceTiersApi(deps: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const path = `${PROJECT}/service_tier_settings`;
  const tags = ['Project service tier settings'];
  const { store, clock } = deps;
  const object = (tiers: Tiers = UNSET) => ({
    object: 'project.service_tier_settings' as const,
    default: tiers.default,
    enabled_tiers: tiers.enabled_tiers,
  });

  const get = createRoute({
    method: 'get',
    path,
    tags,
    middleware: [admin] as const,
    request: { params: ProjectPath },
    responses: replies(TiersSchema, 'Which service tiers the project may name, and which is its default.'),
  });
  app.openapi(get, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    await getProject(store.db, organizationId, projectId);
    const { service_tiers } = await getProjectSettings(store.db, organizationId, projectId);
    return c.json(object(service_tiers), 200);
  });

  const update = createRoute({
    method: 'post',
    path,
    tags,
    middleware: [admin] as const,
    request: {
      params: ProjectPath,
      body: jsonBody(z.strictObject({ default: Default.optional(), enabled_tiers: EnabledTiers.optional() })),
    },
    responses: replies(TiersSchema, 'The settings as they are now.'),
  });
  app.openapi(update, async (c) => {
    const asked = c.req.valid('json');
    if (asked.default === undefined && asked.enabled_tiers === undefined) {
      throw new ApiError(400, 'Supply at least one of default and enabled_tiers.', {
        code: 'missing_required_parameter',
        param: 'default',
      });
    }
    const { project_id: projectId } = c.req.valid('param');
    const by = attribution(c, clock);
    const set = await changeProjectSetting(deps, by, projectId, 'service_tiers', (before = UNSET) =>
      merged(before, asked),
    );
    return c.json(object(set), 200);
  });

  return app;
}

/** Omitted fields keep their values; a default that may not be named is refused. */
function merged(
  before: Tiers,
  asked: {
    readonly default?: Tiers['default'] | undefined;
    readonly enabled_tiers?: Tiers['enabled_tiers'] | undefined;
  },
): Tiers {
  const { default: tier = before.default, enabled_tiers: enabled = before.enabled_tiers } = asked;
  if (tier === 'fast' && enabled !== 'all' && !enabled.includes('fast')) {
    throw invalidParameter(
      asked.default === undefined ? 'enabled_tiers' : 'default',
      "Invalid 'default': the tier 'fast' is not among enabled_tiers, so calls could not be sent with it.",
    );
  }
  return {
    default: tier,
    enabled_tiers: enabled === 'all' ? enabled : OPTIONAL_TIERS.filter((t) => enabled.includes(t)),
  };
}
