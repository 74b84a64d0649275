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
  readonly rows: { readonly [W in Width]: readonly string[] };
  /** [start, series key, kind, quantity, cost] */
  readonly costs: readonly string[];
}

type Sums = { [N in SumColumn]: number } & { cost: bigint };

interface Line {
  quantity: number;
  cost: bigint;
}

interface Series {
  readonly key: string;
  readonly fields: readonly (string | number)[];
  readonly minutes: Map<number, Sums>;
  /** By day, then kind. */
  readonly lines: Map<number, Map<string, Line>>;
}

export class Folder {
  readonly #prices: PriceTable;
  readonly #names: ListNames;
  readonly #series = new Map<string, Series>();

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
    const series: string[] = [];
    const rows: { [W in Width]: string[] } = { '1m': [], '1h': [], '1d': [] };
    const costs: string[] = [];
    for (const { key, fields, minutes, lines } of this.#series.values()) {
      series.push(JSON.stringify([key, ...fields]));
      const hours = wider(minutes, WIDTHS['1h'].ms);
      const days = wider(hours, WIDTHS['1d'].ms);
      for (const [start, sums] of minutes) rows['1m'].push(rowText(start, key, sums));
      for (const [start, sums] of hours) rows['1h'].push(rowText(start, key, sums));
      for (const [start, sums] of days) rows['1d'].push(rowText(start, key, sums));
      for (const [start, kinds] of lines)
        for (const [kind, { quantity, cost }] of kinds)
          costs.push(`[${start},"${key}","${kind}",${quantity},${cost}]`);
    }
    return {
      series: statements(series),
      rows: { '1m': statements(rows['1m']), '1h': statements(rows['1h']), '1d': statements(rows['1d']) },
      costs: statements(costs),
    };
  }

  #seriesOf(event: UsageEvent, version: string): Series {
    const tier = event.serviceTier;
    // In the order of SERIES_NAMES.
    const fields = [
      event.organizationId,
      event.projectId,
      event.keyId,
      event.ownerId,
      familyOf(event.operation),
      event.operation,
      storable(event.modelServed || event.modelAsked),
      storable(event.modelAsked),
      storable(event.provider),
      storable(tier) || 'default',
      version,
      tier === 'batch' ? 1 : 0,
      event.test ? 1 : 0,
    ];
    const id = fields.join('\n');
    let series = this.#series.get(id);
    if (series === undefined) {
      const key = createHash('sha256').update(JSON.stringify(fields)).digest('hex').slice(0, 32);
      series = { key, fields, minutes: new Map(), lines: new Map() };
      this.#series.set(id, series);
    }
    return series;
  }
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
    else {
      for (const name of SUM_NAMES) into[name] += sums[name];
      into.cost += sums.cost;
    }
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
