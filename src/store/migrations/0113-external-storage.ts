// External storage: customers' buckets that keep projects' content.

import { type ColumnDataType, type Kysely, type RawBuilder, sql } from 'kysely';
import type { Store } from '../store.ts';

type DataType = ColumnDataType | RawBuilder<unknown>;

const TYPES: Record<Store['kind'], { readonly text: DataType; readonly integer: DataType }> = {
  sqlite: { text: 'text', integer: 'integer' },
  postgres: { text: sql`text collate "C"`, integer: 'bigint' },
};

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  const { text, integer } = TYPES[kind];
  const builder = db.schema.createTable('external_storage');
  await (kind === 'sqlite' ? builder.modifyEnd(sql`strict`) : builder)
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull())
    .addColumn('project_id', text, (c) => c.notNull())
    .addColumn('type', text, (c) => c.notNull())
    .addColumn('config', text, (c) => c.notNull())
    .addColumn('region', text, (c) => c.notNull())
    .addColumn('status', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addForeignKeyConstraint('external_storage_project', ['organization_id', 'project_id'], 'projects', [
      'organization_id',
      'id',
    ])
    .execute();
  await db.schema
    .createIndex('external_storage_list')
    .on('external_storage')
    .columns(['organization_id', 'created_at', 'id'])
    .execute();
  await db.schema
    .createIndex('external_storage_of_project')
    .on('external_storage')
    .columns(['project_id', 'created_at'])
    .execute();
}
