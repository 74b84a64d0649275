// Which roles a user or group holds in one place (the organization, or a project): directly, and a user also by groups.

import type { OrganizationId } from '../platform/ids.ts';
import type { Db, Tx } from '../store/store.ts';
import { assignmentsWhere, type PrincipalRef } from './assignments.ts';
import { notFound } from './model.ts';
import { getRole, type Role, type RoleScope } from './roles.ts';

export interface HeldRole {
  readonly id: string;
  readonly role: Role;
  readonly direct: boolean;
  /** The groups by which a user holds it. */
  readonly groups: readonly string[];
  /** Who made the role, if it is custom and that user is still there. */
  readonly creator: { readonly id: string; readonly name: string; readonly email: string } | null;
}

/** Oldest assignment first. */
export async function heldRoles(
  db: Db | Tx,
  scope: RoleScope,
  principal: PrincipalRef,
): Promise<readonly HeldRole[]> {
  const groups = principal.type === 'user' ? await groupIdsOf(db, scope.organizationId, principal.id) : [];
  const rows = await assignmentsWhere(db, scope, scope.projectId)
    .select(['role_id', 'principal_id'])
    .where('principal_id', 'in', [principal.id, ...groups])
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  const held: HeldRole[] = [];
  for (const roleId of new Set(rows.map(({ role_id }) => role_id))) {
    const holders = rows.filter(({ role_id }) => role_id === roleId).map(({ principal_id }) => principal_id);
    const role = await getRole(db, scope, roleId);
    held.push({
      id: roleId,
      role,
      direct: holders.includes(principal.id),
      groups: holders.filter((id) => id !== principal.id),
      creator: await creatorOf(db, scope.organizationId, role),
    });
  }
  return held;
}

export async function heldRole(
  db: Db | Tx,
  scope: RoleScope,
  principal: PrincipalRef,
  roleId: string,
): Promise<HeldRole> {
  const held = (await heldRoles(db, scope, principal)).find(({ id }) => id === roleId);
  if (held === undefined) throw notFound('role assignment', roleId);
  return held;
}

async function groupIdsOf(db: Db | Tx, organizationId: OrganizationId, userId: string): Promise<string[]> {
  const rows = await db
    .selectFrom('group_members')
    .select('group_id')
    .where('organization_id', '=', organizationId)
    .where('member_id', '=', userId)
    .execute();
  return rows.map(({ group_id }) => group_id);
}

async function creatorOf(db: Db | Tx, organizationId: OrganizationId, { created_by }: Role) {
  if (created_by === null) return null;
  const user = await db
    .selectFrom('users')
    .select(['id', 'name', 'email'])
    .where('organization_id', '=', organizationId)
    .where('id', '=', created_by)
    .executeTakeFirst();
  return user ?? null;
}
