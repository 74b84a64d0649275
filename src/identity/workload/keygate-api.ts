// keygate's own routes for workload identity providers: X.509 providers, which the published API has no route for, and
// what can be said of an OIDC provider beyond the published fields. Their federation rules are the published ones.

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
  TimestampSchema,
} from '../../access/http.ts';
import { listOf, listSchema, PageQuery } from '../../access/page.ts';
import { invalidParameter } from '../../access/validation.ts';
import { SUBJECT_SECONDS_MAX } from './model.ts';
import {
  checkTransformations,
  DescriptionSchema,
  TransformationsSchema,
  transformationsOf,
} from './objects.ts';
import {
  changeProvider,
  createProvider,
  deleteProvider,
  getProvider,
  listProviders,
  type Provider,
} from './store.ts';

const PROVIDERS = '/v1/keygate/workload_identity_providers';
const PROVIDER = `${PROVIDERS}/{workload_identity_provider_id}`;
const Path = z.object({ workload_identity_provider_id: IdSchema });

const OwnProviderSchema = z
  .object({
    object: z.literal('keygate.workload_identity_provider'),
    id: IdSchema,
    type: z.enum(['oidc', 'x509']),
    name: z.string(),
    description: z.string().nullable(),
    enabled: z.boolean(),
    attribute_transformations: TransformationsSchema,
    single_use: z.boolean().openapi({ description: 'Each subject token is taken once.' }),
    max_token_lifetime_seconds: z.int().openapi({
      description: 'The longest life, from `iat` to `exp`, of a subject token that is taken.',
    }),
    created_at: TimestampSchema,
    updated_at: TimestampSchema,
  })
  .openapi('KeygateWorkloadIdentityProvider');

function shown(provider: Provider): z.infer<typeof OwnProviderSchema> {
  return {
    object: 'keygate.workload_identity_provider',
    id: provider.id,
    type: provider.type,
    name: provider.name,
    description: provider.description,
    enabled: provider.enabled === 1,
    attribute_transformations: transformationsOf(provider).map((one) => ({ ...one })),
    single_use: provider.single_use === 1,
    max_token_lifetime_seconds: provider.max_lifetime,
    created_at: seconds(provider.created_at),
    updated_at: seconds(provider.updated_at),
  };
}

const CreateBody = z.strictObject({
  type: z.literal('x509'),
  name: NameSchema,
  description: DescriptionSchema.nullable().default(null),
  enabled: z.boolean().default(true),
  attribute_transformations: TransformationsSchema,
});

const ChangesBody = z.strictObject({
  name: NameSchema.optional(),
  description: DescriptionSchema.nullable().optional(),
  enabled: z.boolean().optional(),
  attribute_transformations: TransformationsSchema.optional(),
  single_use: z.boolean().optional(),
  max_token_lifetime_seconds: z.int().min(60).max(SUBJECT_SECONDS_MAX).optional(),
});

/** A certificate has no `sub`: what stands for it must be said. */
function assertSubject(transformations: z.infer<typeof TransformationsSchema>): void {
  if (transformations.some(({ attribute }) => attribute === 'openai.subject')) return;
  throw invalidParameter(
    'attribute_transformations',
    'An X.509 provider derives openai.subject: for example assertion.subject.common_name.',
  );
}

export function ownProvidersApi({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const common = { tags: ['keygate'], middleware: [admin] };

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      path: PROVIDERS,
      request: { query: PageQuery },
      responses: replies(listSchema(OwnProviderSchema), 'The providers of both types.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const { rows, hasMore } = await listProviders(store.db, organizationId, c.req.valid('query'));
      return c.json(listOf(rows.map(shown), hasMore), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: PROVIDERS,
      request: { body: jsonBody(CreateBody) },
      responses: replies(OwnProviderSchema, 'The new X.509 provider.'),
    }),
    async (c) => {
      const { attribute_transformations: transformations, ...order } = c.req.valid('json');
      await checkTransformations(transformations);
      assertSubject(transformations);
      const by = attribution(c, clock);
      const provider = await store.write((tx) =>
        createProvider(store, tx, by, {
          ...order,
          transformations,
          issuer: '',
          audience: '',
          verification: { type: 'certificates' },
        }),
      );
      return c.json(shown(provider), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      path: PROVIDER,
      request: { params: Path },
      responses: replies(OwnProviderSchema, 'The provider.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const { workload_identity_provider_id: id } = c.req.valid('param');
      return c.json(shown(await getProvider(store.db, organizationId, id)), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: PROVIDER,
      request: { params: Path, body: jsonBody(ChangesBody) },
      responses: replies(OwnProviderSchema, 'The provider as it is now.'),
    }),
    async (c) => {
      const { workload_identity_provider_id: id } = c.req.valid('param');
      const body = c.req.valid('json');
      const { attribute_transformations: transformations } = body;
      if (transformations) await checkTransformations(transformations);
      const by = attribution(c, clock);
      const provider = await store.write(async (tx) => {
        const found = await getProvider(tx, by.organizationId, id);
        if (found.type === 'x509' && transformations) assertSubject(transformations);
        if (found.type === 'x509' && (body.single_use ?? body.max_token_lifetime_seconds) !== undefined) {
          throw invalidParameter(
            body.single_use === undefined ? 'max_token_lifetime_seconds' : 'single_use',
            'An X.509 provider takes no tokens: this is for OIDC providers.',
          );
        }
        return await changeProvider(store, tx, by, found, {
          name: body.name,
          description: body.description,
          enabled: body.enabled,
          transformations,
          singleUse: body.single_use,
          maxLifetime: body.max_token_lifetime_seconds,
        });
      });
      return c.json(shown(provider), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'delete',
      path: PROVIDER,
      request: { params: Path },
      responses: replies(
        z.object({
          object: z.literal('keygate.workload_identity_provider.deleted'),
          id: IdSchema,
          deleted: z.literal(true),
        }),
        'The provider is gone. One that has federation rules stays.',
      ),
    }),
    async (c) => {
      const { workload_identity_provider_id: id } = c.req.valid('param');
      const by = attribution(c, clock);
      await store.write(async (tx) =>
        deleteProvider(store, tx, by, await getProvider(tx, by.organizationId, id)),
      );
      const object = 'keygate.workload_identity_provider.deleted' as const;
      return c.json({ object, id, deleted: true as const }, 200);
    },
  );

  return app;
}
