// Entries as the published API shows them: the event types that it has, each with the fields that it has for that type
// (AuditLogListResponse of the official SDK), and nothing beside them. What keygate keeps beyond that (what was before,
// addresses of keys' callers, its own event types) is shown by keygate's own route.

import { z } from 'zod';
import type { AuditTable } from '../store/schema.ts';

const text = z.string().optional().catch(undefined);
const number = z.number().optional().catch(undefined);
const texts = z.array(z.string()).optional().catch(undefined);
const group = <S extends z.ZodRawShape>(shape: S) => z.object(shape).optional().catch(undefined);
const anything = z.unknown().optional();

const id = { id: text };
const named = { ...id, name: text };
const role = { role: text };
const list = z.array(z.object(named)).optional().catch(undefined);
const assignment = {
  ...id,
  principal_id: text,
  principal_type: text,
  resource_id: text,
  resource_type: text,
};
const mapping = { ...id, identity_provider_id: text };
const failure = { error_code: text, error_message: text };

/** Of every published type that this server may write: its details. */
const DETAILS: Readonly<Record<string, z.ZodObject>> = {
  'api_key.created': z.object({ ...id, data: group({ scopes: texts }) }),
  'api_key.updated': z.object({
    ...id,
    changes_requested: group({ scopes: texts, expires_in_seconds: number }),
  }),
  'api_key.deleted': z.object(id),
  'certificate.created': z.object(named),
  'certificate.updated': z.object(named),
  'certificate.deleted': z.object({ ...named, certificate: text }),
  'certificates.activated': z.object({ certificates: list }),
  'certificates.deactivated': z.object({ certificates: list }),
  'external_key.registered': z.object({ ...id, data: anything }),
  'external_key.removed': z.object(id),
  'external_storage.registered': z.object({ ...id, data: anything }),
  'external_storage.removed': z.object(id),
  'group.created': z.object({ ...id, data: group({ group_name: text }) }),
  'group.updated': z.object({ ...id, changes_requested: group({ group_name: text }) }),
  'group.deleted': z.object(id),
  'invite.sent': z.object({ ...id, data: group({ email: text, role: text }) }),
  'invite.accepted': z.object(id),
  'invite.deleted': z.object(id),
  'ip_allowlist.created': z.object({ ...named, allowed_ips: texts }),
  'ip_allowlist.updated': z.object({ ...id, allowed_ips: texts }),
  'ip_allowlist.deleted': z.object({ ...named, allowed_ips: texts }),
  'ip_allowlist.config.activated': z.object({ configs: list }),
  'ip_allowlist.config.deactivated': z.object({ configs: list }),
  'login.succeeded': z.object({}),
  'login.failed': z.object(failure),
  'logout.succeeded': z.object({}),
  'logout.failed': z.object(failure),
  'organization.updated': z.object({
    ...id,
    changes_requested: group({
      title: text,
      name: text,
      description: text,
      api_call_logging: text,
      api_call_logging_project_ids: text,
      threads_ui_visibility: text,
      usage_dashboard_visibility: text,
    }),
  }),
  'project.created': z.object({ ...id, data: group({ name: text, title: text }) }),
  'project.updated': z.object({ ...id, changes_requested: group({ title: text }) }),
  'project.archived': z.object(id),
  'project.deleted': z.object(id),
  'rate_limit.updated': z.object({
    ...id,
    changes_requested: group({
      max_requests_per_1_minute: number,
      max_tokens_per_1_minute: number,
      max_images_per_1_minute: number,
      max_audio_megabytes_per_1_minute: number,
      max_requests_per_1_day: number,
      batch_1_day_max_input_tokens: number,
    }),
  }),
  'rate_limit.deleted': z.object(id),
  'role.created': z.object({
    ...id,
    role_name: text,
    permissions: texts,
    resource_id: text,
    resource_type: text,
  }),
  'role.updated': z.object({
    ...id,
    changes_requested: group({
      role_name: text,
      description: text,
      metadata: anything,
      permissions_added: texts,
      permissions_removed: texts,
      resource_id: text,
      resource_type: text,
    }),
  }),
  'role.deleted': z.object(id),
  'role.assignment.created': z.object(assignment),
  'role.assignment.deleted': z.object(assignment),
  'scim.enabled': z.object(id),
  'scim.disabled': z.object(id),
  'service_account.created': z.object({ ...id, data: group(role) }),
  'service_account.updated': z.object({ ...id, changes_requested: group(role) }),
  'service_account.deleted': z.object(id),
  'user.added': z.object({ ...id, data: group(role) }),
  'user.updated': z.object({ ...id, changes_requested: group(role) }),
  'user.deleted': z.object(id),
  'workload_identity_provider.created': z.object({ ...id, data: anything }),
  'workload_identity_provider.updated': z.object({ ...id, changes_requested: anything }),
  'workload_identity_provider.deleted': z.object(named),
  'workload_identity_provider_mapping.created': z.object({ ...mapping, data: anything }),
  'workload_identity_provider_mapping.updated': z.object({ ...mapping, changes_requested: anything }),
  'workload_identity_provider_mapping.deleted': z.object({
    ...mapping,
    project_id: text,
    service_account_id: text,
  }),
};

export const PUBLISHED_TYPES: readonly string[] = Object.keys(DETAILS);

const Actor = z.union([
  z.object({
    type: z.literal('api_key'),
    api_key: z.object({ id: z.string(), type: z.enum(['user', 'service_account']), owner_id: z.string() }),
  }),
  z.object({
    type: z.literal('session'),
    session: z.object({
      user: z.object({ id: z.string(), email: z.string() }),
      ip_address: z.string().nullable(),
    }),
  }),
]);

/** What the API says of an entry, beyond the row itself. */
export interface Names {
  /** Projects' names by id. */
  readonly projects: ReadonlyMap<string, string>;
  /** Users' e-mail addresses by id. */
  readonly emails: ReadonlyMap<string, string>;
}

export function publishedEntry(row: AuditTable, names: Names) {
  const details = DETAILS[row.type]?.safeParse(withTitles(JSON.parse(row.payload)));
  const project = row.project_id;
  const name = project === null ? undefined : names.projects.get(project);
  return {
    id: row.id,
    type: row.type,
    effective_at: Math.floor(row.at / 1000),
    actor: publishedActor(row.actor, names),
    ...(project !== null && { project: { id: project, ...(name !== undefined && { name }) } }),
    // Of keygate's own types, which are shown only to whoever names them, the whole body.
    [row.type]: details?.success ? details.data : JSON.parse(row.payload),
  };
}

/** Who acted, in the published form; null for the server itself and for what that form has no words for. */
function publishedActor(column: string, { emails }: Names) {
  const parsed = Actor.safeParse(JSON.parse(column));
  if (!parsed.success) return null;
  if (parsed.data.type === 'session') {
    const { user, ip_address } = parsed.data.session;
    return {
      type: 'session' as const,
      session: { user, ...(ip_address !== null && { ip_address }) },
    };
  }
  const { id: key, type, owner_id } = parsed.data.api_key;
  const email = emails.get(owner_id);
  return {
    type: 'api_key' as const,
    api_key:
      type === 'user'
        ? { id: key, type, user: { id: owner_id, ...(email !== undefined && { email }) } }
        : { id: key, type, service_account: { id: owner_id } },
  };
}

/** The platform calls the name of a project or an organization its title; both words stand in its descriptions. */
function withTitles(payload: unknown): unknown {
  if (typeof payload !== 'object' || payload === null) return payload;
  const changes: unknown = Reflect.get(payload, 'changes_requested');
  if (typeof changes !== 'object' || changes === null || !('name' in changes)) return payload;
  return { ...payload, changes_requested: { ...changes, title: changes.name } };
}
