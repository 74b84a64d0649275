// Budgets, escrow, alerts and imported price lists.

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

  await table('budgets')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('project_id', text)
    .addColumn('scope', text, (c) => c.notNull())
    .addColumn('scope_id', text, (c) => c.notNull())
    .addColumn('period', text, (c) => c.notNull())
    .addColumn('limit_nano', text, (c) => c.notNull())
    .addColumn('enforcement', text, (c) => c.notNull())
    .addColumn('alerts', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addForeignKeyConstraint('budgets_project', ['organization_id', 'project_id'], 'projects', [
      'organization_id',
      'id',
    ])
    .execute();
  await db.schema
    .createIndex('budgets_list')
    .on('budgets')
    .columns(['organization_id', 'created_at', 'id'])
    .execute();

  // Without references: what was spent outlives the budget that counted it.
  await table('escrow_accounts')
    .addColumn('name', text, (c) => c.primaryKey().notNull())
    .addColumn('budget_id', text, (c) => c.notNull())
    .addColumn('subject', text, (c) => c.notNull())
    .addColumn('window_start', integer, (c) => c.notNull())
    .addColumn('committed', text, (c) => c.notNull())
    .addColumn('settled', text, (c) => c.notNull())
    .addColumn('overrun', text, (c) => c.notNull())
    .addColumn('pressed_until', integer, (c) => c.notNull())
    .execute();
  await db.schema
    .createIndex('escrow_accounts_budget')
    .on('escrow_accounts')
    .columns(['budget_id', 'window_start', 'subject'])
    .execute();

  await table('escrow_leases')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('node', text, (c) => c.notNull())
    .addColumn('seq', integer, (c) => c.notNull())
    .addColumn('expires_at', integer, (c) => c.notNull())
    .addColumn('fenced_at', integer)
    .addColumn('closed_at', integer)
    .execute();

  await table('escrow_slices')
    .addColumn('lease_id', text, (c) => c.notNull().references('escrow_leases.id'))
    .addColumn('account', text, (c) => c.notNull().references('escrow_accounts.name'))
    .addColumn('amount', integer, (c) => c.notNull().check(sql`amount >= spent`))
    .addColumn('spent', integer, (c) => c.notNull().check(sql`spent >= 0`))
    .addPrimaryKeyConstraint('escrow_slices_key', ['lease_id', 'account'])
    .execute();
  await db.schema.createIndex('escrow_slices_account').on('escrow_slices').column('account').execute();

  await table('budget_alerts')
    .addColumn('budget_id', text, (c) => c.notNull())
    .addColumn('subject', text, (c) => c.notNull())
    .addColumn('window_start', integer, (c) => c.notNull())
    .addColumn('threshold', text, (c) => c.notNull())
    .addColumn('settled', text, (c) => c.notNull())
    .addColumn('crossed_at', integer, (c) => c.notNull())
    .addColumn('delivered_at', integer)
    .addPrimaryKeyConstraint('budget_alerts_once', ['budget_id', 'subject', 'window_start', 'threshold'])
    .execute();
  await db.schema
    .createIndex('budget_alerts_waiting')
    .on('budget_alerts')
    .column('crossed_at')
    .where(sql.ref('delivered_at'), 'is', null)
    .execute();

  await table('price_lists')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('imported_at', integer, (c) => c.notNull())
    .addColumn('source', text, (c) => c.notNull())
    .addColumn('date', text, (c) => c.notNull())
    .addColumn('list', text, (c) => c.notNull())
    .execute();
}
