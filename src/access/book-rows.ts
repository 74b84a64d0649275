// The queries of the book of access (book.ts): it serves every organization, so these name none.

import { parseList } from '../keys/rows.ts';
import type { Db } from '../store/store.ts';

const PAGE = 1000;

export interface BookAssignment {
  readonly principalId: string;
  readonly projectId: string | null;
  readonly roleId: string;
}

export interface BookMember {
  readonly memberId: string;
  readonly groupId: string;
}

export async function customRoles(
  db: Db,
  ids?: readonly string[],
): Promise<{ readonly id: string; readonly permissions: readonly string[] }[]> {
  let query = db.selectFrom('roles').select(['id', 'permissions']);
  if (ids !== undefined) query = query.where('id', 'in', ids);
  const rows = await query.execute();
  return rows.map(({ id, permissions }) => ({ id, permissions: parseList(permissions) }));
}

/** Every assignment, or these principals', in pages. */
export async function* assignmentsOf(
  db: Db,
  principals?: readonly string[],
): AsyncGenerator<BookAssignment[]> {
  for (let after = ''; ; ) {
    let query = db
      .selectFrom('role_assignments')
      .select(['id', 'principal_id as principalId', 'project_id as projectId', 'role_id as roleId'])
      .where('id', '>', after);
    if (principals !== undefined) query = query.where('principal_id', 'in', principals);
    const rows = await query.orderBy('id').limit(PAGE).execute();
    const last = rows.at(-1);
    if (last === undefined) return;
    yield rows;
    after = last.id;
  }
}

/** Every membership, or these members', in pages, each member's oldest first. */
export async function* membershipsOf(db: Db, members?: readonly string[]): AsyncGenerator<BookMember[]> {
  for (let after = ''; ; ) {
    // A page is a number of members, so that all groups of one come together.
    let ids = db.selectFrom('group_members').select('member_id').distinct().where('member_id', '>', after);
    if (members !== undefined) ids = ids.where('member_id', 'in', members);
    const page = await ids.orderBy('member_id').limit(PAGE).execute();
    const last = page.at(-1);
    if (last === undefined) return;
    yield await db
      .selectFrom('group_members')
      .select(['member_id as memberId', 'group_id as groupId'])
      .where(
        'member_id',
        'in',
        page.map(({ member_id }) => member_id),
      )
      .orderBy('created_at')
      .orderBy('group_id')
      .execute();
    after = last.member_id;
  }
}

/** Service accounts' roles: all that are not plain members, or these ones' whatever they are. */
export async function serviceAccountRoles(db: Db, ids?: readonly string[]) {
  const query = db.selectFrom('service_accounts').select(['id', 'role']);
  return await (ids === undefined
    ? query.where('role', '<>', 'member')
    : query.where('id', 'in', ids)
  ).execute();
}
