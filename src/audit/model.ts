// What the audit log says: the types of its entries, and who stands behind a change. Event types and bodies are the
// platform's where it has them (docs/api-reference/audit-logs), so that the same reader understands both.

import type { OrganizationId, ProjectId } from '../platform/ids.ts';

export type AuditEventType =
  | 'organization.created'
  /** keygate's own use of it: the usage tier that was reached, or pinned. */
  | 'organization.updated'
  | 'user.added'
  | 'ip_allowlist.created'
  | 'ip_allowlist.updated'
  | 'ip_allowlist.deleted'
  | 'ip_allowlist.config.activated'
  | 'ip_allowlist.config.deactivated'
  | 'user.updated'
  | 'user.deleted'
  | 'invite.sent'
  | 'invite.accepted'
  | 'invite.deleted'
  | 'group.created'
  | 'group.updated'
  | 'group.deleted'
  /** keygate's own: somebody was put into a group, or taken out. */
  | 'group.member.added'
  | 'group.member.removed'
  | 'role.created'
  | 'role.updated'
  | 'role.deleted'
  | 'role.assignment.created'
  | 'role.assignment.deleted'
  | 'project.created'
  | 'project.updated'
  | 'project.archived'
  | 'service_account.created'
  | 'service_account.updated'
  | 'service_account.deleted'
  | 'api_key.created'
  | 'api_key.updated'
  | 'api_key.deleted'
  | 'rate_limit.updated'
  | 'rate_limit.deleted'
  /** keygate's own: buckets were filled by hand. */
  | 'rate_limit.refilled'
  /** keygate's own: money that the organization paid was written down. */
  | 'payment.recorded'
  | 'spend_limit.updated'
  | 'spend_limit.deleted'
  | 'spend_alert.created'
  | 'spend_alert.updated'
  | 'spend_alert.deleted'
  /** keygate's own: limits of API keys, service accounts and end users, and with other windows. */
  | 'budget.created'
  | 'budget.updated'
  | 'budget.deleted'
  | 'workload_identity_provider.created'
  | 'workload_identity_provider.updated'
  | 'workload_identity_provider.deleted'
  /** A federation rule, which the platform's log calls a mapping. */
  | 'workload_identity_provider_mapping.created'
  | 'workload_identity_provider_mapping.updated'
  | 'workload_identity_provider_mapping.deleted'
  | 'certificate.created'
  | 'certificate.updated'
  | 'certificate.deleted'
  | 'certificates.activated'
  | 'certificates.deactivated'
  /** keygate's own: a proof of identity became an access token, or did not. */
  | 'access_token.issued'
  | 'access_token.refused'
  /** keygate's own: how the organization pays, and its prepaid credits. */
  | 'billing.updated'
  | 'credits.granted'
  | 'credits.revoked'
  | 'credits.expired'
  /** keygate's own: a price list was imported, or taken away. */
  | 'price_list.imported'
  | 'price_list.deleted'
  | 'external_key.registered'
  | 'external_key.removed'
  /** keygate's own: on one node, a project's external key may be used (again), or may not. */
  | 'external_key.held'
  | 'external_key.lost'
  | 'external_storage.registered'
  | 'external_storage.removed'
  /** keygate's own: a named secret was set, set anew or removed, and opened by a node for its own use. */
  | 'secret.created'
  | 'secret.updated'
  | 'secret.deleted'
  | 'secret.accessed'
  /** keygate's own: the root key was turned, or what is sealed was wrapped with the newest again. */
  | 'root_key.rotated'
  | 'root_key.rewrapped'
  /** Sign-in of a person; of a failed one, `data.error_code` and `data.error_message` say why. */
  | 'login.succeeded'
  | 'login.failed'
  | 'logout.succeeded'
  | 'logout.failed'
  /** keygate's own: a secret of this installation was opened or used by name, and for what (never its text). */
  | 'secret.accessed'
  /** keygate's own: spend passed a threshold, and a hard limit refused the first call of a window. */
  | 'spend_alert.triggered'
  | 'spend_limit.reached'
  /** keygate's own: who is told, and what could not be told. */
  | 'webhook_endpoint.created'
  | 'webhook_endpoint.updated'
  | 'webhook_endpoint.secret_rotated'
  | 'webhook_endpoint.deleted'
  | 'delivery.failed'
  | 'delivery.retried'
  /** keygate's own: the log itself was read out whole, or its oldest part was removed. */
  | 'audit_log.exported'
  | 'audit_log.pruned'
  /** keygate's own: a valid key was used on the Administration API without the right. */
  | 'administration.refused';

/** Who did it. `setup` is the server itself at its start, from its configuration; `server`, by its own rules later. */
export type AuditActor =
  | {
      readonly type: 'api_key';
      readonly api_key: {
        readonly id: string;
        readonly type: 'user' | 'service_account';
        readonly owner_id: string;
      };
      readonly ip_address: string | null;
    }
  /** A workload that presented a proof of identity; its subject once that was verified. */
  | {
      readonly type: 'workload';
      readonly provider_id: string;
      readonly subject: string | null;
      readonly ip_address: string | null;
    }
  /** A person who is signed in. */
  | {
      readonly type: 'session';
      readonly session: {
        readonly user: { readonly id: string; readonly email: string };
        readonly ip_address: string | null;
      };
    }
  /** Whoever accepts an invitation, by its token. */
  | {
      readonly type: 'invite';
      readonly invite: { readonly id: string; readonly email: string };
      readonly ip_address: string | null;
    }
  | { readonly type: 'setup' }
  | { readonly type: 'server' };

/** What every change carries with it: whose it is, who made it, and when (milliseconds since the epoch). */
export interface Attribution {
  readonly organizationId: OrganizationId;
  readonly actor: AuditActor;
  readonly at: number;
}

/** What an entry may hold. Never a secret: whoever appends passes ids, names and settings, and a test looks. */
export type AuditValue =
  | string
  | number
  | boolean
  | null
  | readonly AuditValue[]
  | { readonly [name: string]: AuditValue };

export interface AuditEntry {
  readonly by: Attribution;
  readonly projectId: ProjectId | null;
  readonly type: AuditEventType;
  /** The event's body: the object's id, and `data` or `changes_requested`. */
  readonly payload: { readonly id: string; readonly [name: string]: AuditValue };
}

/** The newest entry's place and hash. Kept outside the database, it also shows a log that was cut and rewritten. */
export interface ChainHead {
  readonly seq: number;
  readonly hash: string;
}

export type ChainVerdict =
  | {
      readonly ok: true;
      readonly entries: number;
      /** The last entry that retention removed; number 0: none was. */
      readonly base: ChainHead;
      readonly head: ChainHead;
    }
  | {
      readonly ok: false;
      /** Entries in order and unaltered before the first that is not. */
      readonly entries: number;
      /** The number of the first entry that is missing or wrong. */
      readonly seq: number;
      readonly problem: string;
    };
