// Projects, users and service accounts as the Administration API shows them (docs/api-reference/projects, users,
// project-service-accounts).

import { z } from '@hono/zod-openapi';
import { IdSchema, seconds, secondsOrNull, TimestampSchema } from './http.ts';
import type { Project, ServiceAccount, User } from './model.ts';

export const ProjectSchema = z
  .object({
    object: z.literal('organization.project'),
    id: IdSchema,
    name: z.string(),
    created_at: TimestampSchema,
    archived_at: TimestampSchema.nullable(),
    status: z.enum(['active', 'archived']),
    external_key_id: z.string().nullable(),
  })
  .openapi('Project');

export function projectObject(project: Project): z.infer<typeof ProjectSchema> {
  return {
    object: 'organization.project',
    id: project.id,
    name: project.name,
    created_at: seconds(project.created_at),
    archived_at: secondsOrNull(project.archived_at),
    status: project.status,
    external_key_id: project.external_key_id,
  };
}

export const UserSchema = z
  .object({
    object: z.literal('organization.user'),
    id: IdSchema,
    name: z.string(),
    email: z.string(),
    role: z.enum(['owner', 'reader']),
    added_at: TimestampSchema,
    created: TimestampSchema,
    is_service_account: z.literal(false),
    is_scim_managed: z.literal(false),
    developer_persona: z.string().nullable(),
    technical_level: z.string().nullable(),
    user: z.object({ object: z.literal('user'), id: IdSchema, name: z.string(), email: z.string() }),
  })
  .openapi('User');

export function userObject(user: User): z.infer<typeof UserSchema> {
  const { id, name, email, role, developer_persona, technical_level } = user;
  const added = seconds(user.created_at);
  return {
    object: 'organization.user',
    id,
    name,
    email,
    role,
    added_at: added,
    created: added,
    is_service_account: false,
    is_scim_managed: false,
    developer_persona,
    technical_level,
    user: { object: 'user', id, name, email },
  };
}

export const ServiceAccountSchema = z
  .object({
    object: z.literal('organization.project.service_account'),
    id: IdSchema,
    name: z.string(),
    role: z.enum(['owner', 'member', 'none']),
    created_at: TimestampSchema,
  })
  .openapi('ProjectServiceAccount');

export function serviceAccountObject(account: ServiceAccount): z.infer<typeof ServiceAccountSchema> {
  return {
    object: 'organization.project.service_account',
    id: account.id,
    name: account.name,
    role: account.role,
    created_at: seconds(account.created_at),
  };
}
