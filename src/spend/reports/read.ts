// Reads sums for a report from the roll-ups, never from events: what is read grows with the number of buckets and
// series, not with the number of calls.
//
// Two ways to the same rows. The range of time is scanned, and each row's series looked at; or, where few series are asked
// for (one project among hundreds), each of them is looked up in each bucket. PostgreSQL chooses by itself; SQLite, which
// keeps no statistics of such ranges, is told.
//
// Bounds: a page ends early, at the end of a bucket, when it has PAGE_ROWS results; one bucket alone may have
// BUCKET_ROWS, and beyond that the query is refused.

import { type RawBuilder, sql } from 'kysely';
import { invalidParameter } from '../../access/validation.ts';
import type { UsageSeriesTable } from '../../store/schema-usage.ts';
import type { Store } from '../../store/store.ts';
import { SUM_NAMES, type SumColumn, WIDTHS } from '../rollup/model.ts';
import { type Group, IMAGE_SOURCES, type Kind, LINE_ITEMS } from './model.ts';
import type { Parameters } from './parameters.ts';

const PAGE_ROWS = 5_000;
const BUCKET_ROWS = 50_000;
/** Look-ups of a series in a bucket that one query makes at most; beyond, scanning is as fast. */
const LOOKUPS = 20_000;

export interface ReportRow {
  /** The bucket's start, in milliseconds. */
  readonly start: number;
  /** The values of the columns that were grouped by. */
  readonly by: { readonly [C in GroupColumn]?: string | number };
  /** The sums that the report needs; the others are 0. */
  readonly sums: { readonly [N in SumColumn]: number };
  readonly nano: bigint;
  /** By line item: the kind and its quantity. */
  readonly line: { readonly kind: string; readonly quantity: number } | null;
}

export interface Read {
  readonly rows: readonly ReportRow[];
  /** The end of what was read, exclusive: a bucket's start, in milliseconds. */
  readonly untilMs: number;
}

/** Which column of a series a group is; the others are the same for every call. */
const GROUP_COLUMNS = {
  project_id: 'project_id',
  user_id: 'owner_id',
  api_key_id: 'key_id',
  model: 'model',
  batch: 'batch',
  service_tier: 'service_tier',
  source: 'operation',
  line_item: 'model',
  provider: 'provider',
  operation: 'operation',
  family: 'family',
} as const satisfies { readonly [G in Group]?: keyof UsageSeriesTable };

type GroupColumn = (typeof GROUP_COLUMNS)[keyof typeof GROUP_COLUMNS];

export function columnOf(group: Group): GroupColumn | undefined {
  return group in GROUP_COLUMNS ? GROUP_COLUMNS[group as keyof typeof GROUP_COLUMNS] : undefined;
}

/** @param untilMs the end of the last bucket that is wanted, exclusive */
export async function readReport(
  store: Pick<Store, 'db' | 'kind'>,
  organizationId: string,
  kind: Kind,
  parameters: Parameters,
  untilMs: number,
): Promise<Read> {
  if (kind.of === 'nothing') return { rows: [], untilMs };
  const rows: ReportRow[] = [];
  const conditions = conditionsOf(organizationId, kind, parameters);
  const buckets =
    store.kind === 'sqlite' ? await bucketsToLookUp(store.db, conditions, parameters, untilMs) : null;
  for (;;) {
    const source = { buckets, conditions, offset: rows.length };
    const more = await readRows(store.db, kind, parameters, untilMs, source);
    rows.push(...more);
    if (more.length < PAGE_ROWS) return { rows, untilMs };
    const last = rows.at(-1)?.start ?? untilMs;
    // The last bucket may go on; those before it are whole.
    if (last !== rows[0]?.start) return { rows: rows.filter(({ start }) => start < last), untilMs: last };
    if (rows.length >= BUCKET_ROWS) {
      throw invalidParameter(
        'group_by',
        `Invalid 'group_by': one bucket has more than ${BUCKET_ROWS} results; group by less, or filter.`,
      );
    }
  }
}

interface Conditions {
  /** On the series alone. */
  readonly series: readonly RawBuilder<unknown>[];
  /** On a row of sums, which may name its series. */
  readonly sums: readonly RawBuilder<unknown>[];
}

interface Source {
  /** The starts of the buckets in which series are looked up; null: the range of time is scanned. */
  readonly buckets: readonly number[] | null;
  readonly conditions: Conditions;
  readonly offset: number;
}

const AND = sql` and `;

/** Null where there are too many buckets or series for it. */
async function bucketsToLookUp(
  db: Store['db'],
  { series }: Conditions,
  { width, fromMs }: Parameters,
  untilMs: number,
): Promise<readonly number[] | null> {
  const { ms } = WIDTHS[width];
  const buckets = Math.ceil((untilMs - fromMs) / ms);
  const most = Math.floor(LOOKUPS / Math.max(1, buckets));
  if (most === 0) return null;
  const { rows } = await sql<{ found: number }>`
    select count(*) as found from (
      select 1 from usage_series as series where ${sql.join(series, AND)} limit ${sql.lit(most + 1)})`.execute(
    db,
  );
  if ((rows[0]?.found ?? 0) > most) return null;
  return Array.from({ length: buckets }, (_, at) => fromMs + at * ms);
}

async function readRows(
  db: Store['db'],
  kind: Kind,
  parameters: Parameters,
  untilMs: number,
  { buckets, conditions, offset }: Source,
): Promise<ReportRow[]> {
  const { groups, width, fromMs } = parameters;
  const columns = [...new Set(groups.map(columnOf))].filter((column) => column !== undefined);
  const byLine = groups.includes('line_item');
  const lines = kind.of === 'costs' && (byLine || parameters.filters.line_items !== undefined);
  const keys = [
    sql.ref('sums.start'),
    ...columns.map((column) => sql.ref(`series.${column}`)),
    ...(byLine ? [sql.ref('sums.kind')] : []),
  ];
  const totals = !needsOwners(parameters);
  const sums = WIDTHS[width][totals ? 'totals' : 'table'];
  const costs = totals ? 'usage_costs_totals' : 'usage_costs';
  const table = sql.table(lines ? costs : sums);
  const select = sql`${sql.join([...keys, ...(lines ? LINE_SUMS : sumsOf(kind))])}, cast(sum(sums.cost) as text) as nano`;
  const order = sql`group by ${sql.join(keys)} order by ${sql.join(keys)}
    limit ${sql.lit(PAGE_ROWS)} offset ${sql.lit(offset)}`;
  const scanned = [sql`series.id = sums.series`, sql`sums.start >= ${fromMs}`, sql`sums.start < ${untilMs}`];
  // `cross join` keeps SQLite to the order in which the tables stand.
  const { rows } =
    buckets === null
      ? await sql<Row>`
          select ${select} from ${table} as sums cross join usage_series as series
          where ${sql.join([...scanned, ...conditions.series, ...conditions.sums], AND)} ${order}`.execute(db)
      : await sql<Row>`
          with chosen as materialized (
            select * from usage_series as series where ${sql.join(conditions.series, AND)})
          select ${select} from json_each(${JSON.stringify(buckets)}) as bucket
          cross join chosen as series cross join ${table} as sums
          where ${sql.join([sql`sums.start = bucket.value`, sql`sums.series = series.id`, ...conditions.sums], AND)}
          ${order}`.execute(db);
  return rows.map((row) => rowOf(row, columns, byLine));
}

/** Whether the report asks who called; else it is answered from the totals. */
function needsOwners({ groups, filters }: Parameters): boolean {
  return (
    groups.some((group) => group === 'api_key_id' || group === 'user_id') ||
    filters.api_key_ids !== undefined ||
    filters.user_ids !== undefined
  );
}

type Row = Readonly<Record<string, string | number>>;

const LINE_SUMS = [
  sql`sum(sums.quantity) as quantity`,
  sql`sum(case when sums.kind = 'unpriced' then sums.quantity else 0 end) as unpriced`,
];

function sumsOf(kind: Kind): RawBuilder<unknown>[] {
  return neededOf(kind).map((name) => sql`sum(${sql.ref(`sums.${name}`)}) as ${sql.ref(name)}`);
}

function neededOf(kind: Kind): readonly SumColumn[] {
  switch (kind.of) {
    case 'costs':
      return ['unpriced'];
    case 'searches':
      return ['searches', 'search_requests'];
    default:
      return SUM_NAMES;
  }
}

function conditionsOf(organizationId: string, kind: Kind, parameters: Parameters): Conditions {
  const { filters, batch, withTests } = parameters;
  const conditions: RawBuilder<unknown>[] = [sql`series.organization_id = ${organizationId}`];
  const sums: RawBuilder<unknown>[] = [];
  const among = (column: string, values: readonly string[] | undefined) => {
    if (values) conditions.push(sql`${sql.ref(`series.${column}`)} in (${sql.join(values)})`);
  };
  // The series of totals, which have no key.
  if (!needsOwners(parameters)) among('key_id', ['']);
  if (kind.of === 'family') among('family', [kind.family]);
  if (kind.of === 'searches') sums.push(sql`sums.searches > 0`);
  if (!withTests) conditions.push(sql`series.test = 0`);
  if (batch !== null) conditions.push(sql`series.batch = ${batch ? 1 : 0}`);
  among('project_id', filters.project_ids);
  among('owner_id', filters.user_ids);
  among('key_id', filters.api_key_ids);
  among('provider', filters.providers);
  among(
    'operation',
    filters.sources &&
      Object.keys(IMAGE_SOURCES).filter((name) => filters.sources?.includes(IMAGE_SOURCES[name] ?? '')),
  );
  if (filters.models) {
    const names = sql.join(filters.models);
    conditions.push(sql`(series.model in (${names}) or series.model_asked in (${names}))`);
  }
  if (filters.line_items) sums.push(sql`(${sql.join(filters.line_items.map(lineIs), sql` or `)})`);
  return { series: conditions, sums };
}

/** `gpt-6.1-sol, input_tokens`: the model's name may hold a comma, the line's does not. */
function lineIs(item: string): RawBuilder<unknown> {
  const at = item.lastIndexOf(', ');
  const line = LINE_ITEMS.find(({ name }) => name === item.slice(at + 2));
  if (at < 0 || line === undefined) return sql`1 = 0`;
  return sql`(series.model = ${item.slice(0, at)} and sums.kind = ${line.kind})`;
}

function rowOf(row: Row, columns: readonly GroupColumn[], byLine: boolean): ReportRow {
  const by: { [C in GroupColumn]?: string | number } = {};
  for (const column of columns) by[column] = row[column] ?? '';
  return {
    start: Number(row['start']),
    by,
    sums: sumsIn(row),
    nano: BigInt(row['nano'] ?? 0),
    line: byLine ? { kind: String(row['kind']), quantity: Number(row['quantity']) } : null,
  };
}

function sumsIn(row: Row): ReportRow['sums'] {
  const of = (name: SumColumn) => Number(row[name] ?? 0);
  return {
    requests: of('requests'),
    errors: of('errors'),
    cut: of('cut'),
    counted: of('counted'),
    search_requests: of('search_requests'),
    unpriced: of('unpriced'),
    input: of('input'),
    cached_input: of('cached_input'),
    cache_write: of('cache_write'),
    output: of('output'),
    reasoning: of('reasoning'),
    audio_input: of('audio_input'),
    audio_output: of('audio_output'),
    image_input: of('image_input'),
    image_output: of('image_output'),
    images: of('images'),
    audio_ms: of('audio_ms'),
    characters: of('characters'),
    searches: of('searches'),
  };
}
