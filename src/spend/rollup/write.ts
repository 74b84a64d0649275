// Adds a sheet to the tables, within the transaction that also says that its segments are folded.

import { type RawBuilder, sql } from 'kysely';
import type { Store, Tx } from '../../store/store.ts';
import type { Sheet } from './fold.ts';
import { SERIES_NAMES, SUM_NAMES } from './model.ts';

/** How a database reads a JSON list of lists. */
interface Lists {
  rows(json: string): RawBuilder<unknown>;
  integer(at: number): RawBuilder<unknown>;
  text(at: number): RawBuilder<unknown>;
}

const LISTS: Record<Store['kind'], Lists> = {
  sqlite: {
    rows: (json) => sql`json_each(${json}) as list`,
    integer: (at) => sql`list.value ->> ${sql.lit(at)}`,
    text: (at) => sql`list.value ->> ${sql.lit(at)}`,
  },
  postgres: {
    rows: (json) => sql`jsonb_array_elements(${json}::jsonb) as list(value)`,
    integer: (at) => sql`(list.value ->> ${sql.lit(at)})::bigint`,
    text: (at) => sql`list.value ->> ${sql.lit(at)}`,
  },
};

const FLAGS: ReadonlySet<string> = new Set(['batch', 'test']);
const SUMS = [...SUM_NAMES, 'cost'];
const COST_SUMS = ['quantity', 'cost'];

export async function addSheet(tx: Tx, kind: Store['kind'], sheet: Sheet): Promise<void> {
  const lists = LISTS[kind];
  for (const json of sheet.series) await addSeries(tx, lists, json);
  for (const { table, rows } of sheet.sums) await addSums(tx, lists, table, ['start', 'series'], SUMS, rows);
  for (const { table, rows } of sheet.costs)
    await addSums(tx, lists, table, ['start', 'series', 'kind'], COST_SUMS, rows);
}

async function addSeries(tx: Tx, lists: Lists, json: string): Promise<void> {
  const values = SERIES_NAMES.map((name, at) =>
    FLAGS.has(name) ? lists.integer(at + 1) : lists.text(at + 1),
  );
  await sql`
    insert into usage_series (key, ${columns(SERIES_NAMES)})
    select ${lists.text(0)}, ${sql.join(values)} from ${lists.rows(json)} where true
    on conflict (key) do nothing`.execute(tx);
}

/** @param keys the columns that name a row: `start`, `series` (by its key) and texts */
async function addSums(
  tx: Tx,
  lists: Lists,
  table: string,
  keys: readonly string[],
  sums: readonly string[],
  json: string,
): Promise<void> {
  const values = [
    lists.integer(0),
    sql.ref('series.id'),
    ...keys.slice(2).map((_, at) => lists.text(at + 2)),
    ...sums.map((_, at) => lists.integer(at + keys.length)),
  ];
  const add = sums.map(
    (name) => sql`${sql.ref(name)} = ${sql.ref(`${table}.${name}`)} + ${sql.ref(`excluded.${name}`)}`,
  );
  await sql`
    insert into ${sql.table(table)} (${columns([...keys, ...sums])})
    select ${sql.join(values)} from ${lists.rows(json)}
    cross join usage_series as series where series.key = ${lists.text(1)}
    on conflict (${columns(keys)}) do update set ${sql.join(add)}`.execute(tx);
}

function columns(names: readonly string[]): RawBuilder<unknown> {
  return sql.join(names.map((name) => sql.ref(name)));
}
