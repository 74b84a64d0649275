// The first tables. Columns are of three kinds that mean the same on both databases: exact integers of 64 bits, bytes,
// and text that is compared and ordered by its bytes (PostgreSQL would otherwise order by its locale), so that a page
// of a list is the same page on both.

import { type ColumnDataType, type CreateTableBuilder, type Kysely, type RawBuilder, sql } from 'kysely';
import type { Store } from '../store.ts';

type DataType = ColumnDataType | RawBuilder<unknown>;

interface Types {
  readonly text: DataType;
  readonly integer: DataType;
  readonly bytes: DataType;
}

const TYPES: Record<Store['kind'], Types> = {
  sqlite: { text: 'text', integer: 'integer', bytes: 'blob' },
  postgres: { text: sql`text collate "C"`, integer: 'bigint', bytes: 'bytea' },
};

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  const { text, integer, bytes } = TYPES[kind];
  /** On SQLite a strict table: a column holds its type or nothing. */
  const table = (name: string) => {
    const builder = db.schema.createTable(name);
    return kind === 'sqlite' ? builder.modifyEnd(sql`strict`) : builder;
  };
  /** Numbered by the database, and no number given twice. */
  const numbered = <T extends string>(builder: CreateTableBuilder<T>) =>
    builder.addColumn('seq', integer, (c) =>
      kind === 'sqlite' ? c.primaryKey().autoIncrement() : c.primaryKey().generatedByDefaultAsIdentity(),
    );

  await table('meta')
    .addColumn('name', text, (c) => c.primaryKey().notNull())
    .addColumn('value', text, (c) => c.notNull())
    .execute();

  await table('organizations')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .execute();

  await table('projects')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('status', text, (c) => c.notNull())
    .addColumn('environment', text, (c) => c.notNull())
    .addColumn('is_default', integer, (c) => c.notNull().check(sql`is_default in (0, 1)`))
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('archived_at', integer)
    .addUniqueConstraint('projects_within_organization', ['organization_id', 'id'])
    .execute();

  await table('users')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('email', text, (c) => c.notNull())
    .addColumn('role', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .execute();

  await table('service_accounts')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull())
    .addColumn('project_id', text, (c) => c.notNull())
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('role', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addForeignKeyConstraint('service_accounts_project', ['organization_id', 'project_id'], 'projects', [
      'organization_id',
      'id',
    ])
    .execute();

  await table('api_keys')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('project_id', text)
    .addColumn('type', text, (c) => c.notNull())
    .addColumn('digest', bytes, (c) => c.notNull().check(sql`length(digest) = 32`))
    .addColumn('redacted', text, (c) => c.notNull())
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('owner_type', text, (c) => c.notNull())
    .addColumn('owner_id', text, (c) => c.notNull())
    .addColumn('scopes', text, (c) => c.notNull())
    .addColumn('models', text)
    .addColumn('addresses', text)
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('expires_at', integer)
    .addColumn('last_used_at', integer)
    .addColumn('revoked_at', integer)
    .addCheckConstraint('api_keys_admin_has_no_project', sql`(type = 'admin') = (project_id is null)`)
    // A key's project is of the key's organization; an admin key has none, and is not checked.
    .addForeignKeyConstraint('api_keys_project', ['organization_id', 'project_id'], 'projects', [
      'organization_id',
      'id',
    ])
    .execute();

  await numbered(table('changes'))
    .addColumn('kind', text, (c) => c.notNull())
    .addColumn('object_id', text, (c) => c.notNull())
    .addColumn('at', integer, (c) => c.notNull())
    .execute();

  // Without references: what happened outlives what it happened to.
  await table('audit_log')
    .addColumn('seq', integer, (c) => c.primaryKey().notNull())
    .addColumn('id', text, (c) => c.notNull().unique())
    .addColumn('at', integer, (c) => c.notNull())
    .addColumn('organization_id', text, (c) => c.notNull())
    .addColumn('project_id', text)
    .addColumn('type', text, (c) => c.notNull())
    .addColumn('actor', text, (c) => c.notNull())
    .addColumn('payload', text, (c) => c.notNull())
    .addColumn('previous_hash', text, (c) => c.notNull())
    .addColumn('hash', text, (c) => c.notNull())
    .execute();

  await numbered(table('usage_segments'))
    .addColumn('node', text, (c) => c.notNull())
    .addColumn('first_at', integer, (c) => c.notNull())
    .addColumn('last_at', integer, (c) => c.notNull())
    .addColumn('events', integer, (c) => c.notNull())
    .addColumn('format', integer, (c) => c.notNull())
    .addColumn('crc', integer, (c) => c.notNull())
    .addColumn('payload', bytes, (c) => c.notNull())
    // The same segment again, after a commit of which the answer was lost, is known by this.
    .addUniqueConstraint('usage_segments_once', ['first_at', 'last_at', 'node', 'events', 'crc'])
    .execute();

  await table('owned_objects')
    .addColumn('project_id', text, (c) => c.notNull().references('projects.id'))
    .addColumn('id', text, (c) => c.notNull())
    .addColumn('kind', text, (c) => c.notNull())
    .addColumn('provider', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addPrimaryKeyConstraint('owned_objects_key', ['project_id', 'id'])
    .execute();

  await indexes(db);
}

/** One for each question that is asked of a table: lists are ordered by creation, then id. */
async function indexes(db: Kysely<unknown>): Promise<void> {
  const index = (name: string, table: string, columns: string[]) =>
    db.schema.createIndex(name).on(table).columns(columns).execute();
  await index('projects_list', 'projects', ['organization_id', 'created_at', 'id']);
  await index('users_list', 'users', ['organization_id', 'created_at', 'id']);
  await index('service_accounts_list', 'service_accounts', ['project_id', 'created_at', 'id']);
  await db.schema.createIndex('api_keys_digest').unique().on('api_keys').column('digest').execute();
  await index('api_keys_list', 'api_keys', ['project_id', 'created_at', 'id']);
  await db.schema
    .createIndex('api_keys_admin_list')
    .on('api_keys')
    .columns(['organization_id', 'created_at', 'id'])
    .where(sql.ref('project_id'), 'is', null)
    .execute();
  await index('api_keys_owner', 'api_keys', ['owner_id', 'id']);
  await index('audit_log_list', 'audit_log', ['organization_id', 'at', 'seq']);
  await index('usage_segments_last', 'usage_segments', ['last_at']);
}
