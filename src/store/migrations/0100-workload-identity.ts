// Workload identity: issuers, what their tokens must say, the public keys of access tokens, and spent subject tokens.

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

  await table('workload_identity_providers')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('name', text, (c) => c.notNull())
    .addColumn('description', text)
    .addColumn('type', text, (c) => c.notNull())
    .addColumn('issuer', text, (c) => c.notNull())
    .addColumn('audience', text, (c) => c.notNull())
    .addColumn('enabled', integer, (c) => c.notNull().check(sql`enabled in (0, 1)`))
    .addColumn('transformations', text, (c) => c.notNull())
    .addColumn('verification', text, (c) => c.notNull())
    .addColumn('discovery_url', text)
    .addColumn('jwks', text)
    .addColumn('single_use', integer, (c) => c.notNull().check(sql`single_use in (0, 1)`))
    .addColumn('max_lifetime', integer, (c) => c.notNull())
    .addColumn('generation', integer, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('updated_at', integer, (c) => c.notNull())
    .addUniqueConstraint('workload_identity_providers_owned', ['organization_id', 'id'])
    .execute();

  await table('federation_rules')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull())
    .addColumn('provider_id', text, (c) => c.notNull())
    .addColumn('project_id', text, (c) => c.notNull())
    .addColumn('service_account_id', text, (c) => c.notNull())
    .addColumn('name', text)
    .addColumn('description', text)
    .addColumn('enabled', integer, (c) => c.notNull().check(sql`enabled in (0, 1)`))
    .addColumn('matchers', text, (c) => c.notNull())
    .addColumn('scopes', text)
    .addColumn('generation', integer, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('updated_at', integer, (c) => c.notNull())
    .addForeignKeyConstraint(
      'federation_rules_provider',
      ['organization_id', 'provider_id'],
      'workload_identity_providers',
      ['organization_id', 'id'],
    )
    .addForeignKeyConstraint('federation_rules_project', ['organization_id', 'project_id'], 'projects', [
      'organization_id',
      'id',
    ])
    .execute();
  await db.schema
    .createIndex('federation_rules_list')
    .on('federation_rules')
    .columns(['provider_id', 'created_at', 'id'])
    .execute();
  await db.schema
    .createIndex('federation_rules_account')
    .on('federation_rules')
    .column('service_account_id')
    .execute();

  await table('token_keys')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('public_key', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('expires_at', integer, (c) => c.notNull())
    .execute();

  await table('spent_subject_tokens')
    .addColumn('digest', text, (c) => c.primaryKey().notNull())
    .addColumn('expires_at', integer, (c) => c.notNull())
    .execute();
  await db.schema
    .createIndex('spent_subject_tokens_expiry')
    .on('spent_subject_tokens')
    .column('expires_at')
    .execute();
}
