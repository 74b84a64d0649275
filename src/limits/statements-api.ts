// keygate's own routes for limits beyond the published ones: of the organization, a project under any name that a table
// may have, an API key, a service account, and the end users of a project; in every dimension.

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
import { getServiceAccount } from '../access/service-accounts.ts';
import { getActiveProject, getProject } from '../access/store.ts';
import { getKey } from '../keys/store.ts';
import { ApiError } from '../platform/errors.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Db, Tx } from '../store/store.ts';
import type { LimitsApiDeps } from './api.ts';
import { MAX_AMOUNT } from './bucket.ts';
import { changeStatement, rateLimitId, refuseRaising } from './change.ts';
import { DIMENSION_NAMES, type Dimension, type Scope } from './model.ts';
import { type Holder, type Statement, statementsOf } from './statements.ts';

const Amount = z
  .int('must be a whole number')
  .min(0, 'must not be negative; 0 lets nothing through')
  .max(MAX_AMOUNT, `must be at most ${MAX_AMOUNT}; null takes the limit away`);

function each<S extends z.ZodType>(schema: S): Record<Dimension, S> {
  return {
    requests_per_minute: schema,
    requests_per_day: schema,
    tokens_per_minute: schema,
    tokens_per_day: schema,
    images_per_minute: schema,
    audio_seconds_per_minute: schema,
    batch_tokens: schema,
  };
}

const StatementSchema = z
  .object({
    object: z.literal('keygate.rate_limit'),
    id: z.string(),
    scope: z.enum(['organization', 'project', 'service_account', 'api_key', 'end_user']),
    subject_id: IdSchema.openapi({ description: "For end users: their project's id." }),
    name: z.string(),
    ...each(Amount.nullable()),
  })
  .openapi('KeygateRateLimit');

const ListSchema = z.object({
  object: z.literal('list'),
  data: z.array(StatementSchema),
  has_more: z.literal(false),
});

/** What limits can be stated about, as in a table of limits. */
const LimitNameSchema = z
  .string()
  .min(1, 'must not be empty')
  .max(256, 'must be at most 256 characters long')
  .refine((name) => name.isWellFormed() && !/\p{Cc}/u.test(name), 'must not hold control characters')
  .refine((name) => !name.slice(0, -1).includes('*'), 'may have a * only at its end')
  .openapi({ description: 'A model, `prefix*`, `*`, a shared group, a long-context pool, or `all`.' });

const ChangeBody = z.strictObject({
  name: LimitNameSchema,
  ...each(Amount.nullable().optional().openapi({ description: 'Null takes this limit away.' })),
});

const Project = z.object({ project_id: ProjectIdSchema });
const PROJECT = '/v1/keygate/projects/{project_id}';

/** What of its path a holder is found by; each kind's own schema says which of them are there. */
const Found = z.object({
  project_id: ProjectIdSchema.optional(),
  service_account_id: IdSchema.optional(),
  api_key_id: IdSchema.optional(),
});

/** One kind of holder: where its limits are, and how it is found. */
interface Kind {
  readonly scope: Scope;
  readonly path: string;
  readonly about: string;
  readonly params: z.ZodObject;
  /** The holder's id; throws 404 if the project has none such. */
  find(db: Db | Tx, where: Where, found: z.infer<typeof Found>): Promise<string>;
}

interface Where {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId | null;
}

const projectOf = ({ projectId }: Where): ProjectId => {
  if (projectId === null) throw new Error('this route has no project in its path');
  return projectId;
};

const KINDS: readonly Kind[] = [
  {
    scope: 'organization',
    path: '/v1/keygate/organization/limits',
    about: "the organization's own limits, which stand before its usage tier's",
    params: z.object({}),
    find: async (_, { organizationId }) => organizationId,
  },
  {
    scope: 'project',
    path: `${PROJECT}/limits`,
    about: "the project's limits",
    params: Project,
    find: async (_, where) => projectOf(where),
  },
  {
    scope: 'end_user',
    path: `${PROJECT}/end_users/limits`,
    about: 'the limits that each end user of the project has',
    params: Project,
    find: async (_, where) => projectOf(where),
  },
  {
    scope: 'service_account',
    path: `${PROJECT}/service_accounts/{service_account_id}/limits`,
    about: "the service account's limits",
    params: Project.extend({ service_account_id: IdSchema }),
    async find(db, where, { service_account_id: id = '' }) {
      const { organizationId } = where;
      return (await getServiceAccount(db, { organizationId, projectId: projectOf(where), id })).id;
    },
  },
  {
    scope: 'api_key',
    path: `${PROJECT}/api_keys/{api_key_id}/limits`,
    about: "the API key's limits",
    params: Project.extend({ api_key_id: IdSchema }),
    async find(db, where, { api_key_id: id = '' }) {
      const { organizationId } = where;
      return (await getKey(db, { organizationId, projectId: projectOf(where) }, id)).id;
    },
  },
];

export function statementsApi(deps: LimitsApiDeps, auth: Authentication): ControlApp {
  const app = newApp();
  for (const kind of KINDS) addKind(app, kind, deps, auth);
  return app;
}

function addKind(
  app: ControlApp,
  { scope, path, about, params, find }: Kind,
  { store, clock, live }: LimitsApiDeps,
  { admin }: Authentication,
): void {
  const tags = ['keygate limits'];

  const list = createRoute({
    method: 'get',
    path,
    tags,
    middleware: [admin] as const,
    request: { params },
    responses: replies(ListSchema, `What is stated here: ${about}, over those of the configuration.`),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const found = Found.parse(c.req.param());
    const where = { organizationId, projectId: found.project_id ?? null };
    if (where.projectId !== null) await getProject(store.db, organizationId, where.projectId);
    const holder = { organizationId, scope, subjectId: await find(store.db, where, found) };
    const data = (await statementsOf(store.db, holder)).map(statementObject);
    return c.json({ object: 'list' as const, data, has_more: false as const }, 200);
  });

  const change = createRoute({
    method: 'post',
    path,
    tags,
    middleware: [admin] as const,
    request: { params, body: jsonBody(ChangeBody) },
    responses: replies(
      StatementSchema,
      `Changes ${about} under one name; what is left out stays. In effect on this node already, on others within a second.`,
    ),
  });
  app.openapi(change, async (c) => {
    const { name, ...amounts } = ChangeBody.parse(c.req.valid('json'));
    if (DIMENSION_NAMES.every((dimension) => amounts[dimension] === undefined)) {
      throw new ApiError(400, `Name what to change: at least one of ${DIMENSION_NAMES.join(', ')}.`);
    }
    const found = Found.parse(c.req.param());
    const by = attribution(c, clock);
    const { organizationId } = by;
    const where = { organizationId, projectId: found.project_id ?? null };
    const statement = await store.write(async (tx) => {
      if (where.projectId !== null) await getActiveProject(tx, organizationId, where.projectId);
      const holder: Holder = { organizationId, scope, subjectId: await find(tx, where, found) };
      refuseRaising(live, holder, name, amounts, (dimension) => dimension);
      const requested = Object.fromEntries(
        Object.entries(amounts).filter((each): each is [string, number | null] => each[1] !== undefined),
      );
      const order = { holder, projectId: where.projectId, name, amounts, requested: { name, ...requested } };
      return await changeStatement(store, tx, by, order);
    });
    return c.json(statementObject(statement), 200);
  });
}

function statementObject({ scope, subjectId, name, limits }: Statement): z.infer<typeof StatementSchema> {
  const stated = (dimension: Dimension): number | null => limits[dimension] ?? null;
  return {
    object: 'keygate.rate_limit',
    id: rateLimitId(name),
    scope,
    subject_id: subjectId,
    name,
    requests_per_minute: stated('requests_per_minute'),
    requests_per_day: stated('requests_per_day'),
    tokens_per_minute: stated('tokens_per_minute'),
    tokens_per_day: stated('tokens_per_day'),
    images_per_minute: stated('images_per_minute'),
    audio_seconds_per_minute: stated('audio_seconds_per_minute'),
    batch_tokens: stated('batch_tokens'),
  };
}
