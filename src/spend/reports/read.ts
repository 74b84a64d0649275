// Reads sums for a report from the roll-ups, never from events: what is read grows with the number of buckets and
// series, not with the number of calls.
//
// Bounds: a page ends early, at the end of a bucket, when it has PAGE_ROWS results; one bucket alone may have
// BUCKET_ROWS, and beyond that the query is refused.

import { type RawBuilder, sql } from 'kysely';
import { invalidParameter } from '../../access/validation.ts';
import type { UsageSeriesTable } from '../../store/schema-usage.ts';
import type { Db } from '../../store/store.ts';
import { SUM_NAMES, type SumColumn, WIDTHS } from '../rollup/model.ts';
import { type Group, IMAGE_SOURCES, type Kind, LINE_ITEMS } from './model.ts';
import type { Parameters } from './parameters.ts';

const PAGE_ROWS = 5_000;
const BUCKET_ROWS = 50_000;

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
  db: Db,
  organizationId: string,
  kind: Kind,
  parameters: Parameters,
  untilMs: number,
): Promise<Read> {
  if (kind.of === 'nothing') return { rows: [], untilMs };
  const rows: ReportRow[] = [];
  for (;;) {
    const more = await readRows(db, organizationId, kind, parameters, untilMs, rows.length);
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

async function readRows(
  db: Db,
  organizationId: string,
  kind: Kind,
  parameters: Parameters,
  untilMs: number,
  offset: number,
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
  const conditions = [
    sql`series.id = sums.series`,
    sql`sums.start >= ${fromMs}`,
    sql`sums.start < ${untilMs}`,
    sql`series.organization_id = ${organizationId}`,
    ...conditionsOf(kind, parameters),
  ];
  // The range of time first, then each row's series by its number: `cross join` keeps SQLite to that order.
  const { rows } = await sql<Row>`
    select ${sql.join([...keys, ...(lines ? LINE_SUMS : sumsOf(kind))])}, cast(sum(sums.cost) as text) as nano
    from ${sql.table(lines ? costs : sums)} as sums cross join usage_series as series
    where ${sql.join(conditions, sql` and `)}
    group by ${sql.join(keys)} order by ${sql.join(keys)}
    limit ${sql.lit(PAGE_ROWS)} offset ${sql.lit(offset)}`.execute(db);
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

function conditionsOf(kind: Kind, { filters, batch, withTests }: Parameters): RawBuilder<unknown>[] {
  const conditions: RawBuilder<unknown>[] = [];
  const among = (column: string, values: readonly string[] | undefined) => {
    if (values) conditions.push(sql`${sql.ref(`series.${column}`)} in (${sql.join(values)})`);
  };
  if (kind.of === 'family') among('family', [kind.family]);
  if (kind.of === 'searches') conditions.push(sql`sums.searches > 0`);
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
  if (filters.line_items) conditions.push(sql`(${sql.join(filters.line_items.map(lineIs), sql` or `)})`);
  return conditions;
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
