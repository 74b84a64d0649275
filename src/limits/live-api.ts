// keygate's own routes that look at limits: how full every pool is, which pools a call touched and which one refused
// it; and the one that fills buckets by hand.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  IdSchema,
  jsonBody,
  newApp,
  ProjectIdSchema,
  replies,
} from '../access/http.ts';
import { getProject } from '../access/store.ts';
import { invalidParameter } from '../access/validation.ts';
import { append } from '../audit/chain.ts';
import { getKey } from '../keys/store.ts';
import { ApiError } from '../platform/errors.ts';
import type { OrganizationId } from '../platform/ids.ts';
import type { LimitsApiDeps } from './api.ts';
import { knownModels, TEST_MODEL } from './known-models.ts';
import { levelsOf, refill, type View, viewedPools } from './levels.ts';
import type { Level } from './limiter.ts';
import { DIMENSION_NAMES, type Pool } from './model.ts';
import type { RateLimits } from './rate-limits.ts';

export interface LiveApiDeps extends LimitsApiDeps {
  readonly limits: RateLimits;
}

/** More models than this are not shown together: name one. */
const MOST_MODELS = 1_000;
const MOST_LEVELS = 10_000;
const PATH = '/v1/keygate/limits';
const tags = ['keygate limits'];

const ScopeSchema = z.enum(['organization', 'project', 'service_account', 'api_key', 'end_user']);
const CoverSchema = z.enum(['model', 'group', 'long_context', 'all']);
const DimensionSchema = z.enum(DIMENSION_NAMES);

const PoolFields = {
  scope: ScopeSchema,
  subject_id: z.string(),
  cover: CoverSchema.openapi({
    description: 'What shares the pool: one model, a group, long calls, or all.',
  }),
  name: z.string(),
  dimension: DimensionSchema,
  limit: z.int(),
};

const LevelSchema = z
  .object({
    object: z.literal('keygate.limit_level'),
    ...PoolFields,
    used: z.int().nullable().openapi({ description: 'Null while the Redis server cannot be asked.' }),
    remaining: z.int().nullable(),
    reset_ms: z
      .int()
      .nullable()
      .openapi({ description: 'Until it is full again; null where time does not help.' }),
  })
  .openapi('LimitLevel');

const ExplanationSchema = z
  .object({
    object: z.literal('keygate.limit_explanation'),
    request_id: z.string(),
    at: z.int().openapi({ description: 'Unix time in milliseconds.' }),
    model: z.string().nullable(),
    outcome: z.enum(['admitted', 'limit', 'too_large', 'unavailable']),
    retry_after_ms: z.number().nullable(),
    pools: z.array(
      z.object({
        ...PoolFields,
        requested: z.number(),
        refused: z.boolean(),
        used: z.number().nullable(),
      }),
    ),
  })
  .openapi('LimitExplanation');

const ModelSchema = z.string().min(1).max(256);
const Who = {
  project_id: ProjectIdSchema.optional(),
  model: ModelSchema.optional(),
  api_key_id: IdSchema.optional(),
  end_user: z.string().min(1).max(512).optional(),
};
type Asked = z.infer<z.ZodObject<typeof Who>>;

export function liveLimitsApi(deps: LiveApiDeps, { admin }: Authentication): ControlApp {
  const { store, clock, live, limits } = deps;
  const app = newApp();

  async function viewOf(organizationId: OrganizationId, asked: Asked): Promise<View> {
    const { project_id: projectId, model, api_key_id: keyId, end_user: endUser } = asked;
    for (const [name, value] of [
      ['api_key_id', keyId],
      ['end_user', endUser],
    ] as const) {
      if (value === undefined || projectId !== undefined) continue;
      throw invalidParameter('project_id', `Name the 'project_id' that the '${name}' is in.`);
    }
    if (projectId !== undefined) await getProject(store.db, organizationId, projectId);
    const key =
      keyId === undefined || projectId === undefined
        ? null
        : await getKey(store.db, { organizationId, projectId }, keyId);
    const known =
      key?.type === 'test'
        ? [TEST_MODEL]
        : knownModels(live.tables, organizationId, projectId ?? null, deps.callable());
    return {
      organizationId,
      projectId: projectId ?? null,
      key: key && { id: key.id, ownerType: key.owner_type, ownerId: key.owner_id },
      endUser: endUser ?? null,
      models: model === undefined ? known.slice(0, MOST_MODELS) : [model],
    };
  }

  const levels = createRoute({
    method: 'get',
    path: PATH,
    tags,
    middleware: [admin] as const,
    request: {
      query: z.object({
        ...Who,
        in_use: z
          .enum(['true', 'false'])
          .default('false')
          .openapi({ description: '`true` leaves full pools out.' }),
      }),
    },
    responses: replies(
      z.object({
        object: z.literal('list'),
        data: z.array(LevelSchema),
        has_more: z.boolean(),
        tier: z.string().openapi({ description: 'The usage tier that the organization is in.' }),
        state: z.enum(['known', 'unknown']),
      }),
      "How full the pools are: the organization's, and those of the project, key and end user that are named.",
    ),
  });
  app.openapi(levels, async (c) => {
    const { organizationId } = c.get('principal');
    const { in_use, ...asked } = c.req.valid('query');
    const pools = await viewedPools(limits, await viewOf(organizationId, asked));
    const known = await levelsOf(limits, pools);
    const all =
      known === 'unknown'
        ? pools.map(unknownObject)
        : known.filter(({ used }) => in_use === 'false' || used > 0).map(levelObject);
    return c.json(
      {
        object: 'list' as const,
        data: all.slice(0, MOST_LEVELS),
        has_more: all.length > MOST_LEVELS,
        tier: live.tierNow(organizationId),
        state: known === 'unknown' ? ('unknown' as const) : ('known' as const),
      },
      200,
    );
  });

  const fill = createRoute({
    method: 'post',
    path: `${PATH}/refill`,
    tags,
    middleware: [admin] as const,
    request: { body: jsonBody(z.strictObject(Who)) },
    responses: replies(
      z.object({ object: z.literal('keygate.limit_refill'), pools: z.int() }),
      'The buckets are full again. Without a Redis server, those of this process.',
    ),
  });
  app.openapi(fill, async (c) => {
    const by = attribution(c, clock);
    const asked = c.req.valid('json');
    const view = await viewOf(by.organizationId, asked);
    const pools = await viewedPools(limits, view);
    const requested = Object.fromEntries(
      Object.entries(asked).filter((each): each is [string, string] => each[1] !== undefined),
    );
    await store.write((tx) =>
      append(tx, {
        by,
        projectId: asked.project_id ?? null,
        type: 'rate_limit.refilled',
        payload: { id: by.organizationId, changes_requested: requested },
      }),
    );
    return c.json({ object: 'keygate.limit_refill' as const, pools: refill(limits, pools) }, 200);
  });

  const explain = createRoute({
    method: 'get',
    path: `${PATH}/explain/{request_id}`,
    tags,
    middleware: [admin] as const,
    request: { params: z.object({ request_id: IdSchema }) },
    responses: replies(ExplanationSchema, 'Which pools a recent call touched, and which one refused it.'),
  });
  app.openapi(explain, async (c) => {
    const found = limits.explain(c.req.valid('param').request_id);
    if (found === undefined || found.organizationId !== c.get('principal').organizationId) {
      throw new ApiError(
        404,
        'No verdict on a request with this id is kept. Each node keeps those on its own last 8,192 calls, until it is ' +
          'restarted.',
        { param: 'request_id' },
      );
    }
    const pools = found.pools.map(({ subject, ...pool }) => ({ ...pool, subject_id: subject }));
    return c.json(
      {
        object: 'keygate.limit_explanation' as const,
        request_id: found.requestId,
        at: found.at,
        model: found.model,
        outcome: found.outcome,
        retry_after_ms: found.waitMs,
        pools,
      },
      200,
    );
  });

  return app;
}

function poolObject({ subject, line, rate }: Pool) {
  return {
    object: 'keygate.limit_level' as const,
    scope: subject.scope,
    subject_id: subject.id,
    cover: line.cover,
    name: line.name,
    dimension: line.dimension,
    limit: rate.amount,
  };
}

function levelObject({ pool, used, remaining, resetMs }: Level): z.infer<typeof LevelSchema> {
  return { ...poolObject(pool), used, remaining, reset_ms: Number.isFinite(resetMs) ? resetMs : null };
}

function unknownObject(pool: Pool): z.infer<typeof LevelSchema> {
  return { ...poolObject(pool), used: null, remaining: null, reset_ms: null };
}
