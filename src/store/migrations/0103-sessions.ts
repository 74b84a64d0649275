// People who sign in: who they are to the issuer, and their sessions.

import { type ColumnDataType, type Kysely, type RawBuilder, sql } from 'kysely';
import type { Store } from '../store.ts';

type DataType = ColumnDataType | RawBuilder<unknown>;

interface Types {
  readonly text: DataType;
  readonly integer: DataType;
  readonly bytes: DataType;
}

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
  await table('user_identities')
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('user_id', text, (c) => c.notNull())
    .addColumn('issuer', text, (c) => c.notNull())
    .addColumn('subject', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addPrimaryKeyConstraint('user_identities_key', ['organization_id', 'issuer', 'subject'])
    .addUniqueConstraint('user_identities_user', ['user_id', 'issuer'])
    .execute();
  await table('sessions')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
    .addColumn('user_id', text, (c) => c.notNull())
    .addColumn('digest', bytes, (c) => c.notNull().check(sql`length(digest) = 32`))
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('expires_at', integer, (c) => c.notNull())
    .addUniqueConstraint('sessions_digest', ['digest'])
    .execute();
  await db.schema.createIndex('sessions_user').on('sessions').column('user_id').execute();
  await db.schema.createIndex('sessions_expiry').on('sessions').column('expires_at').execute();
}
