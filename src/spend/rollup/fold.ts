// Folding: usage events in, sums out. Pure and synchronous; it runs on the thread of the embedded database
// (in-store.ts), or for PostgreSQL on one of its own (rollup-worker.ts).
//
// Events are summed by minute and series; hours and days are summed from the minutes, totals from their series, and
// the lines of the costs by day, so that no event is priced or added twice. What tells calls apart is looked up by its
// long names once a segment; an event finds its series by what came of that.

import { createHash } from 'node:crypto';
import type { What, Who } from '../segment/layout.ts';
import type { EventSink } from '../segment/scan.ts';
import type { EventSpend, Usage } from '../usage.ts';
import { bucketOf, familyOf, SUM_NAMES, type SumColumn, UNPRICED, WIDTHS, type Width } from './model.ts';
import { bounded, costOf, type Prices } from './price.ts';

/** A row of sums, by column: the sums of calls, those of Usage, and the cost in nano-dollars. */
export class Sums implements Record<SumColumn, number> {
  requests = 0;
  errors = 0;
  cut = 0;
  counted = 0;
  search_requests = 0;
  unpriced = 0;
  input = 0;
  cached_input = 0;
  cache_write = 0;
  output = 0;
  reasoning = 0;
  audio_input = 0;
  audio_output = 0;
  image_input = 0;
  image_output = 0;
  images = 0;
  audio_ms = 0;
  characters = 0;
  searches = 0;
  cost = 0n;

  /** One by one: for every event, by computed names it would take as long as all the rest. */
  addUsage(usage: Usage): void {
    this.input += usage.input;
    this.cached_input += usage.cachedInput;
    this.cache_write += usage.cacheWrite;
    this.output += usage.output;
    this.reasoning += usage.reasoning;
    this.audio_input += usage.audioInput;
    this.audio_output += usage.audioOutput;
    this.image_input += usage.imageInput;
    this.image_output += usage.imageOutput;
    this.images += usage.images;
    this.audio_ms += usage.audioMs;
    this.characters += usage.characters;
    this.searches += usage.searches;
  }

  add(other: Sums): void {
    for (const name of SUM_NAMES) this[name] += other[name];
    this.cost += other.cost;
  }
}

/** A line of a day's costs. */
export interface Line {
  readonly kind: string;
  quantity: number;
  cost: bigint;
}

/** The first of SERIES_NAMES: whose calls. */
type Holder = readonly [organization: string, project: string, key: string, owner: string];
/** The others: what they were for. */
type Manner = readonly (string | number)[];

export class Series {
  /** In the order of SERIES_NAMES. */
  readonly fields: readonly (string | number)[];
  /** Sums of a minute by its start, and lines of costs by the day's. */
  readonly minutes = new Map<number, Sums>();
  readonly days = new Map<number, Line[]>();
  // The last ones that were asked for: most calls are of the same minute as the one before.
  #minute = Number.NaN;
  #sums: Sums | null = null;
  #day = Number.NaN;
  #lines: Line[] | null = null;

  constructor(holder: Holder, manner: Manner) {
    this.fields = [...holder, ...manner];
  }

  /** The fields as one text. */
  get name(): string {
    return nameOf(this.fields);
  }

  /** Its name in the database. */
  key(): string {
    return createHash('sha256').update(JSON.stringify(this.fields)).digest('hex').slice(0, 32);
  }

  sumsOf(minute: number): Sums {
    if (this.#sums !== null && minute === this.#minute) return this.#sums;
    this.#minute = minute;
    this.#sums = sumsAt(this.minutes, minute);
    return this.#sums;
  }

  /** True: the line is a new one. */
  addLine(day: number, kind: string, quantity: number, cost: bigint): boolean {
    const lines = this.#linesOf(day);
    for (const line of lines) {
      if (line.kind !== kind) continue;
      line.quantity += quantity;
      line.cost += cost;
      return false;
    }
    lines.push({ kind, quantity, cost });
    return true;
  }

  #linesOf(day: number): Line[] {
    if (this.#lines !== null && day === this.#day) return this.#lines;
    this.#day = day;
    this.#lines = this.days.get(day) ?? [];
    this.days.set(day, this.#lines);
    return this.#lines;
  }

  addAll({ minutes, days }: Series): void {
    for (const [minute, sums] of minutes) this.sumsOf(minute).add(sums);
    for (const [day, lines] of days)
      for (const { kind, quantity, cost } of lines) this.addLine(day, kind, quantity, cost);
  }

  /** Its sums of a width, by their start. */
  sums(width: Width): ReadonlyMap<number, Sums> {
    if (width === '1m') return this.minutes;
    const wide = new Map<number, Sums>();
    for (const [at, sums] of this.minutes) sumsAt(wide, bucketOf(at, WIDTHS[width].ms)).add(sums);
    return wide;
  }
}

/** Whose calls, and their series by what they were for. */
interface HolderSeries {
  readonly holder: Holder;
  readonly series: Map<Manner, Series>;
}

/** What calls were for, by the version of the prices that they were charged by. */
interface Asked {
  readonly what: What;
  readonly manners: Map<string, Manner>;
}

export class Folder implements EventSink<HolderSeries, Asked> {
  readonly #prices: Prices;
  readonly #holders = new Map<string, HolderSeries>();
  readonly #manners = new Map<string, Manner>();
  /** How many events were added. */
  events = 0;
  /** How many sums of a minute and lines of costs it holds: what they take to keep and to write grows with it. */
  size = 0;

  constructor(prices: Prices) {
    this.#prices = prices;
  }

  who({ organizationId, projectId, keyId, ownerId }: Who): HolderSeries {
    return holderIn(this.#holders, [organizationId, projectId, keyId, ownerId]);
  }

  what(what: What): Asked {
    return { what, manners: new Map() };
  }

  add(who: HolderSeries, asked: Asked, atMs: number, used: Readonly<Usage>, spend: EventSpend | null): void {
    const { what } = asked;
    const usage = bounded(used);
    const cost = costOf(this.#prices, what, atMs, usage, spend);
    const series = seriesIn(who, this.#mannerOf(asked, cost.version));
    const before = series.minutes.size;
    const sums = series.sumsOf(bucketOf(atMs, WIDTHS['1m'].ms));
    this.size += series.minutes.size - before;
    this.events++;
    sums.requests++;
    if (what.status >= 400) sums.errors++;
    if (what.outcome !== 'ok' && what.outcome !== 'provider_error') sums.cut++;
    if (what.source === 'counted') sums.counted++;
    if (usage.searches > 0) sums.search_requests++;
    if (cost.unpriced) sums.unpriced++;
    sums.addUsage(usage);
    sums.cost += cost.nano;
    if (cost.lines.length === 0 && !cost.unpriced) return;
    const day = bucketOf(atMs, WIDTHS['1d'].ms);
    for (const { kind, quantity, nano } of cost.lines)
      if (series.addLine(day, kind, quantity, nano)) this.size++;
    if (cost.unpriced && series.addLine(day, UNPRICED, 1, 0n)) this.size++;
  }

  /** The sums of each series. */
  get series(): readonly Series[] {
    return seriesOf(this.#holders);
  }

  /** The same without keys and owners. */
  totals(): readonly Series[] {
    const totals = new Map<string, HolderSeries>();
    for (const { holder, series } of this.#holders.values()) {
      const [organization, project] = holder;
      const all = holderIn(totals, [organization, project, '', '']);
      for (const [manner, one] of series) seriesIn(all, manner).addAll(one);
    }
    return seriesOf(totals);
  }

  #mannerOf({ what, manners }: Asked, version: string): Manner {
    let manner = manners.get(version);
    if (manner === undefined) {
      const made = mannerOf(what, version);
      const name = nameOf(made);
      manner = this.#manners.get(name) ?? made;
      this.#manners.set(name, manner);
      manners.set(version, manner);
    }
    return manner;
  }
}

function mannerOf(what: What, version: string): Manner {
  const tier = storable(what.serviceTier) || 'default';
  return [
    familyOf(what.operation),
    what.operation,
    storable(what.modelServed || what.modelAsked),
    storable(what.modelAsked),
    storable(what.provider),
    tier,
    version,
    what.batch || tier === 'batch' ? 1 : 0,
    what.test ? 1 : 0,
  ];
}

/** No field holds a NUL (`storable`), so different fields have different names. */
function nameOf(fields: readonly (string | number)[]): string {
  return fields.join('\0');
}

function holderIn(all: Map<string, HolderSeries>, holder: Holder): HolderSeries {
  const name = nameOf(holder);
  let found = all.get(name);
  if (found === undefined) {
    found = { holder, series: new Map() };
    all.set(name, found);
  }
  return found;
}

function seriesIn({ holder, series }: HolderSeries, manner: Manner): Series {
  let found = series.get(manner);
  if (found === undefined) {
    found = new Series(holder, manner);
    series.set(manner, found);
  }
  return found;
}

function seriesOf(holders: ReadonlyMap<string, HolderSeries>): readonly Series[] {
  return [...holders.values()].flatMap(({ series }) => [...series.values()]);
}

function sumsAt(all: Map<number, Sums>, start: number): Sums {
  let sums = all.get(start);
  if (sums === undefined) {
    sums = new Sums();
    all.set(start, sums);
  }
  return sums;
}

/** Names come from callers and providers; a NUL or half a surrogate pair is text to JavaScript and to no database. */
function storable(name: string): string {
  return name.isWellFormed() && !name.includes('\0') ? name : name.toWellFormed().replaceAll('\0', '\uFFFD');
}
