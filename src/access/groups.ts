// Groups: names for users (and service accounts) who are given roles, and budgets, together. Each verb does its rows,
// its audit entry and its announcements inside the caller's `Store.write`.

import { sql } from 'kysely';
import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import { newId, type OrganizationId } from '../platform/ids.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import { unassignAll } from './assignments.ts';
import { type Group, notFound } from './model.ts';
import { beyond, cut, type Page, type PageRequest, unknownAfter } from './page.ts';
import { invalidParameter } from './validation.ts';

/** Groups that one user or service account is in, at most: each is looked at for every call's budgets. */
export const GROUPS_OF_ONE_MAX = 50;

function findGroup(db: Db | Tx, organizationId: OrganizationId, id: string): Promise<Group | undefined> {
  return db
    .selectFrom('groups')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
}

export async function getGroup(db: Db | Tx, organizationId: OrganizationId, id: string): Promise<Group> {
  const group = await findGroup(db, organizationId, id);
  if (group === undefined) throw notFound('group', id);
  return group;
}

export async function listGroups(
  db: Db,
  organizationId: OrganizationId,
  page: PageRequest,
): Promise<Page<Group>> {
  const order = page.order ?? 'asc';
  let query = db.selectFrom('groups').selectAll().where('organization_id', '=', organizationId);
  if (page.after !== undefined) {
    const place = await findGroup(db, organizationId, page.after);
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('groups', place, order));
  }
  const rows = await query
    .orderBy('created_at', order)
    .orderBy('id', order)
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}

async function refuseTakenName(tx: Tx, by: Attribution, name: string, except = ''): Promise<void> {
  const taken = await tx
    .selectFrom('groups')
    .select('id')
    .where('organization_id', '=', by.organizationId)
    .where('name', '=', name)
    .where('id', '<>', except)
    .executeTakeFirst();
  if (taken !== undefined)
    throw invalidParameter('name', 'A group of this organization has this name already.');
}

export async function createGroup(store: Store, tx: Tx, by: Attribution, name: string): Promise<Group> {
  await refuseTakenName(tx, by, name);
  const group = {
    id: newId('group_'),
    organization_id: by.organizationId,
    name,
    created_at: by.at,
  } satisfies Group;
  await tx.insertInto('groups').values(group).execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'group.created',
    payload: { id: group.id, data: { group_name: name } },
  });
  await store.announce(tx, 'access', group.id, by.at);
  return group;
}

export async function renameGroup(tx: Tx, by: Attribution, id: string, name: string): Promise<Group> {
  const group = await getGroup(tx, by.organizationId, id);
  await refuseTakenName(tx, by, name, id);
  await tx
    .updateTable('groups')
    .set({ name })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'group.updated',
    payload: { id, changes_requested: { group_name: name }, before: { group_name: group.name } },
  });
  return { ...group, name };
}

/** Deletes the group: its members lose the roles that they had by it, at once. */
export async function deleteGroup(store: Store, tx: Tx, by: Attribution, id: string): Promise<void> {
  await getGroup(tx, by.organizationId, id);
  const members = await tx
    .selectFrom('group_members')
    .select('member_id')
    .where('group_id', '=', id)
    .execute();
  await tx.deleteFrom('group_members').where('group_id', '=', id).execute();
  await unassignAll(store, tx, by, { type: 'group', id }, 'everywhere');
  await tx
    .deleteFrom('groups')
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, { by, projectId: null, type: 'group.deleted', payload: { id } });
  await store.announce(tx, 'access', id, by.at);
  for (const { member_id } of members) await store.announce(tx, 'access', member_id, by.at);
}

/** Somebody in a group, as it is shown. */
export interface GroupMember {
  readonly id: string;
  readonly name: string;
  readonly email: string | null;
  readonly isServiceAccount: boolean;
  readonly created_at: number;
}

function membersOf(db: Db | Tx, groupId: string) {
  return db
    .selectFrom('group_members')
    .leftJoin('users', 'users.id', 'group_members.member_id')
    .leftJoin('service_accounts', 'service_accounts.id', 'group_members.member_id')
    .select(({ fn }) => [
      'group_members.member_id as id',
      'group_members.created_at',
      'group_members.member_type',
      'users.email',
      fn.coalesce('users.name', 'service_accounts.name', sql<string>`''`).as('name'),
    ])
    .where('group_members.group_id', '=', groupId);
}

type MemberRow = Awaited<ReturnType<ReturnType<typeof membersOf>['executeTakeFirstOrThrow']>>;

function asMember({ id, name, email, member_type, created_at }: MemberRow): GroupMember {
  return { id, name, email, isServiceAccount: member_type === 'service_account', created_at };
}

export async function getMember(
  db: Db | Tx,
  organizationId: OrganizationId,
  groupId: string,
  memberId: string,
): Promise<GroupMember> {
  await getGroup(db, organizationId, groupId);
  const member = await membersOf(db, groupId)
    .where('group_members.member_id', '=', memberId)
    .executeTakeFirst();
  if (member === undefined) throw notFound('user', memberId);
  return asMember(member);
}

export async function listMembers(
  db: Db,
  organizationId: OrganizationId,
  groupId: string,
  page: PageRequest,
): Promise<Page<GroupMember>> {
  await getGroup(db, organizationId, groupId);
  const order = page.order ?? 'asc';
  let query = membersOf(db, groupId);
  if (page.after !== undefined) {
    const place = await membersOf(db, groupId)
      .where('group_members.member_id', '=', page.after)
      .executeTakeFirst();
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('group_members', place, order, 'member_id'));
  }
  const rows = await query
    .orderBy('group_members.created_at', order)
    .orderBy('group_members.member_id', order)
    .limit(page.limit + 1)
    .execute();
  return cut(rows.map(asMember), page.limit);
}

/** Puts a user or service account of this organization into the group; who is in it stays. */
export async function addMember(
  store: Store,
  tx: Tx,
  by: Attribution,
  groupId: string,
  memberId: string,
): Promise<void> {
  await getGroup(tx, by.organizationId, groupId);
  const memberType = await typeOfMember(tx, by.organizationId, memberId);
  if (memberType === undefined) throw notFound('user', memberId);
  const groups = await tx
    .selectFrom('group_members')
    .select('group_id')
    .where('member_id', '=', memberId)
    .execute();
  if (groups.some(({ group_id }) => group_id === groupId)) return;
  if (groups.length >= GROUPS_OF_ONE_MAX) {
    throw invalidParameter('user_id', `Nobody can be in more than ${GROUPS_OF_ONE_MAX} groups.`);
  }
  await tx
    .insertInto('group_members')
    .values({
      organization_id: by.organizationId,
      group_id: groupId,
      member_type: memberType,
      member_id: memberId,
      created_at: by.at,
    })
    .execute();
  const payload = { id: groupId, data: { member_id: memberId, member_type: memberType } };
  await append(tx, { by, projectId: null, type: 'group.member.added', payload });
  await store.announce(tx, 'access', memberId, by.at);
}

async function typeOfMember(
  tx: Tx,
  organizationId: OrganizationId,
  id: string,
): Promise<'user' | 'service_account' | undefined> {
  for (const [table, type] of [
    ['users', 'user'],
    ['service_accounts', 'service_account'],
  ] as const) {
    const row = await tx
      .selectFrom(table)
      .select('id')
      .where('organization_id', '=', organizationId)
      .where('id', '=', id)
      .executeTakeFirst();
    if (row !== undefined) return type;
  }
  return undefined;
}

export async function removeMember(
  store: Store,
  tx: Tx,
  by: Attribution,
  groupId: string,
  memberId: string,
): Promise<void> {
  await getMember(tx, by.organizationId, groupId, memberId);
  await tx
    .deleteFrom('group_members')
    .where('group_id', '=', groupId)
    .where('member_id', '=', memberId)
    .execute();
  const payload = { id: groupId, data: { member_id: memberId } };
  await append(tx, { by, projectId: null, type: 'group.member.removed', payload });
  await store.announce(tx, 'access', memberId, by.at);
}

/** Whoever is being deleted leaves every group. The caller announces and audits the deletion. */
export async function leaveGroups(tx: Tx, memberId: string): Promise<void> {
  await tx.deleteFrom('group_members').where('member_id', '=', memberId).execute();
}
