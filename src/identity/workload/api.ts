// The HTTP surface of workload identity providers and their federation rules, as the published API has it.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  newApp,
  replies,
} from '../../access/http.ts';
import { listOf, listSchema, PageQuery } from '../../access/page.ts';
import type { Outgoing } from '../../platform/outgoing.ts';
import {
  checkedVerification,
  checkTransformations,
  ProviderBody,
  ProviderChangesBody,
  ProviderSchema,
  providerObject,
  RuleBody,
  RuleChangesBody,
  RuleSchema,
  ruleObject,
  scopesOf,
} from './objects.ts';
import {
  changeProvider,
  changeRule,
  createProvider,
  createRule,
  deleteProvider,
  deleteRule,
  getProvider,
  getRule,
  listProviders,
  listRules,
} from './store.ts';

export interface WorkloadDeps extends ControlPlaneDeps {
  readonly outgoing: Pick<Outgoing, 'flaw'>;
}

const PROVIDERS = '/v1/organization/workload_identity_providers';
const PROVIDER = `${PROVIDERS}/{workload_identity_provider_id}`;
const RULES = `${PROVIDER}/federation_rules`;
const RULE = `${RULES}/{workload_identity_federation_rule_id}`;
const ProviderPath = z.object({ workload_identity_provider_id: IdSchema });
const RulePath = ProviderPath.extend({ workload_identity_federation_rule_id: IdSchema });
const ListQuery = PageQuery.extend({ order: z.enum(['asc', 'desc']).default('asc') });

export function workloadIdentityApi(deps: WorkloadDeps, auth: Authentication): ControlApp {
  const app = newApp();
  app.route('/', providersApi(deps, auth));
  app.route('/', rulesApi(deps, auth));
  return app;
}

function providersApi({ store, clock, outgoing }: WorkloadDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const common = { tags: ['Workload identity'], middleware: [admin] };

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      path: PROVIDERS,
      request: { query: ListQuery },
      responses: replies(listSchema(ProviderSchema), 'The workload identity providers.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const { rows, hasMore } = await listProviders(store.db, organizationId, c.req.valid('query'), 'oidc');
      return c.json(listOf(rows.map(providerObject), hasMore), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: PROVIDERS,
      request: { body: jsonBody(ProviderBody) },
      responses: replies(ProviderSchema, 'The new provider.'),
    }),
    async (c) => {
      const { attribute_transformations: transformations, verification, ...order } = c.req.valid('json');
      await checkTransformations(transformations);
      const checked = checkedVerification(verification, order.issuer, outgoing);
      const by = attribution(c, clock);
      const provider = await store.write((tx) =>
        createProvider(store, tx, by, { ...order, transformations, verification: checked }),
      );
      return c.json(providerObject(provider), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      path: PROVIDER,
      request: { params: ProviderPath },
      responses: replies(ProviderSchema, 'The provider.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const { workload_identity_provider_id: id } = c.req.valid('param');
      return c.json(providerObject(await getProvider(store.db, organizationId, id, 'oidc')), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: PROVIDER,
      request: { params: ProviderPath, body: { ...jsonBody(ProviderChangesBody), required: false } },
      responses: replies(ProviderSchema, 'The provider as it is now.'),
    }),
    async (c) => {
      const { workload_identity_provider_id: id } = c.req.valid('param');
      const { attribute_transformations: transformations, verification, ...rest } = c.req.valid('json') ?? {};
      if (transformations) await checkTransformations(transformations);
      const by = attribution(c, clock);
      const provider = await store.write(async (tx) => {
        const found = await getProvider(tx, by.organizationId, id, 'oidc');
        // A new issuer is checked with the way of verification that stays.
        const asked =
          verification ??
          (rest.issuer !== undefined && found.verification === 'discovery'
            ? { type: 'discovery' as const, discovery_url: found.discovery_url }
            : undefined);
        const checked = asked && checkedVerification(asked, rest.issuer ?? found.issuer, outgoing);
        return await changeProvider(store, tx, by, found, {
          ...rest,
          ...(transformations && { transformations }),
          ...(checked && { verification: checked }),
        });
      });
      return c.json(providerObject(provider), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'delete',
      path: PROVIDER,
      request: { params: ProviderPath },
      responses: replies(
        z.object({
          object: z.literal('organization.workload_identity_provider.deleted'),
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
        deleteProvider(store, tx, by, await getProvider(tx, by.organizationId, id, 'oidc')),
      );
      const object = 'organization.workload_identity_provider.deleted' as const;
      return c.json({ object, id, deleted: true as const }, 200);
    },
  );

  return app;
}

function rulesApi({ store, clock }: WorkloadDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const common = { tags: ['Workload identity'], middleware: [admin] };

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      path: RULES,
      request: { params: ProviderPath, query: ListQuery.extend({ service_account_id: IdSchema.optional() }) },
      responses: replies(listSchema(RuleSchema), "The provider's federation rules."),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const { workload_identity_provider_id: providerId } = c.req.valid('param');
      const { service_account_id: serviceAccountId, ...page } = c.req.valid('query');
      await getProvider(store.db, organizationId, providerId);
      const of = { organizationId, providerId };
      const { rows, hasMore } = await listRules(store.db, of, { ...page, serviceAccountId });
      return c.json(listOf(rows.map(ruleObject), hasMore), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: RULES,
      request: { params: ProviderPath, body: jsonBody(RuleBody) },
      responses: replies(RuleSchema, 'The new federation rule.'),
    }),
    async (c) => {
      const { workload_identity_provider_id: providerId } = c.req.valid('param');
      const body = c.req.valid('json');
      const by = attribution(c, clock);
      const rule = await store.write(async (tx) =>
        createRule(store, tx, by, await getProvider(tx, by.organizationId, providerId), {
          projectId: body.project_id,
          serviceAccountId: body.service_account_id,
          matchers: body.attribute_matchers,
          name: body.name,
          description: body.description,
          enabled: body.enabled,
          scopes: scopesOf(body.permissions),
        }),
      );
      return c.json(ruleObject(rule), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      path: RULE,
      request: { params: RulePath },
      responses: replies(RuleSchema, 'The federation rule.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      return c.json(ruleObject(await getRule(store.db, placeOf(organizationId, c.req.valid('param')))), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: RULE,
      request: { params: RulePath, body: { ...jsonBody(RuleChangesBody), required: false } },
      responses: replies(RuleSchema, 'The federation rule as it is now.'),
    }),
    async (c) => {
      const path = c.req.valid('param');
      const { attribute_matchers: matchers, permissions, ...rest } = c.req.valid('json') ?? {};
      const by = attribution(c, clock);
      const rule = await store.write(async (tx) => {
        const provider = await getProvider(tx, by.organizationId, path.workload_identity_provider_id);
        const found = await getRule(tx, placeOf(by.organizationId, path));
        return await changeRule(store, tx, by, provider, found, {
          ...rest,
          ...(matchers && { matchers }),
          ...(permissions && { scopes: scopesOf(permissions) }),
        });
      });
      return c.json(ruleObject(rule), 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'delete',
      path: RULE,
      request: { params: RulePath },
      responses: replies(
        z.object({
          object: z.literal('organization.workload_identity_federation_rule.deleted'),
          id: IdSchema,
          deleted: z.literal(true),
        }),
        'The federation rule is gone, and with it every access token that it gave.',
      ),
    }),
    async (c) => {
      const path = c.req.valid('param');
      const by = attribution(c, clock);
      await store.write(async (tx) =>
        deleteRule(store, tx, by, await getRule(tx, placeOf(by.organizationId, path))),
      );
      const object = 'organization.workload_identity_federation_rule.deleted' as const;
      const id = path.workload_identity_federation_rule_id;
      return c.json({ object, id, deleted: true as const }, 200);
    },
  );

  return app;
}

function placeOf<O>(organizationId: O, path: z.infer<typeof RulePath>) {
  return {
    organizationId,
    providerId: path.workload_identity_provider_id,
    id: path.workload_identity_federation_rule_id,
  };
}
