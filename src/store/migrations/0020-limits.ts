// Statements of rate limits, usage tiers and payments.

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

  await table('rate_limits')
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('scope', text, (c) => c.notNull())
    .addColumn('subject_id', text, (c) => c.notNull())
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('limits', text, (c) => c.notNull())
    .addColumn('updated_at', integer, (c) => c.notNull())
    .addPrimaryKeyConstraint('rate_limits_key', ['scope', 'subject_id', 'name'])
    .execute();

  await table('usage_tiers')
    .addColumn('organization_id', text, (c) => c.primaryKey().notNull().references('organizations.id'))
    .addColumn('tier', text)
    .addColumn('pinned', text)
    .addColumn('paid_nano', text, (c) => c.notNull())
    .addColumn('first_payment_at', integer)
    .execute();

  await table('payments')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('amount_nano', text, (c) => c.notNull())
    .addColumn('at', integer, (c) => c.notNull())
    .addColumn('note', text, (c) => c.notNull())
    .addColumn('reference', text)
    .addColumn('created_at', integer, (c) => c.notNull())
    .addUniqueConstraint('payments_once', ['organization_id', 'reference'])
    .execute();
  await db.schema
    .createIndex('payments_list')
    .on('payments')
    .columns(['organization_id', 'created_at', 'id'])
    .execute();
}
