// The tables, as Kysely sees them. Times are integers, milliseconds since the epoch; lists and objects are JSON
// text; a digest is 32 bytes. The migrations in migrations/ make these tables, the same on both databases.

import type { Generated } from 'kysely';
import type { AccessTables } from './schema-access.ts';
import type { AuditTables } from './schema-audit.ts';
import type { ControlsTables } from './schema-controls.ts';
import type { CreditTables } from './schema-credits.ts';
import type { FilesTables } from './schema-files.ts';
import type { IdentityTables } from './schema-identity.ts';
import type { LimitsTables } from './schema-limits.ts';
import type { MoneyTables } from './schema-money.ts';
import type { NotifyTables } from './schema-notify.ts';
import type { SecretsTables } from './schema-secrets.ts';
import type { UsageTables } from './schema-usage.ts';

export interface Schema
  extends AccessTables,
    AuditTables,
    ControlsTables,
    CreditTables,
    FilesTables,
    IdentityTables,
    LimitsTables,
    MoneyTables,
    NotifyTables,
    SecretsTables,
    UsageTables {
  meta: MetaTable;
  organizations: OrganizationTable;
  projects: ProjectTable;
  users: UserTable;
  service_accounts: ServiceAccountTable;
  api_keys: ApiKeyTable;
  changes: ChangeTable;
  audit_log: AuditTable;
  usage_segments: UsageSegmentTable;
  owned_objects: OwnedObjectTable;
}

/** Facts about this installation, by name. */
export interface MetaTable {
  name: string;
  value: string;
}

export interface OrganizationTable {
  id: string;
  name: string;
  created_at: number;
}

export interface ProjectTable {
  id: string;
  organization_id: string;
  name: string;
  status: 'active' | 'archived';
  environment: 'development' | 'staging' | 'production';
  is_default: 0 | 1;
  created_at: number;
  archived_at: number | null;
  /** The customer's key that its content is sealed with; null: the installation's root key. */
  external_key_id: string | null;
}

export interface UserTable {
  id: string;
  organization_id: string;
  name: string;
  email: string;
  /** `owner` if the predefined role of an owner is assigned to it directly. */
  role: 'owner' | 'reader';
  created_at: number;
  developer_persona: string | null;
  technical_level: string | null;
}

export interface ServiceAccountTable {
  id: string;
  organization_id: string;
  project_id: string;
  name: string;
  role: 'owner' | 'member' | 'none';
  created_at: number;
}

export interface ApiKeyTable {
  id: string;
  organization_id: string;
  /** Null for an admin key, which belongs to the organization. */
  project_id: string | null;
  type: 'project' | 'service_account' | 'admin' | 'test';
  digest: Uint8Array;
  redacted: string;
  name: string;
  owner_type: 'user' | 'service_account';
  owner_id: string;
  /** JSON list of scopes; `[]` is every scope (the platform's "All"). */
  scopes: string;
  /** JSON list of model names, or null for every model that the project may use. */
  models: string | null;
  /** JSON list of CIDR ranges, or null for every address. */
  addresses: string | null;
  created_at: number;
  expires_at: number | null;
  /** Written behind, at most once a minute a key. */
  last_used_at: number | null;
  revoked_at: number | null;
  /** What its presenter must prove: `dpop` or `certificate` and a thumbprint, or null. */
  confirmation: string | null;
}

/** What other nodes must read again: one row a change, in the change's own transaction, in commit order. */
export interface ChangeTable {
  seq: Generated<number>;
  kind:
    | 'api_key'
    | 'project'
    | 'organization'
    | 'user'
    | 'service_account'
    /** What a user, service account or group may do: its roles, or the groups that it is in. By its own id. */
    | 'access'
    | 'role'
    | 'budget'
    | 'credit_account'
    | 'price_list'
    | 'rate_limit'
    | 'batch'
    | 'workload_identity_provider'
    | 'federation_rule'
    | 'token_key'
    | 'session'
    | 'secret'
    | 'external_key'
    | 'external_storage';
  object_id: string;
  at: number;
}

/** The audit log: a hash chain. `hash` covers every other column and `previous_hash`. */
export interface AuditTable {
  seq: number;
  id: string;
  at: number;
  organization_id: string;
  project_id: string | null;
  type: string;
  /** JSON: who did it and from where. */
  actor: string;
  /** JSON: the object, and what changed, without secrets. */
  payload: string;
  previous_hash: string;
  hash: string;
}

/** A group of usage events as one durable record: src/spend/journal.ts says how the payload is laid out. */
export interface UsageSegmentTable {
  seq: Generated<number>;
  node: string;
  first_at: number;
  last_at: number;
  events: number;
  format: number;
  /** CRC-32 of the payload. */
  crc: number;
  payload: Uint8Array;
}

/** Objects that a provider keeps for a project (stored responses): looked up by (project, id), never by id. */
export interface OwnedObjectTable {
  project_id: string;
  id: string;
  kind: string;
  provider: string;
  created_at: number;
}
