// Providers and federation rules as the Administration API has them, and what may be asked of them.

import { z } from '@hono/zod-openapi';
import { IdSchema, NameSchema, ProjectIdSchema, seconds, TimestampSchema } from '../../access/http.ts';
import { invalidParameter } from '../../access/validation.ts';
import { ScopesSchema } from '../../keys/objects.ts';
import { parseList } from '../../keys/rows.ts';
import type { Outgoing } from '../../platform/outgoing.ts';
import { uploadedKeys } from './jwks.ts';
import {
  DERIVED,
  EXPRESSION_MAX,
  MATCHERS_MAX,
  TRANSFORMATIONS_MAX,
  type Transformation,
  type Verification,
} from './model.ts';
import type { Provider, Rule } from './store.ts';

const ONE_LINE = /^[^\p{Cc}]*$/u;

export const DescriptionSchema = z
  .string()
  .max(1000, 'must be at most 1000 characters long')
  .refine((text) => text.isWellFormed() && ONE_LINE.test(text), 'must not hold control characters');

const Text = (max: number) =>
  z
    .string()
    .min(1, 'must not be empty')
    .max(max, `must be at most ${max} characters long`)
    .refine((text) => text.isWellFormed() && ONE_LINE.test(text), 'must not hold control characters');

export const IssuerSchema = Text(2048).openapi({
  description: 'The `iss` of its tokens, exactly. With discovery and no discovery_url, an https address.',
});
export const AudienceSchema = Text(2048).openapi({
  description: 'The `aud` that its tokens must hold, exactly.',
});

const TransformationSchema = z.strictObject({
  attribute: z
    .string()
    .max(256)
    .regex(/^openai\.[a-z][a-z0-9_]*$/, 'must be a name such as openai.subject'),
  expression: z.string().min(1, 'must not be empty').max(EXPRESSION_MAX),
});

export const TransformationsSchema = z.array(TransformationSchema).max(TRANSFORMATIONS_MAX);

export const VerificationSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('discovery'), discovery_url: Text(2048).nullable() }),
  z.strictObject({ type: z.literal('uploaded_jwks'), jwks: z.record(z.string().max(64), z.unknown()) }),
]);

export const ProviderBody = z.strictObject({
  type: z.literal('oidc'),
  name: NameSchema,
  issuer: IssuerSchema,
  audience: AudienceSchema,
  attribute_transformations: TransformationsSchema.default([]),
  description: DescriptionSchema.nullable().default(null),
  enabled: z.boolean().default(true),
  verification: VerificationSchema.default({ type: 'discovery', discovery_url: null }),
});

export const ProviderChangesBody = z.strictObject({
  name: NameSchema.optional(),
  issuer: IssuerSchema.optional(),
  audience: AudienceSchema.optional(),
  attribute_transformations: TransformationsSchema.optional(),
  description: DescriptionSchema.nullable().optional(),
  enabled: z.boolean().optional(),
  verification: VerificationSchema.optional(),
});

export const ProviderSchema = z
  .object({
    object: z.literal('organization.workload_identity_provider'),
    id: IdSchema,
    type: z.literal('oidc'),
    name: z.string(),
    description: z.string().nullable(),
    issuer: z.string(),
    audience: z.string(),
    enabled: z.boolean(),
    attribute_transformations: z.array(z.object({ attribute: z.string(), expression: z.string() })),
    verification: z.union([
      z.object({ type: z.literal('discovery'), discovery_url: z.string().nullable() }),
      z.object({ type: z.literal('uploaded_jwks'), jwks: z.record(z.string(), z.unknown()) }),
    ]),
    created_at: TimestampSchema,
    updated_at: TimestampSchema,
  })
  .openapi('WorkloadIdentityProvider');

export function providerObject(provider: Provider): z.infer<typeof ProviderSchema> {
  return {
    object: 'organization.workload_identity_provider',
    id: provider.id,
    type: 'oidc',
    name: provider.name,
    description: provider.description,
    issuer: provider.issuer,
    audience: provider.audience,
    enabled: provider.enabled === 1,
    attribute_transformations: [...transformationsOf(provider)],
    verification:
      provider.jwks === null
        ? { type: 'discovery', discovery_url: provider.discovery_url }
        : { type: 'uploaded_jwks', jwks: z.record(z.string(), z.unknown()).parse(JSON.parse(provider.jwks)) },
    created_at: seconds(provider.created_at),
    updated_at: seconds(provider.updated_at),
  };
}

const KeptTransformations = z.array(z.object({ attribute: z.string(), expression: z.string() }));

export function transformationsOf(provider: Pick<Provider, 'transformations'>): readonly Transformation[] {
  return KeptTransformations.parse(JSON.parse(provider.transformations));
}

/** Throws a 400 for a name that is derived twice, or an expression that is none. */
export async function checkTransformations(transformations: readonly Transformation[]): Promise<void> {
  const { expressionFlaw } = await import('./attributes.ts');
  const names = new Set<string>();
  for (const [at, { attribute, expression }] of transformations.entries()) {
    const param = `attribute_transformations[${at}]`;
    if (names.has(attribute)) {
      throw invalidParameter(
        `${param}.attribute`,
        `Invalid '${param}.attribute': ${attribute} is derived twice.`,
      );
    }
    names.add(attribute);
    const flaw = expressionFlaw(expression);
    if (flaw !== null)
      throw invalidParameter(`${param}.expression`, `Invalid '${param}.expression': ${flaw}.`);
  }
}

/** What verifies an issuer's tokens, checked. Throws a 400 that names the field. */
export function checkedVerification(
  asked: z.infer<typeof VerificationSchema>,
  issuer: string,
  outgoing: Pick<Outgoing, 'flaw'>,
): Verification {
  if (asked.type === 'uploaded_jwks') {
    return { type: 'uploaded_jwks', keys: uploadedKeys(asked.jwks, 'verification.jwks') };
  }
  const { discovery_url: discoveryUrl } = asked;
  const [param, url] =
    discoveryUrl === null
      ? (['issuer', issuer] as const)
      : (['verification.discovery_url', discoveryUrl] as const);
  const flaw = URL.canParse(url) ? outgoing.flaw(url) : 'It is not an address: use https://….';
  if (flaw !== null) throw invalidParameter(param, `Invalid '${param}': ${flaw}`);
  // OpenID Connect Discovery 1.0 section 3: an issuer has neither a query nor a fragment.
  if (discoveryUrl === null && /[?#]/.test(issuer)) {
    throw invalidParameter('issuer', "Invalid 'issuer': an issuer's address has no query and no fragment.");
  }
  return { type: 'discovery', discoveryUrl };
}

const MatcherName = z.string().min(1, 'must have a name').max(256);
const MatcherValue = z.union([z.string().min(1, 'must not be empty').max(2048), z.boolean(), z.number()]);

export const MatchersSchema = z
  .record(MatcherName, MatcherValue)
  .refine((matchers) => Object.keys(matchers).length > 0, 'must name at least one attribute')
  .refine(
    (matchers) => Object.keys(matchers).length <= MATCHERS_MAX,
    `must name at most ${MATCHERS_MAX} attributes`,
  )
  .openapi({ description: `Claims, or ${DERIVED}… attributes, and the exact values that they must have.` });

export const PermissionsSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('service_account_default') }),
  z.strictObject({
    type: z.literal('restricted'),
    scopes: ScopesSchema.min(1, 'must name at least one scope'),
  }),
]);

export const RuleBody = z.strictObject({
  project_id: ProjectIdSchema,
  service_account_id: IdSchema,
  attribute_matchers: MatchersSchema,
  name: NameSchema.nullable().default(null),
  description: DescriptionSchema.nullable().default(null),
  enabled: z.boolean().default(true),
  permissions: PermissionsSchema.default({ type: 'service_account_default' }),
});

export const RuleChangesBody = z.strictObject({
  attribute_matchers: MatchersSchema.optional(),
  name: NameSchema.nullable().optional(),
  description: DescriptionSchema.nullable().optional(),
  enabled: z.boolean().optional(),
  permissions: PermissionsSchema.optional(),
});

/** Null: what the service account may do. */
export function scopesOf(permissions: z.infer<typeof PermissionsSchema>): readonly string[] | null {
  return permissions.type === 'restricted' ? [...new Set(permissions.scopes)] : null;
}

export const RuleSchema = z
  .object({
    object: z.literal('organization.workload_identity_federation_rule'),
    id: IdSchema,
    workload_identity_provider_id: IdSchema,
    project_id: IdSchema,
    service_account_id: IdSchema,
    name: z.string().nullable(),
    description: z.string().nullable(),
    enabled: z.boolean(),
    attribute_matchers: z.record(z.string(), z.union([z.string(), z.boolean(), z.number()])),
    permissions: z.union([
      z.object({ type: z.literal('service_account_default') }),
      z.object({ type: z.literal('restricted'), scopes: z.array(z.string()) }),
    ]),
    created_at: TimestampSchema,
    updated_at: TimestampSchema,
  })
  .openapi('WorkloadIdentityFederationRule');

const KeptMatchers = z.record(z.string(), z.union([z.string(), z.boolean(), z.number()]));

export function matchersOf(rule: Pick<Rule, 'matchers'>): z.infer<typeof KeptMatchers> {
  return KeptMatchers.parse(JSON.parse(rule.matchers));
}

export function ruleObject(rule: Rule): z.infer<typeof RuleSchema> {
  return {
    object: 'organization.workload_identity_federation_rule',
    id: rule.id,
    workload_identity_provider_id: rule.provider_id,
    project_id: rule.project_id,
    service_account_id: rule.service_account_id,
    name: rule.name,
    description: rule.description,
    enabled: rule.enabled === 1,
    attribute_matchers: matchersOf(rule),
    permissions:
      rule.scopes === null
        ? { type: 'service_account_default' }
        : { type: 'restricted', scopes: [...parseList(rule.scopes)] },
    created_at: seconds(rule.created_at),
    updated_at: seconds(rule.updated_at),
  };
}
