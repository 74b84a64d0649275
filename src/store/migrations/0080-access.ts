// Roles, groups and invitations. What users had until now becomes assignments: their role in the organization, and for
// those who are no owners, membership of the projects in which they have keys that work.

import { type ColumnDataType, type Kysely, type RawBuilder, sql } from 'kysely';
import type { Store } from '../store.ts';

type DataType = ColumnDataType | RawBuilder<unknown>;

const TYPES: Record<
  Store['kind'],
  { readonly text: DataType; readonly integer: DataType; readonly bytes: DataType }
> = {
  sqlite: { text: 'text', integer: 'integer', bytes: 'blob' },
  postgres: { text: sql`text collate "C"`, integer: 'bigint', bytes: 'bytea' },
};

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  await tables(db, kind);
  await indexes(db);
  await carryOver(db);
}

async function tables(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  const { text, integer, bytes } = TYPES[kind];
  const table = (name: string) => {
    const builder = db.schema.createTable(name);
    return kind === 'sqlite' ? builder.modifyEnd(sql`strict`) : builder;
  };
  /** The parts of the organization that a project's rows must be of. */
  const ofProject = ['organization_id', 'project_id'] as ['organization_id', 'project_id'];

  await table('roles')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('project_id', text)
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('description', text)
    .addColumn('permissions', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('updated_at', integer, (c) => c.notNull())
    .addColumn('created_by', text)
    .addForeignKeyConstraint('roles_project', ofProject, 'projects', ['organization_id', 'id'])
    .execute();

  await table('role_assignments')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('project_id', text)
    .addColumn('principal_type', text, (c) => c.notNull().check(sql`principal_type in ('user', 'group')`))
    .addColumn('principal_id', text, (c) => c.notNull())
    .addColumn('role_id', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addForeignKeyConstraint('role_assignments_project', ofProject, 'projects', ['organization_id', 'id'])
    .execute();

  await table('groups')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .execute();

  await table('group_members')
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('group_id', text, (c) => c.notNull().references('groups.id'))
    .addColumn('member_type', text, (c) => c.notNull())
    .addColumn('member_id', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addPrimaryKeyConstraint('group_members_key', ['group_id', 'member_id'])
    .execute();

  await table('invites')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('email', text, (c) => c.notNull())
    .addColumn('role', text, (c) => c.notNull())
    .addColumn('projects', text, (c) => c.notNull())
    .addColumn('token_digest', bytes, (c) => c.notNull().check(sql`length(token_digest) = 32`))
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('expires_at', integer, (c) => c.notNull())
    .addColumn('accepted_at', integer)
    .addColumn('accepted_by', text)
    .execute();

  await db.schema.alterTable('users').addColumn('developer_persona', text).execute();
  await db.schema.alterTable('users').addColumn('technical_level', text).execute();
}

async function indexes(db: Kysely<unknown>): Promise<void> {
  const index = (name: string, table: string, columns: string[]) =>
    db.schema.createIndex(name).on(table).columns(columns).execute();
  const unique = (name: string, table: string, columns: string[]) =>
    db.schema.createIndex(name).unique().on(table).columns(columns).execute();
  await index('roles_list', 'roles', ['organization_id', 'project_id', 'created_at', 'id']);
  await db.schema
    .createIndex('roles_name')
    .unique()
    .on('roles')
    .expression(sql`organization_id, coalesce(project_id, ''), name`)
    .execute();
  await db.schema
    .createIndex('role_assignments_once')
    .unique()
    .on('role_assignments')
    .expression(sql`principal_id, coalesce(project_id, ''), role_id`)
    .execute();
  await index('role_assignments_list', 'role_assignments', [
    'organization_id',
    'project_id',
    'principal_type',
    'principal_id',
  ]);
  await index('role_assignments_role', 'role_assignments', ['role_id']);
  await index('groups_list', 'groups', ['organization_id', 'created_at', 'id']);
  await unique('groups_name', 'groups', ['organization_id', 'name']);
  await index('group_members_list', 'group_members', ['group_id', 'created_at', 'member_id']);
  await index('group_members_member', 'group_members', ['member_id']);
  await index('invites_list', 'invites', ['organization_id', 'created_at', 'id']);
  await unique('invites_token', 'invites', ['token_digest']);
  await unique('users_email', 'users', ['organization_id', 'email']);
}

async function carryOver(db: Kysely<unknown>): Promise<void> {
  await sql`
    insert into role_assignments
      (id, organization_id, project_id, principal_type, principal_id, role_id, created_at)
    select 'role_assignment_' || id, organization_id, null, 'user', id, 'role-api-organization-' || role, created_at
    from users
  `.execute(db);
  await sql`
    insert into role_assignments
      (id, organization_id, project_id, principal_type, principal_id, role_id, created_at)
    select 'role_assignment_' || k.project_id || '_' || u.id, k.organization_id, k.project_id, 'user', u.id,
      'role-api-project-member', min(k.created_at)
    from api_keys k join users u on u.id = k.owner_id and u.organization_id = k.organization_id
    where k.owner_type = 'user' and k.project_id is not null and k.revoked_at is null and u.role <> 'owner'
    group by k.organization_id, k.project_id, u.id
  `.execute(db);
}
