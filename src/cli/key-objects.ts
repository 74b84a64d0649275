// Keys as the API gives them, and where they live there: a project's by its id, the organization's admin keys apart.

import { z } from 'zod';
import { when } from './print.ts';
import { findProject, type Project } from './projects.ts';
import type { Server } from './server.ts';

const Owner = z.looseObject({
  type: z.string(),
  name: z.string().optional(),
  user: z.looseObject({ name: z.string().nullish() }).nullish(),
  service_account: z.looseObject({ name: z.string().nullish() }).nullish(),
});

export const Key = z.looseObject({
  id: z.string(),
  name: z.string().nullish(),
  redacted_value: z.string(),
  created_at: z.number(),
  expires_at: z.number().nullish(),
  last_used_at: z.number().nullish(),
  owner: Owner.nullish(),
  type: z.string().optional(),
  environment: z.string().optional(),
  scopes: z.array(z.string()).nullish(),
  models: z.array(z.string()).nullish(),
  addresses: z.array(z.string()).nullish(),
});

export type Key = z.infer<typeof Key>;

/** A key in the one reply that shows it. */
export const NewKey = z.looseObject({
  id: z.string(),
  name: z.string().nullish(),
  value: z.string(),
  expires_at: z.number().nullish(),
});

export type NewKey = z.infer<typeof NewKey>;

export const Deleted = z.looseObject({ id: z.string(), deleted: z.literal(true) });

export const ADMIN_KEYS = '/v1/organization/admin_api_keys';

export interface Where {
  /** Null: the organization's admin keys. */
  readonly project: Project | null;
  /** Reading: keygate's own form, which tells type, models and addresses too. */
  readonly read: string;
  /** Revoking: the platform's published path. */
  readonly revoke: string;
}

/** Where the keys of a command are: `--admin`, or a project. */
export async function whereKeys(server: Server, options: { admin?: true; project?: string }): Promise<Where> {
  if (options.admin) return { project: null, read: ADMIN_KEYS, revoke: ADMIN_KEYS };
  const project = await findProject(server, options.project);
  const id = encodeURIComponent(project.id);
  return {
    project,
    read: `/v1/keygate/projects/${id}/api_keys`,
    revoke: `/v1/organization/projects/${id}/api_keys`,
  };
}

export function typeOf(key: Key, admin: boolean): string {
  return admin
    ? 'admin'
    : (key.type?.replace('_', ' ') ??
        (key.owner?.type === 'service_account' ? 'service account' : 'project'));
}

export function ownerOf(key: Key): string {
  const { owner } = key;
  return owner?.service_account?.name ?? owner?.user?.name ?? owner?.name ?? owner?.type ?? '';
}

export function expiryOf(key: { readonly expires_at?: number | null | undefined }): string {
  return when(key.expires_at, 'never');
}
