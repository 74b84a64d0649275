// Keys that the installation signs with, sealed.

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
  const builder = db.schema.createTable('sealed_keys');
  await (kind === 'sqlite' ? builder.modifyEnd(sql`strict`) : builder)
    .addColumn('name', text, (c) => c.primaryKey().notNull())
    .addColumn('id', text, (c) => c.notNull())
    .addColumn('sealed', bytes, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .execute();
}
