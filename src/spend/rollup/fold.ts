// Folding: usage events in, rows to add out. Pure and synchronous; it runs on the roll-up's thread.
//
// Events are summed by minute and series; hours and days are summed from the minutes, and the lines of the costs by
// day. What comes out are texts of JSON, made here so that the main thread only passes them on: one list of rows a
// statement, each row a list in the order of the columns.

import { createHash } from 'node:crypto';
import type { PriceTable } from '../prices/table.ts';
import type { UsageEvent } from '../usage.ts';
import {
  bucketOf,
  familyOf,
  SUM_NAMES,
  type SumColumn,
  UNPRICED,
  USAGE_COLUMNS,
  USAGE_NAMES,
  WIDTHS,
  type Width,
} from './model.ts';
import { bounded, costOf, type ListNames } from './price.ts';

/** Rows that one statement adds at most. */
const STATEMENT_ROWS = 4000;

/** What is to be added to the tables: texts of JSON lists, each for one statement. */
export interface Sheet {
  /** [key, ...SERIES_NAMES] */
  readonly series: readonly string[];
  /** [start, series key, ...SUM_NAMES, cost] */
  readonly sums: readonly { readonly table: SumsTable; readonly rows: string }[];
  /** [start, series key, kind, quantity, cost] */
  readonly costs: readonly { readonly table: CostsTable; readonly rows: string }[];
}

type SumsTable = (typeof WIDTHS)[Width]['table' | 'totals'];
type CostsTable = 'usage_costs' | 'usage_costs_totals';

type Sums = { [N in SumColumn]: number } & { cost: bigint };

interface Line {
  quantity: number;
  cost: bigint;
}

/** In the order of SERIES_NAMES. */
type Fields = readonly [
  organization: string,
  project: string,
  key: string,
  owner: string,
  ...rest: (string | number)[],
];

interface Series {
  readonly key: string;
  readonly fields: Fields;
  readonly minutes: Map<number, Sums>;
  /** By day, then kind. */
  readonly lines: Map<number, Map<string, Line>>;
}

export class Folder {
  readonly #prices: PriceTable;
  readonly #names: ListNames;
  readonly #series = new Map<string, Series>();
  readonly #totals = new Map<string, Series>();

  constructor(prices: PriceTable, names: ListNames) {
    this.#prices = prices;
    this.#names = names;
  }

  add(event: UsageEvent): void {
    const usage = bounded(event.usage);
    const cost = costOf(this.#prices, this.#names, event, usage);
    const series = this.#seriesOf(event, cost.version);
    const minute = bucketOf(event.at, WIDTHS['1m'].ms);
    let sums = series.minutes.get(minute);
    if (sums === undefined) {
      sums = noSums();
      series.minutes.set(minute, sums);
    }
    sums.requests++;
    if (event.status >= 400) sums.errors++;
    if (event.outcome !== 'ok' && event.outcome !== 'provider_error') sums.cut++;
    if (event.source === 'counted') sums.counted++;
    if (usage.searches > 0) sums.search_requests++;
    if (cost.unpriced) sums.unpriced++;
    for (const name of USAGE_NAMES) sums[name] += usage[USAGE_COLUMNS[name]];
    sums.cost += cost.nano;
    if (cost.lines.length === 0 && !cost.unpriced) return;
    const day = bucketOf(event.at, WIDTHS['1d'].ms);
    for (const { kind, quantity, nano } of cost.lines) addLine(series, day, kind, quantity, nano);
    if (cost.unpriced) addLine(series, day, UNPRICED, 1, 0n);
  }

  sheet(): Sheet {
    // Totals are summed from their series, so that no event is priced or added twice.
    for (const series of this.#series.values()) addSeries(this.#totalOf(series), series);
    const sheet: Writing = { series: [], sums: [], costs: [] };
    writeRows(sheet, [...this.#series.values()], 'table', 'usage_costs');
    writeRows(sheet, [...this.#totals.values()], 'totals', 'usage_costs_totals');
    this.#totals.clear();
    return sheet;
  }

  #seriesOf(event: UsageEvent, version: string): Series {
    const tier = storable(event.serviceTier) || 'default';
    const fields: Fields = [
      event.organizationId,
      event.projectId,
      event.keyId,
      event.ownerId,
      familyOf(event.operation),
      event.operation,
      storable(event.modelServed || event.modelAsked),
      storable(event.modelAsked),
      storable(event.provider),
      tier,
      version,
      event.batch || tier === 'batch' ? 1 : 0,
      event.test ? 1 : 0,
    ];
    return seriesIn(this.#series, fields);
  }

  #totalOf({ fields }: Series): Series {
    const [organization, project, , , ...rest] = fields;
    return seriesIn(this.#totals, [organization, project, '', '', ...rest]);
  }
}

function seriesIn(all: Map<string, Series>, fields: Fields): Series {
  const id = fields.join('\n');
  let series = all.get(id);
  if (series === undefined) {
    const key = createHash('sha256').update(JSON.stringify(fields)).digest('hex').slice(0, 32);
    series = { key, fields, minutes: new Map(), lines: new Map() };
    all.set(id, series);
  }
  return series;
}

interface Writing {
  readonly series: string[];
  readonly sums: Sheet['sums'][number][];
  readonly costs: Sheet['costs'][number][];
}

function writeRows(
  sheet: Writing,
  all: readonly Series[],
  level: 'table' | 'totals',
  costsTable: CostsTable,
): void {
  const rows: { [W in Width]: string[] } = { '1m': [], '1h': [], '1d': [] };
  const costs: string[] = [];
  for (const { key, minutes, lines } of all) {
    const hours = wider(minutes, WIDTHS['1h'].ms);
    const days = wider(hours, WIDTHS['1d'].ms);
    for (const [start, sums] of minutes) rows['1m'].push(rowText(start, key, sums));
    for (const [start, sums] of hours) rows['1h'].push(rowText(start, key, sums));
    for (const [start, sums] of days) rows['1d'].push(rowText(start, key, sums));
    for (const [start, kinds] of lines)
      for (const [kind, { quantity, cost }] of kinds)
        costs.push(`[${start},"${key}","${kind}",${quantity},${cost}]`);
  }
  sheet.series.push(...statements(all.map(({ key, fields }) => JSON.stringify([key, ...fields]))));
  for (const width of ['1m', '1h', '1d'] as const)
    for (const text of statements(rows[width])) sheet.sums.push({ table: WIDTHS[width][level], rows: text });
  for (const text of statements(costs)) sheet.costs.push({ table: costsTable, rows: text });
}

function addSeries(into: Series, from: Series): void {
  for (const [start, sums] of from.minutes) {
    const there = into.minutes.get(start);
    if (there === undefined) into.minutes.set(start, { ...sums });
    else addSums(there, sums);
  }
  for (const [day, kinds] of from.lines)
    for (const [kind, { quantity, cost }] of kinds) addLine(into, day, kind, quantity, cost);
}

function addSums(into: Sums, from: Sums): void {
  for (const name of SUM_NAMES) into[name] += from[name];
  into.cost += from.cost;
}

/** Names come from callers and providers; a NUL or half a surrogate pair is text to JavaScript and to no database. */
function storable(name: string): string {
  return name.isWellFormed() && !name.includes('\0') ? name : name.toWellFormed().replaceAll('\0', '\uFFFD');
}

function noSums(): Sums {
  return {
    requests: 0,
    errors: 0,
    cut: 0,
    counted: 0,
    search_requests: 0,
    unpriced: 0,
    input: 0,
    cached_input: 0,
    cache_write: 0,
    output: 0,
    reasoning: 0,
    audio_input: 0,
    audio_output: 0,
    image_input: 0,
    image_output: 0,
    images: 0,
    audio_ms: 0,
    characters: 0,
    searches: 0,
    cost: 0n,
  };
}

function addLine(series: Series, day: number, kind: string, quantity: number, cost: bigint): void {
  let kinds = series.lines.get(day);
  if (kinds === undefined) {
    kinds = new Map();
    series.lines.set(day, kinds);
  }
  const line = kinds.get(kind);
  if (line === undefined) kinds.set(kind, { quantity, cost });
  else {
    line.quantity += quantity;
    line.cost += cost;
  }
}

function wider(narrow: ReadonlyMap<number, Sums>, widthMs: number): Map<number, Sums> {
  const wide = new Map<number, Sums>();
  for (const [at, sums] of narrow) {
    const start = bucketOf(at, widthMs);
    const into = wide.get(start);
    if (into === undefined) wide.set(start, { ...sums });
    else addSums(into, sums);
  }
  return wide;
}

function rowText(start: number, key: string, sums: Sums): string {
  let text = `[${start},"${key}"`;
  for (const name of SUM_NAMES) text += `,${sums[name]}`;
  return `${text},${sums.cost}]`;
}

function statements(rows: readonly string[]): string[] {
  const texts: string[] = [];
  for (let at = 0; at < rows.length; at += STATEMENT_ROWS)
    texts.push(`[${rows.slice(at, at + STATEMENT_ROWS).join(',')}]`);
  return texts;
}
