// External storage: a customer's bucket that keeps a project's content in place of keygate's own store. Types and fields
// are the platform's.

import { z } from 'zod';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { ExternalStorageTable } from '../store/schema-secrets.ts';

const text = (form: RegExp, message: string) => z.string().max(512, 'is too long').regex(form, message);
const word = text(
  /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/,
  'must be letters, digits, dots, dashes and underscores',
);
const bucket = text(/^[a-z0-9][a-z0-9._-]{1,221}[a-z0-9]$/, "must be a bucket's name");

export const PROVIDERS = {
  aws: z.strictObject({
    bucket,
    role_arn: text(
      /^arn:aws(?:-[a-z]+)*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/,
      'must be the ARN of an IAM role',
    ),
  }),
  azure: z.strictObject({
    account_name: text(/^[a-z0-9]{3,24}$/, "must be a storage account's name"),
    container: text(/^[a-z0-9](?:-?[a-z0-9]){2,62}$/, "must be a container's name"),
    resource_group: word,
    subscription_id: z.guid('must be a UUID'),
    tenant_id: z.guid('must be a UUID'),
  }),
  gcp: z.strictObject({
    bucket,
    workload_identity_pool_id: word,
    workload_identity_project_number: text(/^\d{1,20}$/, 'must be a number'),
    workload_identity_provider_id: word,
  }),
  oci: z.strictObject({
    bucket: word,
    region: text(/^[a-z]{2}-[a-z]+-\d{1,2}$/, 'must be a region such as eu-frankfurt-1'),
    tenancy_ocid: text(/^ocid1\.tenancy\.[A-Za-z0-9_.-]+$/, 'must be the OCID of a tenancy'),
  }),
} as const;

export type ProviderType = keyof typeof PROVIDERS;
export type StorageLocation = {
  readonly [T in ProviderType]: { readonly type: T; readonly config: z.output<(typeof PROVIDERS)[T]> };
}[ProviderType];

export interface ExternalStorage {
  readonly id: string;
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId;
  readonly location: StorageLocation;
  readonly region: string;
  readonly status: ExternalStorageTable['status'];
  readonly createdAt: number;
}

export function readLocation(type: ProviderType, config: unknown): StorageLocation {
  switch (type) {
    case 'aws':
      return { type, config: PROVIDERS.aws.parse(config) };
    case 'azure':
      return { type, config: PROVIDERS.azure.parse(config) };
    case 'gcp':
      return { type, config: PROVIDERS.gcp.parse(config) };
    case 'oci':
      return { type, config: PROVIDERS.oci.parse(config) };
  }
}

/** A row of the store, its configuration parsed at this edge. */
export function readStorage(row: ExternalStorageTable): ExternalStorage {
  return {
    id: row.id,
    organizationId: row.organization_id as OrganizationId,
    projectId: row.project_id as ProjectId,
    location: readLocation(row.type, JSON.parse(row.config)),
    region: row.region,
    status: row.status,
    createdAt: row.created_at,
  };
}

/** What the objects of a place have in common, whichever configuration leads there: reconnecting it finds them again. */
export function bucketOf({ type, config }: StorageLocation): string {
  return type === 'azure' ? `azure:${config.account_name}/${config.container}` : `${type}:${config.bucket}`;
}

const GEOGRAPHIES: readonly (readonly [RegExp, string])[] = [
  [/^(?:eu|europe|germany|france|norway|sweden|switzerland|poland|italy|spain)/i, 'EU'],
  [/^(?:uk)/i, 'GB'],
  [/^(?:us|northamerica|nam)/i, 'US'],
  [/^(?:ca)/i, 'CA'],
  [/^(?:ap-south-1|asia-south1|in-)/i, 'IN'],
  [/^(?:ap-northeast-1|asia-northeast1|jp)/i, 'JP'],
  [/^(?:ap-southeast-2|australia|au)/i, 'AU'],
];

/** Roughly where a region is; `unknown` where its name does not tell. */
export function geographyOf(region: string): string {
  return GEOGRAPHIES.find(([form]) => form.test(region))?.[1] ?? 'unknown';
}
