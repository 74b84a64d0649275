// Roles and who has them as the Administration API shows them (docs/api-reference/roles, role-assignments).

import { z } from '@hono/zod-openapi';
import type { HeldRole } from './held-roles.ts';
import { IdSchema, secondsOrNull, TimestampSchema } from './http.ts';
import type { Role } from './roles.ts';

export const RoleSchema = z
  .object({
    object: z.literal('role'),
    id: IdSchema,
    name: z.string(),
    description: z.string().nullable(),
    permissions: z.array(z.string()),
    resource_type: z.enum(['api.organization', 'api.project']),
    predefined_role: z.boolean(),
  })
  .openapi('Role');

export function roleObject(role: Role): z.infer<typeof RoleSchema> {
  return { object: 'role', ...described(role) };
}

function described({ id, name, description, permissions, level, predefined }: Role) {
  return {
    id,
    name,
    description,
    permissions: [...permissions],
    resource_type: level === 'organization' ? ('api.organization' as const) : ('api.project' as const),
    predefined_role: predefined,
  };
}

export const HeldRoleSchema = RoleSchema.omit({ object: true })
  .extend({
    created_at: TimestampSchema.nullable(),
    updated_at: TimestampSchema.nullable(),
    created_by: z.string().nullable(),
    created_by_user_obj: z.record(z.string(), z.unknown()).nullable(),
    metadata: z.record(z.string(), z.unknown()).nullable(),
    assignment_sources: z
      .array(z.object({ principal_type: z.string(), principal_id: z.string() }))
      .nullable()
      .openapi({ description: 'The groups by which it is held; null: it is held directly only.' }),
  })
  .openapi('AssignedRole');

export function heldRoleObject({ role, groups, creator }: HeldRole): z.infer<typeof HeldRoleSchema> {
  return {
    ...described(role),
    created_at: secondsOrNull(role.created_at),
    updated_at: secondsOrNull(role.updated_at),
    created_by: role.created_by,
    created_by_user_obj: creator && { id: creator.id, name: creator.name, email: creator.email },
    metadata: role.predefined ? null : {},
    assignment_sources:
      groups.length === 0 ? null : groups.map((id) => ({ principal_type: 'group', principal_id: id })),
  };
}
