// External keys: keys in a customer's own key service, which wrap the keys of projects' content. Types and fields are
// the platform's; `vault` is keygate's own beside them.

import { z } from 'zod';
import type { OrganizationId } from '../../platform/ids.ts';
import type { ExternalKeyTable } from '../../store/schema-secrets.ts';

const text = (form: RegExp, message: string) => z.string().max(2048, 'is too long').regex(form, message);
const word = text(
  /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/,
  'must be letters, digits, dots, dashes and underscores',
);
/** The organization's id, or one of its projects': checked against the store. */
const ours = text(/^[A-Za-z0-9_-]{1,128}$/, "must be the organization's id or that of one of its projects");
const ocid = (kind: string) =>
  text(
    new RegExp(`^ocid1\\.${kind}\\.[A-Za-z0-9_-]+(?:\\.[A-Za-z0-9_-]*){2,4}$`),
    `must be the OCID of a ${kind}`,
  );

/** One field after the other as the published API has them, without `name`, `type` and `purpose`. */
export const CONFIGS = {
  aws: z.strictObject({
    external_id: ours,
    kms_arn: text(
      /^arn:aws(?:-[a-z]+)*:kms:[a-z0-9-]+:\d{12}:(?:key\/[A-Za-z0-9-]+|alias\/[A-Za-z0-9/_-]+)$/,
      'must be the ARN of a KMS key or alias',
    ),
    role_arn: text(
      /^arn:aws(?:-[a-z]+)*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/,
      'must be the ARN of an IAM role',
    ),
  }),
  gcp: z.strictObject({
    audience: ours,
    kms_key_location: word,
    kms_key_name: word,
    kms_key_ring_name: word,
    kms_project_id: text(/^[a-z0-9:.-]{1,64}$/, "must be a Google Cloud project's id"),
    workload_identity_pool_id: word,
    workload_identity_project_number: text(/^\d{1,20}$/, 'must be a number'),
    workload_identity_provider_id: word,
    kms_key_version: text(/^\d{1,10}$/, "must be a key version's number").optional(),
  }),
  azure: z.strictObject({
    key_name: text(/^[A-Za-z0-9-]{1,127}$/, 'must be letters, digits and dashes'),
    tenant_id: z.guid('must be a UUID'),
    vault_uri: text(
      /^https:\/\/[A-Za-z0-9.-]+(?::\d{1,5})?\/?$/,
      'must be the https:// address of a key vault',
    ),
    key_version: text(/^[0-9a-f]{32}$/i, 'must be 32 hexadecimal digits').optional(),
  }),
  oci: z.strictObject({
    key_ocid: ocid('key'),
    region: text(/^[a-z]{2}-[a-z]+-\d{1,2}$/, 'must be a region such as eu-frankfurt-1'),
    vault_ocid: ocid('vault'),
    key_version_ocid: ocid('keyversion').optional(),
  }),
  vault: z.strictObject({ key_name: word, mount: word.default('transit') }),
} as const;

export type ExternalKeyType = keyof typeof CONFIGS;
type ConfigOf<T extends ExternalKeyType> = z.output<(typeof CONFIGS)[T]>;
/** What leads to a key, by its type. */
export type KeyLocation = {
  readonly [T in ExternalKeyType]: { readonly type: T; readonly config: ConfigOf<T> };
}[ExternalKeyType];

export type Purpose = ExternalKeyTable['purpose'];

export interface ExternalKey {
  readonly id: string;
  readonly organizationId: OrganizationId;
  readonly name: string;
  readonly purpose: Purpose;
  readonly location: KeyLocation;
  readonly createdAt: number;
}

/** The version of a key is named where something is decrypted with exactly that one, and nowhere else. */
const VERSION_FIELD = { gcp: 'kms_key_version', azure: 'key_version', oci: 'key_version_ocid' } as const;

/** What is wrong with the version, as the published API has it: the field and a sentence; null if nothing is. */
export function versionFlaw(
  location: KeyLocation,
  purpose: Purpose,
): { field: string; message: string } | null {
  if (!(location.type in VERSION_FIELD)) return null;
  const field = VERSION_FIELD[location.type as keyof typeof VERSION_FIELD];
  const given = Object.hasOwn(location.config, field) && Reflect.get(location.config, field) !== undefined;
  if (purpose === 'ekm' && given) return { field, message: 'is not accepted for a key of purpose ekm' };
  if (purpose === 'psp_decryption' && !given) return { field, message: 'is required for psp_decryption' };
  return null;
}

/** A row of the store, its configuration parsed at this edge. */
export function readExternalKey(row: ExternalKeyTable): ExternalKey {
  return {
    id: row.id,
    organizationId: row.organization_id as OrganizationId,
    name: row.name,
    purpose: row.purpose,
    location: readLocation(row.type, JSON.parse(row.config)),
    createdAt: row.created_at,
  };
}

export function readLocation(type: ExternalKeyType, config: unknown): KeyLocation {
  switch (type) {
    case 'aws':
      return { type, config: CONFIGS.aws.parse(config) };
    case 'gcp':
      return { type, config: CONFIGS.gcp.parse(config) };
    case 'azure':
      return { type, config: CONFIGS.azure.parse(config) };
    case 'oci':
      return { type, config: CONFIGS.oci.parse(config) };
    case 'vault':
      return { type, config: CONFIGS.vault.parse(config) };
  }
}
