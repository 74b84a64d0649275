// Roll-ups of usage, and which segments are not in them yet.

import { type ColumnDataType, type Kysely, type RawBuilder, sql } from 'kysely';
import type { Store } from '../store.ts';

type DataType = ColumnDataType | RawBuilder<unknown>;

const TYPES: Record<Store['kind'], { readonly text: DataType; readonly integer: DataType }> = {
  sqlite: { text: 'text', integer: 'integer' },
  postgres: { text: sql`text collate "C"`, integer: 'bigint' },
};

const SUMS = [
  'requests',
  'errors',
  'cut',
  'counted',
  'search_requests',
  'unpriced',
  'input',
  'cached_input',
  'cache_write',
  'output',
  'reasoning',
  'audio_input',
  'audio_output',
  'image_input',
  'image_output',
  'images',
  'audio_ms',
  'characters',
  'searches',
  'cost',
];

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  const { text, integer } = TYPES[kind];
  const table = (name: string, ending = sql`strict`) => {
    const builder = db.schema.createTable(name);
    return kind === 'sqlite' ? builder.modifyEnd(ending) : builder;
  };
  /** SQLite: the rows stand in their key's own tree, in the order in which reports read them. */
  const keyed = (name: string) => table(name, sql`strict, without rowid`);

  await table('usage_unfolded')
    .addColumn('seq', integer, (c) => c.primaryKey().notNull())
    .addColumn('failed', text)
    .execute();
  await sql`insert into usage_unfolded (seq) select seq from usage_segments`.execute(db);
  await noteAppended(db, kind);

  const series = table('usage_series')
    .addColumn('id', integer, (c) =>
      kind === 'sqlite' ? c.primaryKey().autoIncrement() : c.primaryKey().generatedByDefaultAsIdentity(),
    )
    .addColumn('key', text, (c) => c.notNull().unique());
  const names = [
    'organization_id',
    'project_id',
    'key_id',
    'owner_id',
    'family',
    'operation',
    'model',
    'model_asked',
    'provider',
    'service_tier',
    'price_version',
  ];
  await names
    .reduce((made, name) => made.addColumn(name, text, (c) => c.notNull()), series)
    .addColumn('batch', integer, (c) => c.notNull().check(sql`batch in (0, 1)`))
    .addColumn('test', integer, (c) => c.notNull().check(sql`test in (0, 1)`))
    .execute();

  // Without references: what was used outlives whoever used it.
  const widths = ['usage_minutes', 'usage_hours', 'usage_days'];
  for (const name of widths.flatMap((each) => [each, `${each}_totals`])) {
    const sums = keyed(name)
      .addColumn('start', integer, (c) => c.notNull())
      .addColumn('series', integer, (c) => c.notNull());
    await SUMS.reduce((made, column) => made.addColumn(column, integer, (c) => c.notNull()), sums)
      .addPrimaryKeyConstraint(`${name}_key`, ['start', 'series'])
      .execute();
  }

  for (const name of ['usage_costs', 'usage_costs_totals']) {
    await keyed(name)
      .addColumn('start', integer, (c) => c.notNull())
      .addColumn('series', integer, (c) => c.notNull())
      .addColumn('kind', text, (c) => c.notNull())
      .addColumn('quantity', integer, (c) => c.notNull())
      .addColumn('cost', integer, (c) => c.notNull())
      .addPrimaryKeyConstraint(`${name}_key`, ['start', 'series', 'kind'])
      .execute();
  }
}

/** Whoever appends a segment notes it as not folded, in the same transaction. */
async function noteAppended(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  if (kind === 'sqlite') {
    await sql`
      create trigger usage_segments_appended after insert on usage_segments begin
        insert into usage_unfolded (seq) values (new.seq);
      end`.execute(db);
    return;
  }
  await sql`
    create function usage_segment_appended() returns trigger language plpgsql as $$
    begin
      execute format('insert into %I.usage_unfolded (seq) values ($1)', tg_table_schema) using new.seq;
      return null;
    end $$`.execute(db);
  await sql`
    create trigger usage_segments_appended after insert on usage_segments
    for each row execute function usage_segment_appended()`.execute(db);
}
