// Identifiers, branded so that one kind cannot be passed for another, and how each is made.

import { randomFillSync } from 'node:crypto';

declare const brand: unique symbol;
export type Brand<T, B extends string> = T & { readonly [brand]: B };

export type OrganizationId = Brand<string, 'OrganizationId'>;
export type ProjectId = Brand<string, 'ProjectId'>;
export type UserId = Brand<string, 'UserId'>;
export type ServiceAccountId = Brand<string, 'ServiceAccountId'>;
export type KeyId = Brand<string, 'KeyId'>;
export type AuditId = Brand<string, 'AuditId'>;
export type RequestId = Brand<string, 'RequestId'>;
export type BudgetId = Brand<string, 'BudgetId'>;
export type LeaseId = Brand<string, 'LeaseId'>;
export type SpendAlertId = Brand<string, 'SpendAlertId'>;
export type CreditGrantId = Brand<string, 'CreditGrantId'>;
export type AllowlistId = Brand<string, 'AllowlistId'>;
export type PaymentId = Brand<string, 'PaymentId'>;
export type SessionId = Brand<string, 'SessionId'>;
export type CertificateId = Brand<string, 'CertificateId'>;
export type WorkloadProviderId = Brand<string, 'WorkloadProviderId'>;
export type FederationRuleId = Brand<string, 'FederationRuleId'>;
export type RoleId = Brand<string, 'RoleId'>;
export type RoleAssignmentId = Brand<string, 'RoleAssignmentId'>;
export type GroupId = Brand<string, 'GroupId'>;
export type InviteId = Brand<string, 'InviteId'>;
export type SecretId = Brand<string, 'SecretId'>;
export type ExternalKeyId = Brand<string, 'ExternalKeyId'>;
export type ExternalStorageId = Brand<string, 'ExternalStorageId'>;
export type WebhookEndpointId = Brand<string, 'WebhookEndpointId'>;
export type EventId = Brand<string, 'EventId'>;
export type DeliveryId = Brand<string, 'DeliveryId'>;

export type FileId = Brand<string, 'FileId'>;
export type UploadId = Brand<string, 'UploadId'>;
export type UploadPartId = Brand<string, 'UploadPartId'>;
export type BatchId = Brand<string, 'BatchId'>;

interface IdKinds {
  'org-': OrganizationId;
  proj_: ProjectId;
  'user-': UserId;
  svc_acct_: ServiceAccountId;
  key_: KeyId;
  'audit_log-': AuditId;
  budget_: BudgetId;
  lease_: LeaseId;
  alert_: SpendAlertId;
  pay_: PaymentId;
  ipal_: AllowlistId;
  cert_: CertificateId;
  sess_: SessionId;
  'file-': FileId;
  upload_: UploadId;
  part_: UploadPartId;
  batch_: BatchId;
  wip_: WorkloadProviderId;
  wir_: FederationRuleId;
  grant_: CreditGrantId;
  role_: RoleId;
  role_assignment_: RoleAssignmentId;
  group_: GroupId;
  'invite-': InviteId;
  secret_: SecretId;
  extkey_: ExternalKeyId;
  extstorage_: ExternalStorageId;
  whe_: WebhookEndpointId;
  evt_: EventId;
  dlv_: DeliveryId;
}

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const POOL_BYTES = 8192;
const pool = Buffer.alloc(POOL_BYTES);
let used = POOL_BYTES;

/** `count` unbiased base62 characters from the system's generator: bytes of 248 and more are thrown away. */
export function randomBase62(count: number): string {
  let text = '';
  while (text.length < count) {
    if (used === POOL_BYTES) refill();
    const byte = pool[used] ?? 255;
    pool[used++] = 0;
    if (byte < 248) text += BASE62[byte % 62];
  }
  return text;
}

function refill(): void {
  randomFillSync(pool);
  used = 0;
}

/** A new identifier: its kind's prefix and 24 base62 characters (142 random bits). */
export function newId<P extends keyof IdKinds>(prefix: P): IdKinds[P] {
  // The one place where a plain string becomes a branded id of that kind.
  return (prefix + randomBase62(24)) as IdKinds[P];
}

// Calls of the same millisecond share the beginning of their ids.
let prefixMs = -1;
let prefix = '';

/**
 * `req_` and 32 hexadecimal digits, as the platform prints them. The first 12 are the time in milliseconds, so
 * that a call can be found again by its id alone; the other 20 are random.
 */
export function newRequestId(nowMs: number): RequestId {
  if (used + 10 > POOL_BYTES) refill();
  const random = pool.toString('hex', used, used + 10);
  used += 10;
  if (nowMs !== prefixMs) {
    prefixMs = nowMs;
    prefix = `req_${nowMs.toString(16).padStart(12, '0')}`;
  }
  return (prefix + random) as RequestId;
}

/** `lease_`, the time as 12 hexadecimal digits, and 20 random ones: what it covers can be found by its id alone. */
export function newLeaseId(nowMs: number): LeaseId {
  if (used + 10 > POOL_BYTES) refill();
  const random = pool.toString('hex', used, used + 10);
  used += 10;
  return `lease_${nowMs.toString(16).padStart(12, '0')}${random}` as LeaseId;
}

/** When the lease of this id began, in milliseconds since the epoch; undefined if it does not say. */
export function leaseIdTime(id: string): number | undefined {
  return /^lease_[0-9a-f]{32}$/.test(id) ? Number.parseInt(id.slice(6, 18), 16) : undefined;
}

/** When the call with this id began, in milliseconds since the epoch; undefined if it is not one of ours. */
export function requestIdTime(id: string): number | undefined {
  return /^req_[0-9a-f]{32}$/.test(id) ? Number.parseInt(id.slice(4, 16), 16) : undefined;
}
