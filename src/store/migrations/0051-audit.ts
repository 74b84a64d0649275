// The audit log's index of whom and what its entries are about, and how far its streams have come. Neither is part of
// the hash chain: both follow from the entries.

import { type ColumnDataType, type Kysely, type RawBuilder, sql } from 'kysely';
import { subjectsOf } from '../../audit/subjects.ts';
import type { Store } from '../store.ts';

type DataType = ColumnDataType | RawBuilder<unknown>;

const TYPES: Record<Store['kind'], { readonly text: DataType; readonly integer: DataType }> = {
  sqlite: { text: 'text', integer: 'integer' },
  postgres: { text: sql`text collate "C"`, integer: 'bigint' },
};
const PAGE = 1000;

interface Tables {
  audit_log: { seq: number; actor: string; payload: string };
  audit_subjects: { kind: string; value: string; seq: number };
}

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  const { text, integer } = TYPES[kind];
  const table = (name: string) => {
    const builder = db.schema.createTable(name);
    return kind === 'sqlite' ? builder.modifyEnd(sql`strict`) : builder;
  };
  await table('audit_subjects')
    .addColumn('kind', text, (c) => c.notNull())
    .addColumn('value', text, (c) => c.notNull())
    .addColumn('seq', integer, (c) => c.notNull())
    .addPrimaryKeyConstraint('audit_subjects_key', ['kind', 'value', 'seq'])
    .execute();
  await db.schema.createIndex('audit_subjects_seq').on('audit_subjects').column('seq').execute();
  await db.schema
    .createIndex('audit_log_types')
    .on('audit_log')
    .columns(['organization_id', 'type', 'seq'])
    .execute();
  await table('audit_streams')
    .addColumn('name', text, (c) => c.primaryKey().notNull())
    .addColumn('seq', integer, (c) => c.notNull())
    .addColumn('updated_at', integer, (c) => c.notNull())
    .addColumn('last_error', text)
    .execute();
  await fill(db as Kysely<Tables>);
}

/** Entries that are there already. */
async function fill(db: Kysely<Tables>): Promise<void> {
  let after = 0;
  for (;;) {
    const rows = await db
      .selectFrom('audit_log')
      .select(['seq', 'actor', 'payload'])
      .where('seq', '>', after)
      .orderBy('seq')
      .limit(PAGE)
      .execute();
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.seq;
    const subjects = rows.flatMap((row) =>
      subjectsOf(JSON.parse(row.actor), JSON.parse(row.payload)).map((one) => ({ ...one, seq: row.seq })),
    );
    for (let at = 0; at < subjects.length; at += 500) {
      await db
        .insertInto('audit_subjects')
        .values(subjects.slice(at, at + 500))
        .execute();
    }
  }
}
