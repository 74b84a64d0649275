// What an existing set-up has after the update that brought roles: the owner still owns everything, and whoever had a
// key in a project still works there.

import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AccessBook } from '../../src/access/book.ts';
import { up } from '../../src/store/migrations/0080-access.ts';
import { migrate, STEPS } from '../../src/store/migrations/migrate.ts';
import { type StorePlace, stores } from '../store/stores.ts';

const NEW = ['invites', 'group_members', 'groups', 'role_assignments', 'roles'];

describe.each(stores)('an existing set-up on $kind', ({ kind, fresh }) => {
  let place: StorePlace;
  beforeEach(async () => {
    place = await fresh();
  });
  afterEach(() => place.remove());

  it('keeps its owners, and its readers in the projects in which they have keys that work', async () => {
    expect(STEPS['0080_access']).toBe(up);
    const { db } = await place.open();
    // Back to what there was before the step, with what people had then.
    for (const table of NEW) await db.schema.dropTable(table).execute();
    await sql`drop index users_email`.execute(db);
    for (const column of ['developer_persona', 'technical_level']) {
      await db.schema.alterTable('users').dropColumn(column).execute();
    }
    const at = { organization_id: 'org-1', created_at: 1 };
    await db.insertInto('organizations').values({ id: 'org-1', name: 'O', created_at: 1 }).execute();
    await db
      .insertInto('projects')
      .values(
        ['proj_a', 'proj_b'].map((id) => ({
          ...at,
          id,
          name: id,
          status: 'active' as const,
          environment: 'production' as const,
          is_default: 0 as const,
          archived_at: null,
        })),
      )
      .execute();
    await db
      .insertInto('users')
      .values([
        { ...at, id: 'user-owner', name: 'O', email: 'o@example.com', role: 'owner' },
        { ...at, id: 'user-reader', name: 'R', email: 'r@example.com', role: 'reader' },
      ])
      .execute();
    const key = (id: string, project: string, owner: string, revoked: number | null) => ({
      ...at,
      id,
      project_id: project,
      type: 'project' as const,
      digest: new Uint8Array(32).fill(id.charCodeAt(0)),
      redacted: '',
      name: id,
      owner_type: 'user' as const,
      owner_id: owner,
      scopes: '[]',
      revoked_at: revoked,
    });
    await db
      .insertInto('api_keys')
      .values([
        key('a', 'proj_a', 'user-reader', null),
        key('b', 'proj_a', 'user-reader', null),
        key('c', 'proj_b', 'user-reader', 5),
        key('d', 'proj_b', 'user-owner', null),
      ])
      .execute();

    await sql`delete from keygate_migration`.execute(db);
    await migrate(db, kind, { '0080_access': up });

    const book = new AccessBook();
    await book.load(db);
    expect(book.isOwner('user-owner')).toBe(true);
    expect(book.within('user', 'user-owner', 'proj_b')?.has('api.management.write')).toBe(true);
    expect(book.isOwner('user-reader')).toBe(false);
    expect(book.within('user', 'user-reader', 'proj_a')?.has('api.model.request')).toBe(true);
    expect(book.within('user', 'user-reader', 'proj_b')).toBeNull();
    expect([...book.organizationRights('user-reader')].sort()).toEqual([
      'api.groups.read',
      'api.model.read',
      'api.roles.read',
    ]);
  });
});
