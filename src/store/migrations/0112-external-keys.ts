// External keys: customers' keys in their own key services, the projects that have one, and the keys of those projects'
// content, wrapped.

import { type ColumnDataType, type Kysely, type RawBuilder, sql } from 'kysely';
import type { Store } from '../store.ts';

type DataType = ColumnDataType | RawBuilder<unknown>;
type Types = { readonly text: DataType; readonly integer: DataType; readonly bytes: DataType };

const TYPES: Record<Store['kind'], Types> = {
  sqlite: { text: 'text', integer: 'integer', bytes: 'blob' },
  postgres: { text: sql`text collate "C"`, integer: 'bigint', bytes: 'bytea' },
};

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  const { text, integer, bytes } = TYPES[kind];
  const table = (name: string) => {
    const builder = db.schema.createTable(name);
    return kind === 'sqlite' ? builder.modifyEnd(sql`strict`) : builder;
  };
  await table('external_keys')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('type', text, (c) => c.notNull())
    .addColumn('purpose', text, (c) => c.notNull())
    .addColumn('config', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .execute();
  await db.schema
    .createIndex('external_keys_list')
    .on('external_keys')
    .columns(['organization_id', 'created_at', 'id'])
    .execute();

  await db.schema.alterTable('projects').addColumn('external_key_id', text).execute();
  await db.schema
    .createIndex('projects_external_key')
    .on('projects')
    .columns(['organization_id', 'external_key_id'])
    .execute();

  await table('content_keys')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull())
    .addColumn('project_id', text, (c) => c.notNull())
    .addColumn('external_key_id', text, (c) => c.notNull())
    .addColumn('wrapped', bytes, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addForeignKeyConstraint('content_keys_project', ['organization_id', 'project_id'], 'projects', [
      'organization_id',
      'id',
    ])
    .execute();
  await db.schema
    .createIndex('content_keys_project_key')
    .on('content_keys')
    .columns(['project_id', 'external_key_id', 'created_at'])
    .execute();
}
