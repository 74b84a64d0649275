// Workload identity: which issuers are trusted, what their tokens must say, and what they then stand for. Types and
// pure rules.
//
// A provider is an issuer (OIDC) or the organization's own certificate authorities (X.509). A rule belongs to a
// provider and names one service account of one project; its matchers are attributes and the exact values that they
// must have, all of them. An attribute is a claim of the verified token by its name, or `openai.…`, which the
// provider's transformations derive and which a token can never bring along itself.

import { invalidParameter } from '../../access/validation.ts';
import { ApiError } from '../../platform/errors.ts';

/** The platform's bounds. */
export const PROVIDERS_MAX = 50;
export const RULES_MAX = 50;
export const TRANSFORMATIONS_MAX = 20;
/** Characters of one CEL expression. */
export const EXPRESSION_MAX = 4096;
export const MATCHERS_MAX = 20;
/** The longest life of an access token, in seconds: the platform's SDK takes no longer one. */
export const TOKEN_SECONDS_MAX = 3600;
/** The longest life of a subject token that is taken, in seconds, unless the provider says otherwise. */
export const SUBJECT_SECONDS_DEFAULT = 86_400;
export const SUBJECT_SECONDS_MAX = 7 * 86_400;

/** What transformations derive is under this name, and only that. */
export const DERIVED = 'openai.';

export type AttributeValue = string | number | boolean;
export type Matchers = Readonly<Record<string, AttributeValue>>;

export interface Transformation {
  readonly attribute: string;
  /** A CEL expression over `assertion`, the verified claims. */
  readonly expression: string;
}

export interface PublicJwk {
  readonly kid: string;
  readonly kty: string;
  readonly [name: string]: unknown;
}

export type Verification =
  | { readonly type: 'discovery'; readonly discoveryUrl: string | null }
  | { readonly type: 'uploaded_jwks'; readonly keys: readonly PublicJwk[] }
  | { readonly type: 'certificates' };

/** Whether every matcher finds its value, of its own type: `"1"`, `1` and `true` are three values. */
export function matches(matchers: Matchers, attributes: ReadonlyMap<string, unknown>): boolean {
  const wanted = Object.entries(matchers);
  return wanted.length > 0 && wanted.every(([name, value]) => attributes.get(name) === value);
}

/**
 * What anybody can get a token of: an issuer that serves many tenants, and its claims that tell them apart. A rule
 * on one must pin at least one of them, or every customer of that service could become the service account.
 */
const SHARED_ISSUERS: readonly { readonly host: string; readonly tenant: readonly string[] }[] = [
  {
    host: 'token.actions.githubusercontent.com',
    tenant: [
      'sub',
      'repository',
      'repository_id',
      'repository_owner',
      'repository_owner_id',
      'enterprise',
      'enterprise_id',
      'job_workflow_ref',
    ],
  },
  {
    host: 'gitlab.com',
    tenant: ['sub', 'namespace_id', 'namespace_path', 'project_id', 'project_path', 'user_id', 'user_login'],
  },
  { host: 'accounts.google.com', tenant: ['sub', 'email', 'azp', 'hd'] },
  { host: 'agent.buildkite.com', tenant: ['sub', 'organization_id', 'organization_slug', 'pipeline_id'] },
  { host: 'app.terraform.io', tenant: ['sub', 'terraform_organization_id', 'terraform_workspace_id'] },
  { host: 'oidc.vercel.com', tenant: ['sub', 'owner', 'owner_id', 'project_id'] },
  { host: 'api.pipelines.bitbucket.org', tenant: ['sub', 'workspaceUuid', 'repositoryUuid'] },
];

/** Throws when a rule would let every tenant of a shared issuer in. */
export function assertPinned(issuer: string, matchers: Matchers): void {
  const host = URL.canParse(issuer) ? new URL(issuer).hostname : '';
  const shared = SHARED_ISSUERS.find((known) => known.host === host);
  if (shared === undefined) return;
  const named = Object.keys(matchers);
  if (named.some((name) => name.startsWith(DERIVED) || shared.tenant.includes(name))) return;
  throw invalidParameter(
    'attribute_matchers',
    `Everybody can get a token of ${host}: name at least one of ${shared.tenant.join(', ')}, so that only yours match.`,
  );
}

/** 404 in the platform's words. */
export function noSuch(what: 'workload identity provider' | 'federation rule', id: string): ApiError {
  const shown = /^[0-9A-Za-z_-]{1,64}$/.test(id) ? `'${id}'` : 'with this id';
  return new ApiError(404, `The ${what} ${shown} was not found.`);
}
