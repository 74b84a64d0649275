// Settings of projects and organizations: what their calls are held to.

import { type ColumnDataType, type Kysely, type RawBuilder, sql } from 'kysely';
import type { Store } from '../store.ts';

type DataType = ColumnDataType | RawBuilder<unknown>;

const TYPES: Record<Store['kind'], { readonly text: DataType; readonly integer: DataType }> = {
  sqlite: { text: 'text', integer: 'integer' },
  postgres: { text: sql`text collate "C"`, integer: 'bigint' },
};

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  const { text, integer } = TYPES[kind];
  const table = (name: string) => {
    const builder = db.schema.createTable(name);
    return kind === 'sqlite' ? builder.modifyEnd(sql`strict`) : builder;
  };

  await table('project_settings')
    .addColumn('organization_id', text, (c) => c.notNull())
    .addColumn('project_id', text, (c) => c.notNull())
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('value', text, (c) => c.notNull())
    .addColumn('updated_at', integer, (c) => c.notNull())
    .addPrimaryKeyConstraint('project_settings_key', ['project_id', 'name'])
    .addForeignKeyConstraint('project_settings_project', ['organization_id', 'project_id'], 'projects', [
      'organization_id',
      'id',
    ])
    .execute();

  await table('organization_settings')
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('value', text, (c) => c.notNull())
    .addColumn('updated_at', integer, (c) => c.notNull())
    .addPrimaryKeyConstraint('organization_settings_key', ['organization_id', 'name'])
    .execute();
}
