// The HTTP surface of a project's rate limits as the published API has it (docs/api-reference/project-rate-limits): list
// them by model, and lower one.

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
import { listOf, listSchema } from '../access/page.ts';
import { getActiveProject, getProject } from '../access/store.ts';
import { invalidParameter } from '../access/validation.ts';
import { ApiError } from '../platform/errors.ts';
import { MAX_AMOUNT } from './bucket.ts';
import { changeStatement, modelOfRateLimit, refuseRaising } from './change.ts';
import { effectiveLimits } from './draw.ts';
import { knownModels } from './known-models.ts';
import type { LiveLimits } from './live.ts';
import { amountsOf, FIELD_NAMES, fieldOf, projectRateLimit } from './project-limits.ts';

export interface LimitsApiDeps extends ControlPlaneDeps {
  readonly live: LiveLimits;
  /** The models that can be called at the moment, by name. */
  readonly callable: () => readonly string[];
}

const Amount = z
  .int('must be a whole number')
  .min(0, 'must not be negative')
  .max(MAX_AMOUNT, `must be at most ${MAX_AMOUNT}`);
const Megabytes = z.int('must be a whole number').min(0, 'must not be negative').max(1_000_000_000);

const RateLimitSchema = z
  .object({
    object: z.literal('project.rate_limit'),
    id: z.string(),
    model: z.string(),
    max_requests_per_1_minute: Amount,
    max_tokens_per_1_minute: Amount,
    max_images_per_1_minute: Amount.optional(),
    max_audio_megabytes_per_1_minute: Megabytes.optional(),
    max_requests_per_1_day: Amount.optional(),
    batch_1_day_max_input_tokens: Amount.optional(),
  })
  .openapi('ProjectRateLimit');

/** Null takes the project's own limit away, so that the organization's holds again. */
const UpdateBody = z.strictObject({
  max_requests_per_1_minute: Amount.nullable().optional(),
  max_tokens_per_1_minute: Amount.nullable().optional(),
  max_images_per_1_minute: Amount.nullable().optional(),
  max_audio_megabytes_per_1_minute: Megabytes.nullable().optional(),
  max_requests_per_1_day: Amount.nullable().optional(),
  batch_1_day_max_input_tokens: Amount.nullable().optional(),
});

/** `rl-` and a model's name of at most 256 characters. */
const RateLimitIdSchema = z.string().min(1).max(260);
const LIMIT = 100;
const PATH = '/v1/organization/projects/{project_id}/rate_limits';

export function projectRateLimitsApi(deps: LimitsApiDeps, { admin }: Authentication): ControlApp {
  const { store, clock, live } = deps;
  const app = newApp();
  const tags = ['Project rate limits'];

  const list = createRoute({
    method: 'get',
    path: PATH,
    tags,
    middleware: [admin] as const,
    request: {
      params: z.object({ project_id: ProjectIdSchema }),
      query: z.object({
        after: RateLimitIdSchema.optional(),
        before: RateLimitIdSchema.optional(),
        limit: z.coerce.number<string>().int().min(1).max(LIMIT).default(LIMIT).openapi({ type: 'integer' }),
      }),
    },
    responses: replies(listSchema(RateLimitSchema), "The project's limits by model, in the order of names."),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { project_id: projectId } = c.req.valid('param');
    const { after, before, limit } = c.req.valid('query');
    await getProject(store.db, organizationId, projectId);
    const models = between(
      knownModels(live.tables, organizationId, projectId, deps.callable()),
      placeOf('after', after),
      placeOf('before', before),
    );
    // With `before` alone the page is the one that ends there.
    const page = before !== undefined && after === undefined ? models.slice(-limit) : models.slice(0, limit);
    const data = page.map((model) =>
      projectRateLimit(
        model,
        effectiveLimits(live.tables, { organizationId, projectId, model }, live.tierOf),
      ),
    );
    return c.json(listOf(data, models.length > page.length), 200);
  });

  const update = createRoute({
    method: 'post',
    path: `${PATH}/{rate_limit_id}`,
    tags,
    middleware: [admin] as const,
    request: {
      params: z.object({ project_id: ProjectIdSchema, rate_limit_id: RateLimitIdSchema }),
      body: jsonBody(UpdateBody),
    },
    responses: replies(
      RateLimitSchema,
      'The limits as they hold now: on this node already, on others within a second.',
    ),
  });
  app.openapi(update, async (c) => {
    const { project_id: projectId, rate_limit_id: id } = c.req.valid('param');
    const body = c.req.valid('json');
    if (FIELD_NAMES.every((field) => body[field] === undefined)) {
      throw new ApiError(400, `Name what to change: at least one of ${FIELD_NAMES.join(', ')}.`);
    }
    const by = attribution(c, clock);
    const { organizationId } = by;
    const model = modelOfRateLimit(id);
    await store.write(async (tx) => {
      await getActiveProject(tx, organizationId, projectId);
      const known = knownModels(live.tables, organizationId, projectId, deps.callable());
      if (model === undefined || !known.includes(model)) throw unknownRateLimit();
      const holder = { organizationId, scope: 'project', subjectId: projectId } as const;
      const amounts = amountsOf(body);
      refuseRaising(live, holder, model, amounts, fieldOf);
      await changeStatement(store, tx, by, {
        holder,
        projectId,
        name: model,
        amounts,
        requested: Object.fromEntries(
          FIELD_NAMES.flatMap((field) => {
            const value = body[field];
            return value === undefined ? [] : [[field, value]];
          }),
        ),
      });
    });
    if (model === undefined) throw unknownRateLimit();
    const limits = effectiveLimits(live.tables, { organizationId, projectId, model }, live.tierOf);
    return c.json(projectRateLimit(model, limits), 200);
  });

  return app;
}

function unknownRateLimit(): ApiError {
  return new ApiError(404, 'The rate limit with this id was not found: `list` shows those of the project.', {
    param: 'rate_limit_id',
  });
}

function placeOf(field: 'after' | 'before', id: string | undefined): string | undefined {
  if (id === undefined) return undefined;
  const model = modelOfRateLimit(id);
  if (model === undefined) throw invalidParameter(field, `Invalid '${field}': no rate limit has this id.`);
  return model;
}

/** The names of a sorted list after one and before another, which need not be in it. */
function between(names: readonly string[], after: string | undefined, before: string | undefined): string[] {
  return names.filter(
    (name) => (after === undefined || name > after) && (before === undefined || name < before),
  );
}
