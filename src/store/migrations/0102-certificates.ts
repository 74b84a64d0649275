// Certificates of authorities whose client certificates are accepted, and where each is active.

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
  await table('certificates')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('name', text)
    .addColumn('content', text, (c) => c.notNull())
    .addColumn('fingerprint', text, (c) => c.notNull())
    .addColumn('valid_at', integer, (c) => c.notNull())
    .addColumn('expires_at', integer, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addUniqueConstraint('certificates_owned', ['organization_id', 'id'])
    .addUniqueConstraint('certificates_once', ['organization_id', 'fingerprint'])
    .execute();
  await table('active_certificates')
    .addColumn('organization_id', text, (c) => c.notNull())
    .addColumn('certificate_id', text, (c) => c.notNull())
    // Empty: in the organization.
    .addColumn('project_id', text, (c) => c.notNull())
    .addPrimaryKeyConstraint('active_certificates_key', ['certificate_id', 'project_id'])
    .addForeignKeyConstraint(
      'active_certificates_certificate',
      ['organization_id', 'certificate_id'],
      'certificates',
      ['organization_id', 'id'],
    )
    .execute();
  await db.schema
    .createIndex('active_certificates_scope')
    .on('active_certificates')
    .columns(['organization_id', 'project_id'])
    .execute();
}
