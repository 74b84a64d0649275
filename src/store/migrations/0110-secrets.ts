// Secrets that keygate keeps, sealed, and which root keys sealed them.

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

  await table('root_keys')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('current', integer, (c) => c.notNull())
    .execute();

  await table('sealed_secrets')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('project_id', text)
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('sealed', bytes, (c) => c.notNull())
    .addColumn('version', integer, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('updated_at', integer, (c) => c.notNull())
    .addForeignKeyConstraint('sealed_secrets_project', ['organization_id', 'project_id'], 'projects', [
      'organization_id',
      'id',
    ])
    .execute();
  // Null is unlike every other null in a unique index: the organization's own have an empty project there.
  await sql`create unique index sealed_secrets_name on sealed_secrets (organization_id, coalesce(project_id, ''), name)`.execute(
    db,
  );
}
