// Who has which role: giving roles to users and groups, in the organization or in a project, and taking them away. Each
// verb does its row, its audit entry and its announcement inside the caller's `Store.write`.

import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import { newId, type ProjectId, type RoleAssignmentId } from '../platform/ids.ts';
import type { Db, Store, Tx } from '../store/store.ts';

export interface PrincipalRef {
  readonly type: 'user' | 'group';
  readonly id: string;
}

/** Which role, whose, and where: with `projectId` null in the organization. */
export interface Assignment {
  readonly projectId: ProjectId | null;
  readonly principal: PrincipalRef;
  readonly roleId: string;
}

export function assignmentsWhere(db: Db | Tx, by: Pick<Attribution, 'organizationId'>, at: ProjectId | null) {
  return db
    .selectFrom('role_assignments')
    .where('organization_id', '=', by.organizationId)
    .where('project_id', at === null ? 'is' : '=', at);
}

/** Gives the role; a role that is held already stays as it is. */
export async function assignRole(store: Store, tx: Tx, by: Attribution, order: Assignment): Promise<void> {
  const id = await placeRole(store, tx, by, order);
  if (id !== null) await tell(tx, by, 'role.assignment.created', id, order);
}

/** Gives the role without an audit entry, where another entry tells of it. Null if it was held already. */
export async function placeRole(
  store: Store,
  tx: Tx,
  by: Attribution,
  order: Assignment,
): Promise<RoleAssignmentId | null> {
  const { projectId, principal, roleId } = order;
  const held = await assignmentsWhere(tx, by, projectId)
    .select('id')
    .where('principal_id', '=', principal.id)
    .where('role_id', '=', roleId)
    .executeTakeFirst();
  if (held !== undefined) return null;
  const id = newId('role_assignment_');
  await tx
    .insertInto('role_assignments')
    .values({
      id,
      organization_id: by.organizationId,
      project_id: projectId,
      principal_type: principal.type,
      principal_id: principal.id,
      role_id: roleId,
      created_at: by.at,
    })
    .execute();
  await store.announce(tx, 'access', principal.id, by.at);
  return id;
}

/** Takes the role away. Returns whether it was held. */
export async function unassignRole(
  store: Store,
  tx: Tx,
  by: Attribution,
  order: Assignment,
): Promise<boolean> {
  const { projectId, principal, roleId } = order;
  const held = await assignmentsWhere(tx, by, projectId)
    .select('id')
    .where('principal_id', '=', principal.id)
    .where('role_id', '=', roleId)
    .executeTakeFirst();
  if (held === undefined) return false;
  await tx.deleteFrom('role_assignments').where('id', '=', held.id).execute();
  await tell(tx, by, 'role.assignment.deleted', held.id, order);
  await store.announce(tx, 'access', principal.id, by.at);
  return true;
}

/** Takes every role away that a principal has in a project; with `everywhere`, all it has at all. Returns how many. */
export async function unassignAll(
  store: Store,
  tx: Tx,
  by: Attribution,
  principal: PrincipalRef,
  where: ProjectId | 'everywhere',
): Promise<number> {
  let query = tx
    .selectFrom('role_assignments')
    .selectAll()
    .where('organization_id', '=', by.organizationId)
    .where('principal_id', '=', principal.id);
  if (where !== 'everywhere') query = query.where('project_id', '=', where);
  const held = await query.execute();
  for (const { id, project_id, role_id } of held) {
    await tx.deleteFrom('role_assignments').where('id', '=', id).execute();
    // The column holds what newId made, or null.
    const order = { projectId: project_id as ProjectId | null, principal, roleId: role_id };
    await tell(tx, by, 'role.assignment.deleted', id, order);
  }
  if (held.length > 0) await store.announce(tx, 'access', principal.id, by.at);
  return held.length;
}

async function tell(
  tx: Tx,
  by: Attribution,
  type: 'role.assignment.created' | 'role.assignment.deleted',
  id: string,
  { projectId, principal, roleId }: Assignment,
): Promise<void> {
  await append(tx, {
    by,
    projectId,
    type,
    payload: {
      id,
      principal_id: principal.id,
      principal_type: principal.type,
      resource_id: projectId ?? by.organizationId,
      resource_type: projectId === null ? 'api.organization' : 'api.project',
      role_id: roleId,
    },
  });
}
