// Keys as the Administration API shows them (docs/api-reference/project-api-keys, admin-api-keys), and as keygate's
// own routes show them, which say more.

import { z } from '@hono/zod-openapi';
import { IdSchema, seconds, secondsOrNull, TimestampSchema } from '../access/http.ts';
import { isGrantable, levelOf } from '../access/permission-names.ts';
import { invalidParameter } from '../access/validation.ts';
import { CnfSchema, cnfOf } from '../identity/proof/cnf.ts';
import { canonicalRange } from './addresses.ts';
import { EXPIRY_SECONDS_MAX, type IssuedKey } from './issue.ts';
import { ENVIRONMENTS } from './model.ts';
import { parseConfirmation, parseList } from './rows.ts';
import type { OwnedKey } from './store.ts';

/** An IP allowlist's length on the platform. */
const ADDRESSES_MAX = 50;
const LIST_MAX = 200;

/** Scopes of a project's key: by name, and of what a project grants. */
export const ScopesSchema = z
  .array(
    z
      .string()
      .max(128)
      .refine(isGrantable, 'must be a scope such as api.model.request or api.all.read')
      .refine(
        (name) => !isGrantable(name) || levelOf(name) === 'project',
        'must be a scope of a project: the organization is administered with an admin key',
      ),
  )
  .max(LIST_MAX)
  .openapi({ description: 'What the key may do; an empty list is everything that its owner may.' });

/** Scopes of an admin key: any. */
export const AdminScopesSchema = z
  .array(
    z.string().max(128).refine(isGrantable, 'must be a scope such as api.management.read or api.usage.read'),
  )
  .max(LIST_MAX)
  .openapi({ description: 'What the key may do; an empty list is everything that whoever asks may.' });

export const ModelsSchema = z
  .array(
    z
      .string()
      .regex(/^[!-~]+$/, 'must be a model name')
      .max(256),
  )
  .min(1, 'must name a model, or be left out for every model')
  .max(LIST_MAX)
  .openapi({ description: 'The models that the key may use; null is every model of the project.' });

export const AddressesSchema = z
  .array(z.string().max(64))
  .min(1, 'must name an address range, or be left out for every address')
  .max(ADDRESSES_MAX)
  .openapi({ description: 'CIDR ranges that the key may be used from; null is every address.' });

export const ExpirySchema = z
  .int()
  .min(1)
  .max(EXPIRY_SECONDS_MAX)
  .openapi({ description: 'Seconds until the key expires, from now: 1 to 31536000 (a year).' });

/** The ranges in canonical form, each once; 400 naming the entry that is none. */
export function canonicalRanges(ranges: readonly string[]): string[] {
  const canonical = ranges.map((range, at) => {
    const text = canonicalRange(range);
    if (text !== undefined) return text;
    const param = `addresses[${at}]`;
    throw invalidParameter(
      param,
      `Invalid '${param}': expected an address or a CIDR range such as 192.0.2.0/24.`,
    );
  });
  return [...new Set(canonical)];
}

const OwnerSchema = z.object({
  type: z.enum(['user', 'service_account']),
  user: z
    .object({
      id: z.string(),
      name: z.string(),
      email: z.string(),
      role: z.string(),
      created_at: TimestampSchema,
    })
    .optional(),
  service_account: z
    .object({ id: z.string(), name: z.string(), role: z.string(), created_at: TimestampSchema })
    .optional(),
});

export const ProjectApiKeySchema = z
  .object({
    object: z.literal('organization.project.api_key'),
    id: IdSchema,
    name: z.string(),
    redacted_value: z.string(),
    created_at: TimestampSchema,
    last_used_at: TimestampSchema.nullable(),
    expires_at: TimestampSchema.nullable(),
    owner_project_access: z.enum(['active', 'inactive']),
    owner: OwnerSchema,
  })
  .openapi('ProjectApiKey');

export function projectApiKey(key: OwnedKey): z.infer<typeof ProjectApiKeySchema> {
  return {
    object: 'organization.project.api_key',
    id: key.id,
    name: key.name,
    redacted_value: key.redacted,
    created_at: seconds(key.created_at),
    last_used_at: secondsOrNull(key.last_used_at),
    expires_at: secondsOrNull(key.expires_at),
    owner_project_access: key.owner_has_access === 1 ? 'active' : 'inactive',
    owner: ownerOf(key),
  };
}

/** Of a deleted owner the id is left; clients expect the other fields to be there. */
function ownerOf(key: OwnedKey): z.infer<typeof OwnerSchema> {
  if (key.owner_type === 'user') {
    return {
      type: 'user',
      user: {
        id: key.owner_id,
        name: key.user_name ?? '',
        email: key.user_email ?? '',
        role: key.owner_project_role ?? 'none',
        created_at: seconds(key.user_created_at ?? 0),
      },
    };
  }
  return {
    type: 'service_account',
    service_account: {
      id: key.owner_id,
      name: key.account_name ?? '',
      role: key.account_role ?? 'none',
      created_at: seconds(key.account_created_at ?? 0),
    },
  };
}

/** A key as keygate's own routes show it. */
export const KeygateKeySchema = ProjectApiKeySchema.extend({
  type: z.enum(['project', 'service_account', 'test']),
  environment: z.enum(ENVIRONMENTS),
  status: z.enum(['active', 'expired', 'revoked']),
  scopes: z.array(z.string()),
  models: z.array(z.string()).nullable(),
  addresses: z.array(z.string()).nullable(),
  revoked_at: TimestampSchema.nullable(),
  cnf: CnfSchema.nullable(),
}).openapi('KeygateApiKey');

export function keygateKey(key: OwnedKey, nowMs: number): z.infer<typeof KeygateKeySchema> {
  if (key.type === 'admin' || key.environment === null)
    throw new TypeError('An admin key belongs to no project.');
  const expired = key.expires_at !== null && key.expires_at <= nowMs;
  return {
    ...projectApiKey(key),
    type: key.type,
    environment: key.environment,
    status: key.revoked_at !== null ? 'revoked' : expired ? 'expired' : 'active',
    scopes: [...parseList(key.scopes)],
    models: key.models === null ? null : [...parseList(key.models)],
    addresses: key.addresses === null ? null : [...parseList(key.addresses)],
    revoked_at: secondsOrNull(key.revoked_at),
    cnf: cnfOf(key.confirmation === null ? null : parseConfirmation(key.confirmation)),
  };
}

export const ServiceAccountKeySchema = z
  .object({
    object: z.literal('organization.project.service_account.api_key'),
    id: IdSchema,
    value: z.string().openapi({ description: 'The key itself, shown this once.' }),
    name: z.string(),
    created_at: TimestampSchema,
    expires_at: TimestampSchema.nullable(),
  })
  .openapi('ServiceAccountApiKey');

export function serviceAccountKey({ key, value }: IssuedKey): z.infer<typeof ServiceAccountKeySchema> {
  return {
    object: 'organization.project.service_account.api_key',
    id: key.id,
    value,
    name: key.name,
    created_at: seconds(key.created_at),
    expires_at: secondsOrNull(key.expires_at),
  };
}

export const AdminApiKeySchema = z
  .object({
    object: z.literal('organization.admin_api_key'),
    id: IdSchema,
    name: z.string(),
    redacted_value: z.string(),
    created_at: TimestampSchema,
    last_used_at: TimestampSchema.nullable(),
    expires_at: TimestampSchema.nullable(),
    owner: z.object({
      type: z.literal('user'),
      object: z.literal('organization.user'),
      id: z.string(),
      name: z.string(),
      created_at: TimestampSchema,
      role: z.string(),
    }),
  })
  .openapi('AdminApiKey');

export function adminApiKey(key: OwnedKey): z.infer<typeof AdminApiKeySchema> {
  return {
    object: 'organization.admin_api_key',
    id: key.id,
    name: key.name,
    redacted_value: key.redacted,
    created_at: seconds(key.created_at),
    last_used_at: secondsOrNull(key.last_used_at),
    expires_at: secondsOrNull(key.expires_at),
    owner: {
      type: 'user',
      object: 'organization.user',
      id: key.owner_id,
      name: key.user_name ?? '',
      created_at: seconds(key.user_created_at ?? 0),
      role: key.user_role ?? 'none',
    },
  };
}

/** An admin key as keygate's own route shows it. */
export const KeygateAdminKeySchema = AdminApiKeySchema.extend({ scopes: z.array(z.string()) }).openapi(
  'KeygateAdminApiKey',
);

export function keygateAdminKey(key: OwnedKey): z.infer<typeof KeygateAdminKeySchema> {
  return { ...adminApiKey(key), scopes: [...parseList(key.scopes)] };
}
