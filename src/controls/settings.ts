// The settings of a project and of an organization: what an administrator may set, each with a name and a form of its
// own. In the store a setting is a row (owner, name, JSON value); it is parsed here, at the store's edge, so that code
// only meets typed values. A setting that is not stored is as it was before anybody set it.
//
// A new setting is one line in PROJECT_SETTINGS or ORGANIZATION_SETTINGS. What the road needs of it, in a form that is
// cheap to ask on every call, is made in controls.ts.

import { z } from 'zod';

export const ModelPermissions = z.strictObject({
  mode: z.enum(['allow_list', 'deny_list']),
  model_ids: z.array(z.string()),
});

/** Tools that run at the provider, by the platform's names. */
export const HOSTED_TOOLS = [
  'code_interpreter',
  'file_search',
  'image_generation',
  'mcp',
  'web_search',
] as const;
export type HostedTool = (typeof HOSTED_TOOLS)[number];

/** Those that are forbidden; all others are allowed. */
export const ForbiddenTools = z.array(z.enum(HOSTED_TOOLS));

export const OPTIONAL_TIERS = ['flex', 'fast', 'ultrafast'] as const;
export const ServiceTiers = z.strictObject({
  default: z.enum(['standard', 'fast', 'scale']),
  enabled_tiers: z.union([z.literal('all'), z.array(z.enum(OPTIONAL_TIERS))]),
});

export const RETENTIONS = [
  'zero_data_retention',
  'modified_abuse_monitoring',
  'enhanced_zero_data_retention',
  'enhanced_modified_abuse_monitoring',
] as const;
export const OrganizationRetention = z.enum(RETENTIONS);
/** `none`: as if the organization had set nothing. */
export const ProjectRetention = z.enum(['organization_default', 'none', ...RETENTIONS]);

/** Lists of addresses that may call; those that are active hold together: an address must be in one of them. */
export const IpAllowlists = z.array(
  z.strictObject({
    id: z.string(),
    name: z.string(),
    /** Canonical CIDR ranges. */
    allowed_ips: z.array(z.string()),
    active: z.boolean(),
    /** Milliseconds since the epoch. */
    created_at: z.int(),
  }),
);

export const PROJECT_SETTINGS = {
  model_permissions: ModelPermissions,
  forbidden_tools: ForbiddenTools,
  service_tiers: ServiceTiers,
  data_retention: ProjectRetention,
  ip_allowlists: IpAllowlists,
} as const;

export const ORGANIZATION_SETTINGS = {
  data_retention: OrganizationRetention,
  ip_allowlists: IpAllowlists,
} as const;

type Values<T extends Readonly<Record<string, z.ZodType>>> = { readonly [N in keyof T]?: z.output<T[N]> };

export type ProjectSettingName = keyof typeof PROJECT_SETTINGS;
export type ProjectSettings = Values<typeof PROJECT_SETTINGS>;
export type OrganizationSettingName = keyof typeof ORGANIZATION_SETTINGS;
export type OrganizationSettings = Values<typeof ORGANIZATION_SETTINGS>;

export interface StoredSetting {
  readonly name: string;
  /** JSON. */
  readonly value: string;
}

export function readProjectSettings(rows: readonly StoredSetting[]): ProjectSettings | null {
  return read(PROJECT_SETTINGS, rows);
}

export function readOrganizationSettings(rows: readonly StoredSetting[]): OrganizationSettings | null {
  return read(ORGANIZATION_SETTINGS, rows);
}

/**
 * Null where nothing is set. A name of a newer version is passed over; a value that is not what this version wrote is
 * a fault, and thrown: a control that cannot be read must not be taken for one that is not there.
 */
function read<T extends Readonly<Record<string, z.ZodType>>>(
  known: T,
  rows: readonly StoredSetting[],
): Values<T> | null {
  const values: Record<string, unknown> = {};
  for (const { name, value } of rows) {
    const setting = Object.hasOwn(known, name) ? known[name] : undefined;
    if (setting === undefined) continue;
    const parsed = setting.safeParse(JSON.parse(value));
    if (!parsed.success) throw new TypeError(`The stored setting ${name} cannot be read.`);
    values[name] = parsed.data;
  }
  // Each value was parsed by the schema of its name.
  return Object.keys(values).length === 0 ? null : (Object.freeze(values) as Values<T>);
}
