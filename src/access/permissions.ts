// Who may do what on the control plane: one table of operations, each with the permissions of which any one allows it,
// and one function that reads it. What has no row is denied.
//
// A caller has its key's scopes and its owner's roles, and acts with what both allow (permission-names.ts says what a
// scope or a role grants): where the path names a project, within that project, else in the organization. The road's operations name their permission in src/gateway/operations.ts.

import { missingScope } from '../keys/errors.ts';
import { ApiError } from '../platform/errors.ts';
import { notFound } from './model.ts';
import type { Permission, Rights } from './permission-names.ts';

/** Any key that works may ask; the operation itself shows only what is the caller's own. */
const ANY_KEY = 'any key';
/** Without a key: what the request carries is its own proof. */
const NO_KEY = 'no key';
type Allowed = readonly [Permission, ...Permission[]];
/** With a project's own key, which has this right there. */
interface ProjectKeyRule {
  readonly projectKey: Permission;
}
export type Rule = typeof ANY_KEY | typeof NO_KEY | Allowed | ProjectKeyRule;

const ORGANIZATION_READ: Rule = ['api.management.read'];
const ORGANIZATION_WRITE: Rule = ['api.management.write'];
const PROJECT_READ: Allowed = ['api.management.read', 'api.organization.projects.read'];
const PROJECT_WRITE: Allowed = ['api.management.write', 'api.organization.projects.write'];
const KEYS_READ: Rule = [
  'api.management.read',
  'api.organization.projects.read',
  'api.organization.projects.api_keys.read',
];
/** A member makes and withdraws its own keys; that they are its own is checked where the key is known. */
const KEYS_WRITE: Rule = [
  'api.management.write',
  'api.organization.projects.write',
  'api.organization.projects.api_keys.write',
];
const ACCOUNTS_READ: Rule = ['api.management.read', 'api.organization.projects.service_accounts.read'];
const ACCOUNTS_WRITE: Rule = ['api.management.write', 'api.organization.projects.service_accounts.write'];
const ROLES_READ: Rule = ['api.roles.read', 'api.management.read'];
const ROLES_WRITE: Rule = ['api.roles.write', 'api.management.write'];
const PROJECT_ROLES_READ: Rule = ['api.roles.read', 'api.management.read', 'api.organization.projects.read'];
const PROJECT_ROLES_WRITE: Rule = [
  'api.roles.write',
  'api.management.write',
  'api.organization.projects.write',
];
const GROUPS_READ: Rule = ['api.groups.read', 'api.management.read'];
const GROUPS_WRITE: Rule = ['api.groups.write', 'api.management.write'];
/** Whoever switches certificates decides who gets in: the organization's owners, in its projects too. */
const CERTIFICATES_READ: Rule = ['api.mtls.read', 'api.management.read'];
const CERTIFICATES_WRITE: Rule = ['api.mtls.write', 'api.management.write'];
const WORKLOADS_READ: Rule = ['api.oidc.read', 'api.management.read'];
const WORKLOADS_WRITE: Rule = ['api.oidc.write', 'api.management.write'];
const USAGE: Rule = ['api.usage.read', 'api.management.read'];

const EXTERNAL_KEYS_READ: Rule = ['api.management.read', 'api.external_keys.read'];
const EXTERNAL_KEYS_WRITE: Rule = ['api.management.write', 'api.external_keys.write'];

const ORGANIZATION = '/v1/organization';
const PROJECT = `${ORGANIZATION}/projects/{project_id}`;
/** Roles of a project, and who has them, are not under the organization. */
const ROLES_OF = '/v1/projects/{project_id}';
const OURS = '/v1/keygate';
const PROVIDERS = `${ORGANIZATION}/workload_identity_providers`;
const PROVIDER = `${PROVIDERS}/{workload_identity_provider_id}`;
const OUR_PROJECT = `${OURS}/projects/{project_id}`;

/** `METHOD path-template` → any one of these permissions allows it. */
export const RULES: Readonly<Record<string, Rule>> = {
  // Projects
  // Every role has api.model.read: who does not administer sees the projects that it works in
  [`GET ${ORGANIZATION}/projects`]: ['api.management.read', 'api.model.read'],
  [`POST ${ORGANIZATION}/projects`]: ORGANIZATION_WRITE,
  [`GET ${PROJECT}`]: PROJECT_READ,
  [`POST ${PROJECT}`]: PROJECT_WRITE,
  [`POST ${PROJECT}/archive`]: ORGANIZATION_WRITE,

  [`GET ${OURS}/projects`]: ['api.management.read', 'api.model.read'],
  [`POST ${OURS}/projects`]: ORGANIZATION_WRITE,
  [`GET ${OUR_PROJECT}`]: PROJECT_READ,
  // What a project is for decides which credentials it may spend: that is not its own to say.
  [`POST ${OUR_PROJECT}`]: ORGANIZATION_WRITE,

  // Users
  [`GET ${ORGANIZATION}/users`]: ORGANIZATION_READ,
  [`GET ${ORGANIZATION}/users/{user_id}`]: ORGANIZATION_READ,
  [`POST ${ORGANIZATION}/users/{user_id}`]: ORGANIZATION_WRITE,
  [`DELETE ${ORGANIZATION}/users/{user_id}`]: ORGANIZATION_WRITE,
  [`POST ${OURS}/users`]: ORGANIZATION_WRITE,
  [`GET ${ORGANIZATION}/users/{user_id}/roles`]: ROLES_READ,
  [`POST ${ORGANIZATION}/users/{user_id}/roles`]: ROLES_WRITE,
  [`GET ${ORGANIZATION}/users/{user_id}/roles/{role_id}`]: ROLES_READ,
  [`DELETE ${ORGANIZATION}/users/{user_id}/roles/{role_id}`]: ROLES_WRITE,

  // Invitations
  [`GET ${ORGANIZATION}/invites`]: ORGANIZATION_READ,
  [`POST ${ORGANIZATION}/invites`]: ORGANIZATION_WRITE,
  [`GET ${ORGANIZATION}/invites/{invite_id}`]: ORGANIZATION_READ,
  [`DELETE ${ORGANIZATION}/invites/{invite_id}`]: ORGANIZATION_WRITE,
  [`POST ${OURS}/invites`]: ORGANIZATION_WRITE,
  [`POST ${OURS}/invites/{invite_id}/token`]: ORGANIZATION_WRITE,
  [`POST ${OURS}/invites/accept`]: NO_KEY,

  // Roles
  [`GET ${ORGANIZATION}/roles`]: ROLES_READ,
  [`POST ${ORGANIZATION}/roles`]: ROLES_WRITE,
  [`GET ${ORGANIZATION}/roles/{role_id}`]: ROLES_READ,
  [`POST ${ORGANIZATION}/roles/{role_id}`]: ROLES_WRITE,
  [`DELETE ${ORGANIZATION}/roles/{role_id}`]: ROLES_WRITE,
  [`GET ${ROLES_OF}/roles`]: PROJECT_ROLES_READ,
  [`POST ${ROLES_OF}/roles`]: PROJECT_ROLES_WRITE,
  [`GET ${ROLES_OF}/roles/{role_id}`]: PROJECT_ROLES_READ,
  [`POST ${ROLES_OF}/roles/{role_id}`]: PROJECT_ROLES_WRITE,
  [`DELETE ${ROLES_OF}/roles/{role_id}`]: PROJECT_ROLES_WRITE,
  [`GET ${ROLES_OF}/users/{user_id}/roles`]: PROJECT_ROLES_READ,
  [`POST ${ROLES_OF}/users/{user_id}/roles`]: PROJECT_ROLES_WRITE,
  [`GET ${ROLES_OF}/users/{user_id}/roles/{role_id}`]: PROJECT_ROLES_READ,
  [`DELETE ${ROLES_OF}/users/{user_id}/roles/{role_id}`]: PROJECT_ROLES_WRITE,
  [`GET ${ROLES_OF}/groups/{group_id}/roles`]: PROJECT_ROLES_READ,
  [`POST ${ROLES_OF}/groups/{group_id}/roles`]: PROJECT_ROLES_WRITE,
  [`GET ${ROLES_OF}/groups/{group_id}/roles/{role_id}`]: PROJECT_ROLES_READ,
  [`DELETE ${ROLES_OF}/groups/{group_id}/roles/{role_id}`]: PROJECT_ROLES_WRITE,

  // Who is in a project
  [`GET ${PROJECT}/users`]: PROJECT_READ,
  [`POST ${PROJECT}/users`]: PROJECT_WRITE,
  [`GET ${PROJECT}/users/{user_id}`]: PROJECT_READ,
  [`POST ${PROJECT}/users/{user_id}`]: PROJECT_WRITE,
  [`DELETE ${PROJECT}/users/{user_id}`]: PROJECT_WRITE,
  [`GET ${PROJECT}/groups`]: [...PROJECT_READ, 'api.groups.read'],
  [`POST ${PROJECT}/groups`]: PROJECT_WRITE,
  [`GET ${PROJECT}/groups/{group_id}`]: [...PROJECT_READ, 'api.groups.read'],
  [`DELETE ${PROJECT}/groups/{group_id}`]: PROJECT_WRITE,

  // Groups
  [`GET ${ORGANIZATION}/groups`]: GROUPS_READ,
  [`POST ${ORGANIZATION}/groups`]: GROUPS_WRITE,
  [`GET ${ORGANIZATION}/groups/{group_id}`]: GROUPS_READ,
  [`POST ${ORGANIZATION}/groups/{group_id}`]: GROUPS_WRITE,
  [`DELETE ${ORGANIZATION}/groups/{group_id}`]: GROUPS_WRITE,
  [`GET ${ORGANIZATION}/groups/{group_id}/roles`]: ROLES_READ,
  [`POST ${ORGANIZATION}/groups/{group_id}/roles`]: ROLES_WRITE,
  [`GET ${ORGANIZATION}/groups/{group_id}/roles/{role_id}`]: ROLES_READ,
  [`DELETE ${ORGANIZATION}/groups/{group_id}/roles/{role_id}`]: ROLES_WRITE,
  [`GET ${ORGANIZATION}/groups/{group_id}/users`]: GROUPS_READ,
  [`POST ${ORGANIZATION}/groups/{group_id}/users`]: GROUPS_WRITE,
  [`GET ${ORGANIZATION}/groups/{group_id}/users/{user_id}`]: GROUPS_READ,
  [`DELETE ${ORGANIZATION}/groups/{group_id}/users/{user_id}`]: GROUPS_WRITE,

  // Keys
  [`GET ${ORGANIZATION}/admin_api_keys`]: ORGANIZATION_READ,
  [`POST ${ORGANIZATION}/admin_api_keys`]: ORGANIZATION_WRITE,
  [`POST ${OURS}/admin_api_keys`]: ORGANIZATION_WRITE,
  [`GET ${ORGANIZATION}/admin_api_keys/{key_id}`]: ORGANIZATION_READ,
  [`DELETE ${ORGANIZATION}/admin_api_keys/{key_id}`]: ORGANIZATION_WRITE,
  [`GET ${PROJECT}/api_keys`]: KEYS_READ,
  [`GET ${PROJECT}/api_keys/{api_key_id}`]: KEYS_READ,
  [`POST ${PROJECT}/api_keys/{api_key_id}`]: KEYS_WRITE,
  [`DELETE ${PROJECT}/api_keys/{api_key_id}`]: KEYS_WRITE,
  [`GET ${OUR_PROJECT}/api_keys`]: KEYS_READ,
  [`POST ${OUR_PROJECT}/api_keys`]: KEYS_WRITE,
  [`GET ${OUR_PROJECT}/api_keys/{api_key_id}`]: KEYS_READ,
  [`GET ${OURS}/whoami`]: ANY_KEY,

  // Service accounts
  [`GET ${PROJECT}/service_accounts`]: ACCOUNTS_READ,
  [`POST ${PROJECT}/service_accounts`]: ACCOUNTS_WRITE,
  [`GET ${PROJECT}/service_accounts/{service_account_id}`]: ACCOUNTS_READ,
  [`POST ${PROJECT}/service_accounts/{service_account_id}`]: ACCOUNTS_WRITE,
  [`DELETE ${PROJECT}/service_accounts/{service_account_id}`]: ACCOUNTS_WRITE,
  [`POST ${PROJECT}/service_accounts/{service_account_id}/api_keys`]: ACCOUNTS_WRITE,

  // What a project may ask for, and what is kept of it: the last is the organization's promise to its customers
  [`GET ${PROJECT}/model_permissions`]: PROJECT_READ,
  [`POST ${PROJECT}/model_permissions`]: PROJECT_WRITE,
  [`DELETE ${PROJECT}/model_permissions`]: PROJECT_WRITE,
  [`GET ${PROJECT}/hosted_tool_permissions`]: PROJECT_READ,
  [`POST ${PROJECT}/hosted_tool_permissions`]: PROJECT_WRITE,
  [`GET ${PROJECT}/service_tier_settings`]: PROJECT_READ,
  [`POST ${PROJECT}/service_tier_settings`]: PROJECT_WRITE,
  [`GET ${ORGANIZATION}/data_retention`]: ORGANIZATION_READ,
  [`POST ${ORGANIZATION}/data_retention`]: ORGANIZATION_WRITE,
  [`GET ${PROJECT}/data_retention`]: PROJECT_READ,
  [`POST ${PROJECT}/data_retention`]: ORGANIZATION_WRITE,
  [`POST ${OUR_PROJECT}/end_users/pseudonym`]: PROJECT_READ,

  // Where calls may come from: its owners' alone, as on the platform
  [`GET ${OURS}/ip_allowlists`]: ORGANIZATION_READ,
  [`POST ${OURS}/ip_allowlists`]: ORGANIZATION_WRITE,
  [`GET ${OURS}/ip_allowlists/{allowlist_id}`]: ORGANIZATION_READ,
  [`POST ${OURS}/ip_allowlists/{allowlist_id}`]: ORGANIZATION_WRITE,
  [`DELETE ${OURS}/ip_allowlists/{allowlist_id}`]: ORGANIZATION_WRITE,
  [`POST ${OURS}/ip_allowlists/{allowlist_id}/activate`]: ORGANIZATION_WRITE,
  [`POST ${OURS}/ip_allowlists/{allowlist_id}/deactivate`]: ORGANIZATION_WRITE,
  [`GET ${OUR_PROJECT}/ip_allowlists`]: ORGANIZATION_READ,
  [`POST ${OUR_PROJECT}/ip_allowlists`]: ORGANIZATION_WRITE,
  [`GET ${OUR_PROJECT}/ip_allowlists/{allowlist_id}`]: ORGANIZATION_READ,
  [`POST ${OUR_PROJECT}/ip_allowlists/{allowlist_id}`]: ORGANIZATION_WRITE,
  [`DELETE ${OUR_PROJECT}/ip_allowlists/{allowlist_id}`]: ORGANIZATION_WRITE,
  [`POST ${OUR_PROJECT}/ip_allowlists/{allowlist_id}/activate`]: ORGANIZATION_WRITE,
  [`POST ${OUR_PROJECT}/ip_allowlists/{allowlist_id}/deactivate`]: ORGANIZATION_WRITE,

  // Usage and costs
  [`GET ${ORGANIZATION}/usage/completions`]: USAGE,
  [`GET ${ORGANIZATION}/usage/embeddings`]: USAGE,
  [`GET ${ORGANIZATION}/usage/moderations`]: USAGE,
  [`GET ${ORGANIZATION}/usage/images`]: USAGE,
  [`GET ${ORGANIZATION}/usage/audio_speeches`]: USAGE,
  [`GET ${ORGANIZATION}/usage/audio_transcriptions`]: USAGE,
  [`GET ${ORGANIZATION}/usage/web_search_calls`]: USAGE,
  [`GET ${ORGANIZATION}/usage/file_search_calls`]: USAGE,
  [`GET ${ORGANIZATION}/usage/vector_stores`]: USAGE,
  [`GET ${ORGANIZATION}/usage/code_interpreter_sessions`]: USAGE,
  [`GET ${ORGANIZATION}/usage/decisions`]: USAGE,
  [`GET ${ORGANIZATION}/costs`]: USAGE,
  [`GET ${OURS}/usage`]: USAGE,

  // Rate limits
  [`GET ${PROJECT}/rate_limits`]: PROJECT_READ,
  [`POST ${PROJECT}/rate_limits/{rate_limit_id}`]: PROJECT_WRITE,
  [`GET ${OURS}/organization/limits`]: ORGANIZATION_READ,
  [`POST ${OURS}/organization/limits`]: ORGANIZATION_WRITE,
  [`GET ${OUR_PROJECT}/limits`]: PROJECT_READ,
  [`POST ${OUR_PROJECT}/limits`]: PROJECT_WRITE,
  [`GET ${OUR_PROJECT}/end_users/limits`]: PROJECT_READ,
  [`POST ${OUR_PROJECT}/end_users/limits`]: PROJECT_WRITE,
  [`GET ${OUR_PROJECT}/service_accounts/{service_account_id}/limits`]: PROJECT_READ,
  [`POST ${OUR_PROJECT}/service_accounts/{service_account_id}/limits`]: PROJECT_WRITE,
  [`GET ${OUR_PROJECT}/api_keys/{api_key_id}/limits`]: PROJECT_READ,
  [`POST ${OUR_PROJECT}/api_keys/{api_key_id}/limits`]: PROJECT_WRITE,
  [`GET ${OURS}/organization/tier`]: ORGANIZATION_READ,
  [`POST ${OURS}/organization/tier`]: ORGANIZATION_WRITE,
  [`GET ${OURS}/organization/payments`]: ORGANIZATION_READ,
  [`POST ${OURS}/organization/payments`]: ORGANIZATION_WRITE,
  [`GET ${OURS}/limits`]: ORGANIZATION_READ,
  [`POST ${OURS}/limits/refill`]: ORGANIZATION_WRITE,
  [`GET ${OURS}/limits/explain/{request_id}`]: ORGANIZATION_READ,
  [`POST ${OURS}/limits/simulate`]: ORGANIZATION_READ,
  [`POST ${OURS}/limits/simulate/events`]: ORGANIZATION_READ,

  // Spend: whoever could raise a project's limit could spend the organization's money, so owners of a project look only
  [`GET ${ORGANIZATION}/spend_limit`]: ORGANIZATION_READ,
  [`POST ${ORGANIZATION}/spend_limit`]: ORGANIZATION_WRITE,
  [`DELETE ${ORGANIZATION}/spend_limit`]: ORGANIZATION_WRITE,
  [`GET ${PROJECT}/spend_limit`]: PROJECT_READ,
  [`POST ${PROJECT}/spend_limit`]: ORGANIZATION_WRITE,
  [`DELETE ${PROJECT}/spend_limit`]: ORGANIZATION_WRITE,
  [`GET ${ORGANIZATION}/spend_alerts`]: ORGANIZATION_READ,
  [`POST ${ORGANIZATION}/spend_alerts`]: ORGANIZATION_WRITE,
  [`GET ${ORGANIZATION}/spend_alerts/{alert_id}`]: ORGANIZATION_READ,
  [`POST ${ORGANIZATION}/spend_alerts/{alert_id}`]: ORGANIZATION_WRITE,
  [`DELETE ${ORGANIZATION}/spend_alerts/{alert_id}`]: ORGANIZATION_WRITE,
  [`GET ${PROJECT}/spend_alerts`]: PROJECT_READ,
  [`POST ${PROJECT}/spend_alerts`]: PROJECT_WRITE,
  [`GET ${PROJECT}/spend_alerts/{alert_id}`]: PROJECT_READ,
  [`POST ${PROJECT}/spend_alerts/{alert_id}`]: PROJECT_WRITE,
  [`DELETE ${PROJECT}/spend_alerts/{alert_id}`]: PROJECT_WRITE,
  [`GET ${OURS}/budgets`]: ORGANIZATION_READ,
  [`POST ${OURS}/budgets`]: ORGANIZATION_WRITE,
  [`GET ${OURS}/budgets/{budget_id}`]: ORGANIZATION_READ,
  [`POST ${OURS}/budgets/{budget_id}`]: ORGANIZATION_WRITE,
  [`DELETE ${OURS}/budgets/{budget_id}`]: ORGANIZATION_WRITE,

  // Credits, prices and what a call cost
  [`GET ${OURS}/credits`]: ORGANIZATION_READ,
  [`POST ${OURS}/credits`]: ORGANIZATION_WRITE,
  [`GET ${OURS}/credits/grants`]: ORGANIZATION_READ,
  [`POST ${OURS}/credits/grants`]: ORGANIZATION_WRITE,
  [`GET ${OURS}/credits/grants/{grant_id}`]: ORGANIZATION_READ,
  [`POST ${OURS}/credits/grants/{grant_id}/revoke`]: ORGANIZATION_WRITE,
  [`GET ${OURS}/prices`]: ORGANIZATION_READ,
  [`GET ${OURS}/prices/check`]: ORGANIZATION_READ,
  [`GET ${OURS}/prices/lists`]: ORGANIZATION_READ,
  [`POST ${OURS}/prices/import`]: ORGANIZATION_WRITE,
  [`DELETE ${OURS}/prices/lists/{list_id}`]: ORGANIZATION_WRITE,
  [`GET ${OURS}/usage/events`]: USAGE,

  // External keys
  [`GET ${ORGANIZATION}/external_keys`]: EXTERNAL_KEYS_READ,
  [`POST ${ORGANIZATION}/external_keys`]: EXTERNAL_KEYS_WRITE,
  [`GET ${ORGANIZATION}/external_keys/{external_key_id}`]: EXTERNAL_KEYS_READ,
  [`DELETE ${ORGANIZATION}/external_keys/{external_key_id}`]: EXTERNAL_KEYS_WRITE,
  [`POST ${ORGANIZATION}/external_keys/{external_key_id}/validate`]: EXTERNAL_KEYS_WRITE,
  [`POST ${OURS}/external_keys`]: EXTERNAL_KEYS_WRITE,
  [`GET ${OURS}/external_keys/{external_key_id}`]: EXTERNAL_KEYS_READ,

  // External storage
  [`GET ${ORGANIZATION}/external_storage`]: ORGANIZATION_READ,
  [`POST ${ORGANIZATION}/external_storage`]: ORGANIZATION_WRITE,
  [`GET ${ORGANIZATION}/external_storage/{external_storage_id}`]: ORGANIZATION_READ,
  [`DELETE ${ORGANIZATION}/external_storage/{external_storage_id}`]: ORGANIZATION_WRITE,
  [`POST ${ORGANIZATION}/external_storage/{external_storage_id}/validate`]: ORGANIZATION_WRITE,

  // Secrets: what holds a provider's account is the organization's alone, a project's own credentials included
  [`GET ${OURS}/secrets`]: ORGANIZATION_READ,
  [`GET ${OURS}/secrets/{name}`]: ORGANIZATION_READ,
  [`POST ${OURS}/secrets/{name}`]: ORGANIZATION_WRITE,
  [`DELETE ${OURS}/secrets/{name}`]: ORGANIZATION_WRITE,
  [`GET ${OUR_PROJECT}/credentials`]: PROJECT_READ,
  [`GET ${OUR_PROJECT}/credentials/{provider}`]: PROJECT_READ,
  [`POST ${OUR_PROJECT}/credentials/{provider}`]: ORGANIZATION_WRITE,
  [`DELETE ${OUR_PROJECT}/credentials/{provider}`]: ORGANIZATION_WRITE,
  [`GET ${OURS}/root_key`]: ORGANIZATION_READ,
  [`POST ${OURS}/root_key/rewrap`]: ORGANIZATION_WRITE,
  [`POST ${OURS}/root_key/rotate`]: ORGANIZATION_WRITE,

  // Certificates
  [`GET ${ORGANIZATION}/certificates`]: CERTIFICATES_READ,
  [`POST ${ORGANIZATION}/certificates`]: CERTIFICATES_WRITE,
  [`POST ${ORGANIZATION}/certificates/activate`]: CERTIFICATES_WRITE,
  [`POST ${ORGANIZATION}/certificates/deactivate`]: CERTIFICATES_WRITE,
  [`GET ${ORGANIZATION}/certificates/{certificate_id}`]: CERTIFICATES_READ,
  [`POST ${ORGANIZATION}/certificates/{certificate_id}`]: CERTIFICATES_WRITE,
  [`DELETE ${ORGANIZATION}/certificates/{certificate_id}`]: CERTIFICATES_WRITE,
  [`GET ${PROJECT}/certificates`]: CERTIFICATES_READ,
  [`POST ${PROJECT}/certificates/activate`]: CERTIFICATES_WRITE,
  [`POST ${PROJECT}/certificates/deactivate`]: CERTIFICATES_WRITE,

  // Workload identity
  [`GET ${PROVIDERS}`]: WORKLOADS_READ,
  [`POST ${PROVIDERS}`]: WORKLOADS_WRITE,
  [`GET ${PROVIDER}`]: WORKLOADS_READ,
  [`POST ${PROVIDER}`]: WORKLOADS_WRITE,
  [`DELETE ${PROVIDER}`]: WORKLOADS_WRITE,
  [`GET ${PROVIDER}/federation_rules`]: WORKLOADS_READ,
  [`POST ${PROVIDER}/federation_rules`]: WORKLOADS_WRITE,
  [`GET ${PROVIDER}/federation_rules/{workload_identity_federation_rule_id}`]: WORKLOADS_READ,
  [`POST ${PROVIDER}/federation_rules/{workload_identity_federation_rule_id}`]: WORKLOADS_WRITE,
  [`DELETE ${PROVIDER}/federation_rules/{workload_identity_federation_rule_id}`]: WORKLOADS_WRITE,

  // Audit log
  [`GET ${ORGANIZATION}/audit_logs`]: ['api.audit_logs.read'],
  [`GET ${OURS}/audit_logs`]: ['api.audit_logs.read'],
  [`GET ${OURS}/audit_logs/head`]: ['api.audit_logs.read'],
  [`GET ${OURS}/audit_logs/export`]: ['api.audit_logs.read'],

  // Webhooks
  'GET /v1/webhook_endpoints': { projectKey: 'api.webhooks.read' },
  'POST /v1/webhook_endpoints': { projectKey: 'api.webhooks.write' },
  'GET /v1/webhook_endpoints/{webhook_endpoint_id}': { projectKey: 'api.webhooks.read' },
  'POST /v1/webhook_endpoints/{webhook_endpoint_id}': { projectKey: 'api.webhooks.write' },
  'DELETE /v1/webhook_endpoints/{webhook_endpoint_id}': { projectKey: 'api.webhooks.write' },
  'POST /v1/webhook_endpoints/{webhook_endpoint_id}/rotate_secret': { projectKey: 'api.webhooks.write' },
  'POST /v1/webhook_endpoints/{webhook_endpoint_id}/test': { projectKey: 'api.webhooks.write' },
  'GET /v1/webhook_event_types': { projectKey: 'api.webhooks.read' },
  [`GET ${OURS}/webhooks`]: WORKLOADS_READ,
  [`POST ${OURS}/webhooks`]: WORKLOADS_WRITE,
  [`GET ${OURS}/webhooks/{webhook_endpoint_id}`]: WORKLOADS_READ,
  [`POST ${OURS}/webhooks/{webhook_endpoint_id}`]: WORKLOADS_WRITE,
  [`DELETE ${OURS}/webhooks/{webhook_endpoint_id}`]: WORKLOADS_WRITE,
  [`POST ${OURS}/webhooks/{webhook_endpoint_id}/rotate_secret`]: WORKLOADS_WRITE,
  [`POST ${OURS}/webhooks/{webhook_endpoint_id}/test`]: WORKLOADS_WRITE,
  [`GET ${OURS}/webhook_event_types`]: WORKLOADS_READ,
  [`GET ${OURS}/deliveries`]: WORKLOADS_READ,
  [`POST ${OURS}/deliveries/{delivery_id}/retry`]: WORKLOADS_WRITE,
  [`GET ${OURS}/workload_identity_providers`]: WORKLOADS_READ,
  [`POST ${OURS}/workload_identity_providers`]: WORKLOADS_WRITE,
  [`GET ${OURS}/workload_identity_providers/{workload_identity_provider_id}`]: WORKLOADS_READ,
  [`POST ${OURS}/workload_identity_providers/{workload_identity_provider_id}`]: WORKLOADS_WRITE,
  [`DELETE ${OURS}/workload_identity_providers/{workload_identity_provider_id}`]: WORKLOADS_WRITE,

  // Signing in
  [`GET ${OURS}/sign_in`]: NO_KEY,
  [`POST ${OURS}/sign_in`]: NO_KEY,
  [`POST ${OURS}/sign_in/device`]: NO_KEY,
  [`DELETE ${OURS}/session`]: ANY_KEY,

  // Keys that are bound to a client's own key
  [`POST ${OUR_PROJECT}/service_accounts/{service_account_id}/api_keys`]: ACCOUNTS_WRITE,
};

/** What a caller may do: what its key and its owner's roles both allow. */
export interface CallerRights {
  /** In the organization. */
  readonly organization: Rights;
  /**
   * Within this project, by roles there and by roles of the organization that count in every project; null where it
   * has no access. An id that is no project's is for the operation to find out.
   */
  within(projectId: string): Rights | null;
}

/**
 * Null if the table allows this operation to this caller, or the refusal: 403 naming the permission that is missing,
 * and 404 for a project that the caller has no access to, as if there were none.
 * @param operation `METHOD path-template`
 * @param projectId the project that the path names, if any
 */
export function refusalBy(
  operation: string,
  caller: CallerRights,
  projectId: string | undefined,
): ApiError | null {
  const rule = RULES[operation];
  if (rule === ANY_KEY || rule === NO_KEY) return null;
  if (rule === undefined || 'projectKey' in rule) return missingScope('api.management.write');
  if (projectId === undefined) {
    return rule.some((permission) => caller.organization.has(permission)) ? null : missingScope(rule[0]);
  }
  const within = caller.within(projectId);
  if (within === null) return notFound('project', projectId);
  return rule.some((permission) => within.has(permission)) ? null : missingScope(rule[0]);
}

/** The same for an operation that wants a project's key. */
export function refusalOfProjectKey(
  operation: string,
  { project, rights }: { readonly project: object | null; readonly rights: Rights },
): ApiError | null {
  const rule = RULES[operation];
  if (rule === undefined || typeof rule === 'string' || !('projectKey' in rule)) {
    return missingScope('api.management.write');
  }
  if (project === null)
    return new ApiError(403, "This operation wants a project's key, and this is an admin key.");
  return rights.has(rule.projectKey) ? null : missingScope(rule.projectKey);
}

/** Hono's `/v1/projects/:project_id` in the table's form. */
export function operationOf(method: string, routePath: string): string {
  return `${method} ${routePath.replace(/:([A-Za-z_]+)/g, '{$1}')}`;
}
