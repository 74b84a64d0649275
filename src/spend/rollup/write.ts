// Adds a sheet to the tables of PostgreSQL, within the transaction that also says that its segments are folded.

import { type RawBuilder, sql } from 'kysely';
import type { Tx } from '../../store/store.ts';
import { SERIES_NAMES, SUM_NAMES } from './model.ts';
import type { Sheet } from './sheet.ts';

/** Of a list that is an element of a list of lists. */
const integer = (at: number) => sql`(list.value ->> ${sql.lit(at)})::bigint`;
const text = (at: number) => sql`list.value ->> ${sql.lit(at)}`;
const rowsOf = (json: string) => sql`jsonb_array_elements(${json}::jsonb) as list(value)`;

const FLAGS: ReadonlySet<string> = new Set(['batch', 'test']);
const SUMS = [...SUM_NAMES, 'cost'];
const COST_SUMS = ['quantity', 'cost'];

export async function addSheet(tx: Tx, sheet: Sheet): Promise<void> {
  for (const json of sheet.series) await addSeries(tx, json);
  for (const { table, rows } of sheet.sums) await addSums(tx, table, ['start', 'series'], SUMS, rows);
  for (const { table, rows } of sheet.costs)
    await addSums(tx, table, ['start', 'series', 'kind'], COST_SUMS, rows);
}

async function addSeries(tx: Tx, json: string): Promise<void> {
  const values = SERIES_NAMES.map((name, at) => (FLAGS.has(name) ? integer(at + 1) : text(at + 1)));
  await sql`
    insert into usage_series (key, ${columns(SERIES_NAMES)})
    select ${text(0)}, ${sql.join(values)} from ${rowsOf(json)}
    on conflict (key) do nothing`.execute(tx);
}

/** @param keys the columns that name a row: `start`, `series` (by its key) and texts */
async function addSums(
  tx: Tx,
  table: string,
  keys: readonly string[],
  sums: readonly string[],
  json: string,
): Promise<void> {
  const values = [
    integer(0),
    sql.ref('series.id'),
    ...keys.slice(2).map((_, at) => text(at + 2)),
    ...sums.map((_, at) => integer(at + keys.length)),
  ];
  const add = sums.map(
    (name) => sql`${sql.ref(name)} = ${sql.ref(`${table}.${name}`)} + ${sql.ref(`excluded.${name}`)}`,
  );
  await sql`
    insert into ${sql.table(table)} (${columns([...keys, ...sums])})
    select ${sql.join(values)} from ${rowsOf(json)}
    cross join usage_series as series where series.key = ${text(1)}
    on conflict (${columns(keys)}) do update set ${sql.join(add)}`.execute(tx);
}

function columns(names: readonly string[]): RawBuilder<unknown> {
  return sql.join(names.map((name) => sql.ref(name)));
}
