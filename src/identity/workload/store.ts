// The queries about providers and federation rules. Every look-up names the organization, and a rule's its provider.
// A change is made inside the caller's `Store.write` with its audit entry and its announcement.

import type { Selectable } from 'kysely';
import { beyond, cut, type Page, type PageRequest, unknownAfter } from '../../access/page.ts';
import { getServiceAccount } from '../../access/service-accounts.ts';
import { getActiveProject } from '../../access/store.ts';
import { invalidParameter } from '../../access/validation.ts';
import { append } from '../../audit/chain.ts';
import type { Attribution, AuditValue } from '../../audit/model.ts';
import { ApiError } from '../../platform/errors.ts';
import { newId, type OrganizationId, type ProjectId } from '../../platform/ids.ts';
import type { FederationRuleTable, WorkloadProviderTable } from '../../store/schema-identity.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import {
  assertPinned,
  type Matchers,
  noSuch,
  PROVIDERS_MAX,
  RULES_MAX,
  SUBJECT_SECONDS_DEFAULT,
  type Transformation,
  type Verification,
} from './model.ts';

export type Provider = Selectable<WorkloadProviderTable>;
export type Rule = Selectable<FederationRuleTable>;

export interface ProviderOrder {
  readonly type: Provider['type'];
  readonly name: string;
  readonly issuer: string;
  readonly audience: string;
  readonly description: string | null;
  readonly enabled: boolean;
  readonly transformations: readonly Transformation[];
  readonly verification: Verification;
}

export interface ProviderTerms {
  readonly singleUse: boolean;
  readonly maxLifetime: number;
}

/** What is absent or undefined stays as it is. */
type Changes<T> = { readonly [K in keyof T]?: T[K] | undefined };

export type ProviderChanges = Changes<Omit<ProviderOrder, 'type'> & ProviderTerms>;

function findProvider(
  db: Db | Tx,
  organizationId: OrganizationId,
  id: string,
): Promise<Provider | undefined> {
  return db
    .selectFrom('workload_identity_providers')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
}

export async function getProvider(
  db: Db | Tx,
  organizationId: OrganizationId,
  id: string,
  type?: Provider['type'],
): Promise<Provider> {
  const provider = await findProvider(db, organizationId, id);
  if (provider === undefined || (type !== undefined && provider.type !== type)) {
    throw noSuch('workload identity provider', id);
  }
  return provider;
}

export async function listProviders(
  db: Db,
  organizationId: OrganizationId,
  page: PageRequest,
  type?: Provider['type'],
): Promise<Page<Provider>> {
  const order = page.order ?? 'asc';
  let query = db
    .selectFrom('workload_identity_providers')
    .selectAll()
    .where('organization_id', '=', organizationId);
  if (type !== undefined) query = query.where('type', '=', type);
  if (page.after !== undefined) {
    const place = await findProvider(db, organizationId, page.after);
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('workload_identity_providers', place, order));
  }
  const rows = await query
    .orderBy('created_at', order)
    .orderBy('id', order)
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}

export async function createProvider(
  store: Store,
  tx: Tx,
  by: Attribution,
  order: ProviderOrder,
): Promise<Provider> {
  const { count } = await tx
    .selectFrom('workload_identity_providers')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('organization_id', '=', by.organizationId)
    .executeTakeFirstOrThrow();
  if (Number(count) >= PROVIDERS_MAX) {
    throw new ApiError(400, `An organization has at most ${PROVIDERS_MAX} workload identity providers.`);
  }
  const provider: Provider = {
    id: newId('wip_'),
    organization_id: by.organizationId,
    name: order.name,
    description: order.description,
    type: order.type,
    issuer: order.issuer,
    audience: order.audience,
    enabled: order.enabled ? 1 : 0,
    transformations: JSON.stringify(order.transformations),
    ...columnsOf(order.verification),
    single_use: 0,
    max_lifetime: SUBJECT_SECONDS_DEFAULT,
    generation: 1,
    created_at: by.at,
    updated_at: by.at,
  };
  await tx.insertInto('workload_identity_providers').values(provider).execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'workload_identity_provider.created',
    payload: { id: provider.id, data: told(order) },
  });
  await store.announce(tx, 'workload_identity_provider', provider.id, by.at);
  return provider;
}

function columnsOf(verification: Verification): Pick<Provider, 'verification' | 'discovery_url' | 'jwks'> {
  return {
    verification: verification.type,
    discovery_url: verification.type === 'discovery' ? verification.discoveryUrl : null,
    jwks: verification.type === 'uploaded_jwks' ? JSON.stringify({ keys: verification.keys }) : null,
  };
}

/** Omitted fields stay. Whatever decides about tokens ends the tokens that were issued before. */
export async function changeProvider(
  store: Store,
  tx: Tx,
  by: Attribution,
  provider: Provider,
  changes: ProviderChanges,
): Promise<Provider> {
  const { name, description, issuer, audience, enabled, transformations, verification } = changes;
  const { singleUse, maxLifetime } = changes;
  const changed = {
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description }),
    ...(issuer !== undefined && { issuer }),
    ...(audience !== undefined && { audience }),
    ...(enabled !== undefined && { enabled: enabled ? (1 as const) : (0 as const) }),
    ...(transformations && { transformations: JSON.stringify(transformations) }),
    ...(verification && columnsOf(verification)),
    ...(singleUse !== undefined && { single_use: singleUse ? (1 as const) : (0 as const) }),
    ...(maxLifetime !== undefined && { max_lifetime: maxLifetime }),
  };
  if (Object.keys(changed).length === 0) return provider;
  const decides = issuer !== undefined || audience !== undefined || transformations || verification;
  const next: Provider = {
    ...provider,
    ...changed,
    generation: provider.generation + (decides ? 1 : 0),
    updated_at: by.at,
  };
  await tx
    .updateTable('workload_identity_providers')
    .set({ ...changed, generation: next.generation, updated_at: by.at })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', provider.id)
    .execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'workload_identity_provider.updated',
    payload: { id: provider.id, changes_requested: told(changes) },
  });
  await store.announce(tx, 'workload_identity_provider', provider.id, by.at);
  return next;
}

/** What the audit log is told: all of it but the keys themselves, of which it is told the ids. */
function told(order: ProviderChanges): AuditValue {
  const { verification, transformations, ...rest } = order;
  const kept = Object.entries(rest).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  return {
    ...Object.fromEntries(kept),
    ...(transformations && { attribute_transformations: transformations.map((one) => ({ ...one })) }),
    ...(verification && {
      verification: {
        type: verification.type,
        ...(verification.type === 'discovery' && { discovery_url: verification.discoveryUrl }),
        ...(verification.type === 'uploaded_jwks' && { key_ids: verification.keys.map(({ kid }) => kid) }),
      },
    }),
  };
}

export async function deleteProvider(
  store: Store,
  tx: Tx,
  by: Attribution,
  provider: Provider,
): Promise<void> {
  const rule = await tx
    .selectFrom('federation_rules')
    .select('id')
    .where('provider_id', '=', provider.id)
    .executeTakeFirst();
  if (rule !== undefined) {
    throw new ApiError(400, 'This provider still has federation rules: delete all of them first.', {
      code: 'workload_identity_provider_in_use',
      param: 'workload_identity_provider_id',
    });
  }
  await tx
    .deleteFrom('workload_identity_providers')
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', provider.id)
    .execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'workload_identity_provider.deleted',
    payload: { id: provider.id, name: provider.name },
  });
  await store.announce(tx, 'workload_identity_provider', provider.id, by.at);
}

/** Where a rule is looked up: by all three. */
export interface RulePath {
  readonly organizationId: OrganizationId;
  readonly providerId: string;
  readonly id: string;
}

function findRule(db: Db | Tx, { organizationId, providerId, id }: RulePath): Promise<Rule | undefined> {
  return db
    .selectFrom('federation_rules')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('provider_id', '=', providerId)
    .where('id', '=', id)
    .executeTakeFirst();
}

export async function getRule(db: Db | Tx, path: RulePath): Promise<Rule> {
  const rule = await findRule(db, path);
  if (rule === undefined) throw noSuch('federation rule', path.id);
  return rule;
}

export async function listRules(
  db: Db,
  of: Omit<RulePath, 'id'>,
  page: PageRequest & { readonly serviceAccountId?: string | undefined },
): Promise<Page<Rule>> {
  const order = page.order ?? 'asc';
  let query = db
    .selectFrom('federation_rules')
    .selectAll()
    .where('organization_id', '=', of.organizationId)
    .where('provider_id', '=', of.providerId);
  if (page.serviceAccountId !== undefined) {
    query = query.where('service_account_id', '=', page.serviceAccountId);
  }
  if (page.after !== undefined) {
    const place = await findRule(db, { ...of, id: page.after });
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('federation_rules', place, order));
  }
  const rows = await query
    .orderBy('created_at', order)
    .orderBy('id', order)
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}

export interface RuleOrder {
  readonly projectId: ProjectId;
  readonly serviceAccountId: string;
  readonly matchers: Matchers;
  readonly name: string | null;
  readonly description: string | null;
  readonly enabled: boolean;
  /** Null: what the service account may do. */
  readonly scopes: readonly string[] | null;
}

export async function createRule(
  store: Store,
  tx: Tx,
  by: Attribution,
  provider: Provider,
  order: RuleOrder,
): Promise<Rule> {
  await getActiveProject(tx, by.organizationId, order.projectId);
  const account = await getServiceAccount(tx, {
    organizationId: by.organizationId,
    projectId: order.projectId,
    id: order.serviceAccountId,
  });
  if (account.role === 'none') {
    throw invalidParameter(
      'service_account_id',
      "This service account has no role in its project: set its role to 'member' or 'owner' first.",
    );
  }
  assertPinned(provider.issuer, order.matchers);
  const { count } = await tx
    .selectFrom('federation_rules')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('provider_id', '=', provider.id)
    .executeTakeFirstOrThrow();
  if (Number(count) >= RULES_MAX) {
    throw new ApiError(400, `A workload identity provider has at most ${RULES_MAX} federation rules.`);
  }
  const rule: Rule = {
    id: newId('wir_'),
    organization_id: by.organizationId,
    provider_id: provider.id,
    project_id: order.projectId,
    service_account_id: order.serviceAccountId,
    name: order.name,
    description: order.description,
    enabled: order.enabled ? 1 : 0,
    matchers: JSON.stringify(order.matchers),
    scopes: order.scopes && JSON.stringify(order.scopes),
    generation: 1,
    created_at: by.at,
    updated_at: by.at,
  };
  await tx.insertInto('federation_rules').values(rule).execute();
  await append(tx, {
    by,
    projectId: order.projectId,
    type: 'workload_identity_provider_mapping.created',
    payload: {
      id: rule.id,
      identity_provider_id: provider.id,
      data: {
        project_id: order.projectId,
        service_account_id: order.serviceAccountId,
        attribute_matchers: order.matchers,
        name: order.name,
        enabled: order.enabled,
        scopes: order.scopes,
      },
    },
  });
  await store.announce(tx, 'federation_rule', rule.id, by.at);
  return rule;
}

export type RuleChanges = Changes<Omit<RuleOrder, 'projectId' | 'serviceAccountId'>>;

export async function changeRule(
  store: Store,
  tx: Tx,
  by: Attribution,
  provider: Provider,
  rule: Rule,
  changes: RuleChanges,
): Promise<Rule> {
  const { matchers, name, description, enabled, scopes } = changes;
  if (matchers) assertPinned(provider.issuer, matchers);
  const changed = {
    ...(matchers && { matchers: JSON.stringify(matchers) }),
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description }),
    ...(enabled !== undefined && { enabled: enabled ? (1 as const) : (0 as const) }),
    ...(scopes !== undefined && { scopes: scopes && JSON.stringify(scopes) }),
  };
  if (Object.keys(changed).length === 0) return rule;
  const next: Rule = {
    ...rule,
    ...changed,
    generation: rule.generation + (matchers ? 1 : 0),
    updated_at: by.at,
  };
  await tx
    .updateTable('federation_rules')
    .set({ ...changed, generation: next.generation, updated_at: by.at })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', rule.id)
    .execute();
  await append(tx, {
    by,
    // The column holds what newId made.
    projectId: rule.project_id as ProjectId,
    type: 'workload_identity_provider_mapping.updated',
    payload: {
      id: rule.id,
      identity_provider_id: provider.id,
      changes_requested: {
        ...(matchers && { attribute_matchers: matchers }),
        ...(name !== undefined && { name }),
        ...(description !== undefined && { description }),
        ...(enabled !== undefined && { enabled }),
        ...(scopes !== undefined && { scopes }),
      },
    },
  });
  await store.announce(tx, 'federation_rule', rule.id, by.at);
  return next;
}

export async function deleteRule(store: Store, tx: Tx, by: Attribution, rule: Rule): Promise<void> {
  await tx
    .deleteFrom('federation_rules')
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', rule.id)
    .execute();
  await append(tx, {
    by,
    // The column holds what newId made.
    projectId: rule.project_id as ProjectId,
    type: 'workload_identity_provider_mapping.deleted',
    payload: {
      id: rule.id,
      identity_provider_id: rule.provider_id,
      project_id: rule.project_id,
      service_account_id: rule.service_account_id,
    },
  });
  await store.announce(tx, 'federation_rule', rule.id, by.at);
}
