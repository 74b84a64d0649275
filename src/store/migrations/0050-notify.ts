// Telling others: leases (which node does what only one may do), webhook endpoints, and the outbox of deliveries.

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
  const { text, integer, bytes } = TYPES[kind];
  const table = (name: string) => {
    const builder = db.schema.createTable(name);
    return kind === 'sqlite' ? builder.modifyEnd(sql`strict`) : builder;
  };

  await table('leases')
    .addColumn('name', text, (c) => c.primaryKey().notNull())
    .addColumn('holder', text, (c) => c.notNull())
    .addColumn('until', integer, (c) => c.notNull())
    .execute();

  await table('webhook_endpoints')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('project_id', text)
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('url', text, (c) => c.notNull())
    .addColumn('event_types', text, (c) => c.notNull())
    .addColumn('secret', bytes, (c) => c.notNull())
    .addColumn('secret_hint', text, (c) => c.notNull())
    .addColumn('old_secret', bytes)
    .addColumn('old_secret_until', integer)
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('updated_at', integer, (c) => c.notNull())
    .addForeignKeyConstraint('webhook_endpoints_project', ['organization_id', 'project_id'], 'projects', [
      'organization_id',
      'id',
    ])
    .execute();
  await db.schema
    .createIndex('webhook_endpoints_list')
    .on('webhook_endpoints')
    .columns(['organization_id', 'project_id', 'created_at', 'id'])
    .execute();

  // Without references: what was sent outlives whom it was sent to.
  await table('deliveries')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull())
    .addColumn('project_id', text)
    .addColumn('channel', text, (c) => c.notNull())
    .addColumn('target', text, (c) => c.notNull())
    .addColumn('event_id', text, (c) => c.notNull())
    .addColumn('event_type', text, (c) => c.notNull())
    .addColumn('body', text, (c) => c.notNull())
    .addColumn('state', text, (c) => c.notNull())
    .addColumn('attempts', integer, (c) => c.notNull())
    .addColumn('next_at', integer)
    .addColumn('last_error', text)
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('ended_at', integer)
    .addCheckConstraint('deliveries_waiting', sql`(state = 'waiting') = (next_at is not null)`)
    .execute();
  await db.schema
    .createIndex('deliveries_due')
    .on('deliveries')
    .column('next_at')
    .where(sql.ref('next_at'), 'is not', null)
    .execute();
  await db.schema
    .createIndex('deliveries_list')
    .on('deliveries')
    .columns(['organization_id', 'created_at', 'id'])
    .execute();
  await db.schema
    .createIndex('deliveries_ended')
    .on('deliveries')
    .column('ended_at')
    .where(sql.ref('ended_at'), 'is not', null)
    .execute();
}
