// Who may give a role: whoever administers the organization, any; everybody else only what they hold themselves there,
// so that nobody comes to more rights by giving them away. Putting somebody into a group gives that group's roles.

import { ApiError } from '../platform/errors.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Db, Tx } from '../store/store.ts';
import type { ServiceAccount } from './model.ts';
import { PREDEFINED_ROLES, rightsOf } from './permission-names.ts';
import type { CallerRights } from './permissions.ts';
import { permissionsOfRole } from './roles.ts';

/** Throws 403 if the caller may not give these permissions, in a project or (null) in the organization. */
export function assertMayGrant(
  caller: CallerRights,
  projectId: ProjectId | null,
  permissions: readonly string[],
): void {
  if (caller.organization.has('api.management.write')) return;
  const held = projectId === null ? caller.organization : caller.within(projectId);
  const missing = [...rightsOf(permissions)].find((name) => held?.has(name) !== true);
  if (missing === undefined) return;
  throw new ApiError(
    403,
    `Nobody can give rights that they do not have: this would give ${missing}. Ask an owner of the organization.`,
  );
}

/** Throws 403 if the caller may not give the roles that this group has. */
export async function assertMayJoin(
  db: Db | Tx,
  caller: CallerRights,
  organizationId: OrganizationId,
  groupId: string,
): Promise<void> {
  if (caller.organization.has('api.management.write')) return;
  const roles = await db
    .selectFrom('role_assignments')
    .select(['role_id', 'project_id'])
    .where('organization_id', '=', organizationId)
    .where('principal_id', '=', groupId)
    .execute();
  for (const { role_id, project_id } of roles) {
    // The column holds what newId made, or null.
    assertMayGrant(
      caller,
      project_id as ProjectId | null,
      await permissionsOfRole(db, organizationId, role_id),
    );
  }
}

/** What a key of a service account with this role may do. */
export function permissionsOfAccount(role: ServiceAccount['role']): readonly string[] {
  if (role === 'none') return [];
  return (role === 'owner' ? PREDEFINED_ROLES.projectOwner : PREDEFINED_ROLES.projectMember).permissions;
}
