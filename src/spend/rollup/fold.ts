// Folding: usage events in, sums out. Pure and synchronous; it runs on the thread of the embedded database
// (in-store.ts), or for PostgreSQL on one of its own (rollup-worker.ts).
//
// Events are summed by minute and series; hours and days are summed from the minutes, totals from their series, and
// the lines of the costs by day, so that no event is priced or added twice.

import { createHash } from 'node:crypto';
import type { UsageEvent } from '../usage.ts';
import {
  bucketOf,
  type CallColumn,
  familyOf,
  UNPRICED,
  USAGE_COLUMNS,
  USAGE_NAMES,
  WIDTHS,
  type Width,
} from './model.ts';
import { bounded, costOf, type Prices } from './price.ts';

const KINDS = USAGE_NAMES.map((name) => USAGE_COLUMNS[name]);

/** A row of sums: `requests` to `unpriced`, `usage` in the order of USAGE_NAMES, and the cost in nano-dollars. */
export class Sums implements Record<CallColumn, number> {
  requests = 0;
  errors = 0;
  cut = 0;
  counted = 0;
  search_requests = 0;
  unpriced = 0;
  readonly usage: number[] = KINDS.map(() => 0);
  cost = 0n;

  add(other: Sums): void {
    this.requests += other.requests;
    this.errors += other.errors;
    this.cut += other.cut;
    this.counted += other.counted;
    this.search_requests += other.search_requests;
    this.unpriced += other.unpriced;
    for (const [at, count] of other.usage.entries()) this.usage[at] = (this.usage[at] ?? 0) + count;
    this.cost += other.cost;
  }
}

/** A line of a day's costs. */
export interface Line {
  quantity: number;
  cost: bigint;
}

/** What tells calls apart, in the order of SERIES_NAMES. */
export type Fields = readonly [
  organization: string,
  project: string,
  key: string,
  owner: string,
  ...rest: (string | number)[],
];

export class Series {
  readonly fields: Fields;
  /** The same as one text. */
  readonly name: string;
  /** By their start. */
  readonly minutes = new Map<number, Sums>();
  /** By day, then kind. */
  readonly lines = new Map<number, Map<string, Line>>();

  constructor(fields: Fields, name: string) {
    this.fields = fields;
    this.name = name;
  }

  /** Its name in the database. */
  key(): string {
    return createHash('sha256').update(JSON.stringify(this.fields)).digest('hex').slice(0, 32);
  }

  /** Its sums of a width, by their start. */
  sums(width: Width): ReadonlyMap<number, Sums> {
    if (width === '1m') return this.minutes;
    const wide = new Map<number, Sums>();
    for (const [at, sums] of this.minutes) sumsAt(wide, bucketOf(at, WIDTHS[width].ms)).add(sums);
    return wide;
  }
}

export class Folder {
  readonly #prices: Prices;
  readonly #series = new Map<string, Series>();
  /** How many sums of a minute and lines of costs it holds: what they take to keep and to write grows with it. */
  size = 0;

  constructor(prices: Prices) {
    this.#prices = prices;
  }

  add(event: UsageEvent): void {
    const usage = bounded(event.usage);
    const cost = costOf(this.#prices.table, this.#prices.names, event, usage);
    const series = this.#seriesOf(event, cost.version);
    const before = series.minutes.size;
    const sums = sumsAt(series.minutes, bucketOf(event.at, WIDTHS['1m'].ms));
    this.size += series.minutes.size - before;
    sums.requests++;
    if (event.status >= 400) sums.errors++;
    if (event.outcome !== 'ok' && event.outcome !== 'provider_error') sums.cut++;
    if (event.source === 'counted') sums.counted++;
    if (usage.searches > 0) sums.search_requests++;
    if (cost.unpriced) sums.unpriced++;
    for (const [at, kind] of KINDS.entries()) sums.usage[at] = (sums.usage[at] ?? 0) + usage[kind];
    sums.cost += cost.nano;
    if (cost.lines.length === 0 && !cost.unpriced) return;
    const day = bucketOf(event.at, WIDTHS['1d'].ms);
    for (const { kind, quantity, nano } of cost.lines) this.#addLine(series, day, kind, quantity, nano);
    if (cost.unpriced) this.#addLine(series, day, UNPRICED, 1, 0n);
  }

  /** The sums of each series. */
  get series(): readonly Series[] {
    return [...this.#series.values()];
  }

  /** The same without keys and owners. */
  totals(): readonly Series[] {
    const totals = new Map<string, Series>();
    for (const { fields, minutes, lines } of this.#series.values()) {
      const [organization, project, , , ...rest] = fields;
      const total = seriesIn(totals, [organization, project, '', '', ...rest]);
      for (const [start, sums] of minutes) sumsAt(total.minutes, start).add(sums);
      for (const [day, kinds] of lines)
        for (const [kind, { quantity, cost }] of kinds) addLine(total, day, kind, quantity, cost);
    }
    return [...totals.values()];
  }

  #seriesOf(event: UsageEvent, version: string): Series {
    const tier = storable(event.serviceTier) || 'default';
    return seriesIn(this.#series, [
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
    ]);
  }

  #addLine(series: Series, day: number, kind: string, quantity: number, cost: bigint): void {
    if (addLine(series, day, kind, quantity, cost)) this.size++;
  }
}

/** No field holds a NUL (`storable`), so different fields have different names. */
function seriesIn(all: Map<string, Series>, fields: Fields): Series {
  const name = fields.join('\0');
  let series = all.get(name);
  if (series === undefined) {
    series = new Series(fields, name);
    all.set(name, series);
  }
  return series;
}

function sumsAt(all: Map<number, Sums>, start: number): Sums {
  let sums = all.get(start);
  if (sums === undefined) {
    sums = new Sums();
    all.set(start, sums);
  }
  return sums;
}

/** True: the line is a new one. */
function addLine(series: Series, day: number, kind: string, quantity: number, cost: bigint): boolean {
  let kinds = series.lines.get(day);
  if (kinds === undefined) {
    kinds = new Map();
    series.lines.set(day, kinds);
  }
  const line = kinds.get(kind);
  if (line === undefined) {
    kinds.set(kind, { quantity, cost });
    return true;
  }
  line.quantity += quantity;
  line.cost += cost;
  return false;
}

/** Names come from callers and providers; a NUL or half a surrogate pair is text to JavaScript and to no database. */
function storable(name: string): string {
  return name.isWellFormed() && !name.includes('\0') ? name : name.toWellFormed().replaceAll('\0', '\uFFFD');
}
