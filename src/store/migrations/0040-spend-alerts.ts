// Spend alerts: who is told when an owner's spend passes a threshold. The thresholds themselves are a budget's.

import { type ColumnDataType, type Kysely, type RawBuilder, sql } from 'kysely';
import type { Store } from '../store.ts';

type DataType = ColumnDataType | RawBuilder<unknown>;

const TYPES: Record<Store['kind'], { readonly text: DataType; readonly integer: DataType }> = {
  sqlite: { text: 'text', integer: 'integer' },
  postgres: { text: sql`text collate "C"`, integer: 'bigint' },
};

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  const { text, integer } = TYPES[kind];
  const builder = db.schema.createTable('spend_alerts');
  await (kind === 'sqlite' ? builder.modifyEnd(sql`strict`) : builder)
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('project_id', text)
    .addColumn('budget_id', text, (c) => c.notNull())
    .addColumn('threshold', text, (c) => c.notNull())
    .addColumn('channel', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addForeignKeyConstraint('spend_alerts_project', ['organization_id', 'project_id'], 'projects', [
      'organization_id',
      'id',
    ])
    .execute();
  await db.schema
    .createIndex('spend_alerts_list')
    .on('spend_alerts')
    .columns(['organization_id', 'project_id', 'created_at', 'id'])
    .execute();
  await db.schema.createIndex('spend_alerts_budget').on('spend_alerts').column('budget_id').execute();
}
