// Credits: how an organization pays, and the grants of one that pays ahead. An organization that is here already was
// never asked, and goes on as it did: post-paid.

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

  await table('credit_accounts')
    .addColumn('organization_id', text, (c) => c.primaryKey().notNull().references('organizations.id'))
    .addColumn('billing', text, (c) => c.notNull())
    .addColumn('budget_id', text)
    .addColumn('charged', text, (c) => c.notNull())
    .addColumn('declared_at', integer, (c) => c.notNull())
    .execute();

  await table('credit_grants')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('amount', text, (c) => c.notNull())
    .addColumn('used', text, (c) => c.notNull())
    .addColumn('taken', text, (c) => c.notNull())
    .addColumn('honours', text, (c) => c.notNull())
    .addColumn('status', text, (c) => c.notNull())
    .addColumn('note', text, (c) => c.notNull())
    .addColumn('reference', text)
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('expires_at', integer)
    .addColumn('ended_at', integer)
    .addUniqueConstraint('credit_grants_reference', ['organization_id', 'reference'])
    .execute();
  await db.schema
    .createIndex('credit_grants_list')
    .on('credit_grants')
    .columns(['organization_id', 'created_at', 'id'])
    .execute();

  await db.schema.alterTable('budgets').addColumn('limit_until', integer).execute();

  await sql`insert into credit_accounts (organization_id, billing, budget_id, charged, declared_at)
    select id, 'postpaid', null, '0', created_at from organizations`.execute(db);
}
