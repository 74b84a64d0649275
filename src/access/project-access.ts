// Who is in a project: users and groups are, by the roles that they have there. Each verb does its rows, its audit
// entries and its announcements inside the caller's `Store.write`.

import { sql } from 'kysely';
import type { Attribution } from '../audit/model.ts';
import { ApiError } from '../platform/errors.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import { assignmentsWhere, assignRole, type PrincipalRef, unassignAll, unassignRole } from './assignments.ts';
import { notFound } from './model.ts';
import { beyond, cut, type Page, type PageRequest, unknownAfter } from './page.ts';
import { PREDEFINED_ROLES } from './permission-names.ts';
import { getRole, predefinedRoles, type Role } from './roles.ts';
import { invalidParameter } from './validation.ts';

export interface ProjectPlace {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId;
}

/** Somebody in a project. */
export interface ProjectMember {
  readonly id: string;
  readonly name: string;
  readonly email: string | null;
  /** The first role there. */
  readonly created_at: number;
  readonly role: string;
}

/** A project's role by its id, or a predefined one by its name; 400 for what is none. */
export async function projectRole(db: Db | Tx, place: ProjectPlace, wanted: string): Promise<Role> {
  const named = predefinedRoles(place).find(({ name }) => name === wanted);
  if (named !== undefined) return named;
  try {
    return await getRole(db, place, wanted);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    throw invalidParameter(
      'role',
      "Invalid 'role': expected owner, member, viewer, or the id of a role of this project.",
    );
  }
}

/** The users, or groups, that have a role of their own in the project, with the time of the first. */
function membersOf(db: Db | Tx, { organizationId, projectId }: ProjectPlace, type: PrincipalRef['type']) {
  const members = assignmentsWhere(db, { organizationId }, projectId)
    .where('principal_type', '=', type)
    .select(({ fn }) => ['principal_id as id', fn.min('created_at').as('created_at')])
    .groupBy('principal_id')
    .as('members');
  return db
    .selectFrom(members)
    .leftJoin('users', 'users.id', 'members.id')
    .leftJoin('groups', 'groups.id', 'members.id')
    .select(({ fn }) => [
      'members.id',
      'members.created_at',
      'users.email',
      fn.coalesce('users.name', 'groups.name', sql<string>`''`).as('name'),
    ]);
}

type MemberRow = Omit<ProjectMember, 'role'>;

async function withRole(db: Db | Tx, place: ProjectPlace, row: MemberRow): Promise<ProjectMember> {
  const rows = await assignmentsWhere(db, place, place.projectId)
    .select('role_id')
    .where('principal_id', '=', row.id)
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  const held = rows.map(({ role_id }) => role_id);
  // The strongest predefined one, as clients know those by name; else the first custom one's name.
  const predefined = predefinedRoles(place).find(({ id }) => held.includes(id));
  const role = predefined ?? (await getRole(db, place, held[0] ?? ''));
  return { ...row, created_at: Number(row.created_at), role: role.name };
}

export async function getProjectMember(
  db: Db | Tx,
  place: ProjectPlace,
  { type, id }: PrincipalRef,
): Promise<ProjectMember> {
  const row = await membersOf(db, place, type).where('members.id', '=', id).executeTakeFirst();
  if (row === undefined) throw notFound(type, id);
  return await withRole(db, place, row);
}

export async function listProjectMembers(
  db: Db,
  place: ProjectPlace,
  type: PrincipalRef['type'],
  page: PageRequest,
): Promise<Page<ProjectMember>> {
  const order = page.order ?? 'asc';
  let query = membersOf(db, place, type);
  if (page.after !== undefined) {
    const last = await membersOf(db, place, type).where('members.id', '=', page.after).executeTakeFirst();
    if (last === undefined) throw unknownAfter();
    query = query.where(beyond('members', last, order));
  }
  const rows = await query
    .orderBy('members.created_at', order)
    .orderBy('members.id', order)
    .limit(page.limit + 1)
    .execute();
  const { rows: shown, hasMore } = cut(rows, page.limit);
  const members: ProjectMember[] = [];
  for (const row of shown) members.push(await withRole(db, place, row));
  return { rows: members, hasMore };
}

/** Brings somebody into the project with this role; 400 if it is there already. */
export async function joinProject(
  store: Store,
  tx: Tx,
  by: Attribution,
  projectId: ProjectId,
  principal: PrincipalRef,
  roleId: string,
): Promise<ProjectMember> {
  const place = { organizationId: by.organizationId, projectId };
  const there = await membersOf(tx, place, principal.type)
    .where('members.id', '=', principal.id)
    .executeTakeFirst();
  if (there !== undefined) {
    throw invalidParameter(
      `${principal.type}_id`,
      `This ${principal.type} is in the project already: change its role instead.`,
    );
  }
  await assignRole(store, tx, by, { projectId, principal, roleId });
  return await getProjectMember(tx, place, principal);
}

/** Makes this the user's predefined role in the project; its custom ones stay. */
export async function changeProjectRole(
  store: Store,
  tx: Tx,
  by: Attribution,
  projectId: ProjectId,
  userId: string,
  roleId: string,
): Promise<ProjectMember> {
  const place = { organizationId: by.organizationId, projectId };
  const principal = { type: 'user', id: userId } as const;
  await getProjectMember(tx, place, principal);
  await assignRole(store, tx, by, { projectId, principal, roleId });
  for (const { id } of predefinedRoles(place)) {
    if (id !== roleId) await unassignRole(store, tx, by, { projectId, principal, roleId: id });
  }
  return await getProjectMember(tx, place, principal);
}

/** Takes somebody out of the project: keys that have no other way in stop at once. */
export async function leaveProject(
  store: Store,
  tx: Tx,
  by: Attribution,
  projectId: ProjectId,
  principal: PrincipalRef,
): Promise<void> {
  if ((await unassignAll(store, tx, by, principal, projectId)) === 0)
    throw notFound(principal.type, principal.id);
}

/** What invitations and older clients call a project's roles. */
export function predefinedProjectRole(name: 'owner' | 'member'): string {
  return name === 'owner' ? PREDEFINED_ROLES.projectOwner.id : PREDEFINED_ROLES.projectMember.id;
}
