// The price table: price lists laid over each other (the configuration's over imported ones over the shipped one),
// and the look-up of a model's prices at a time and on a tier.
//
// Which price holds: the first list that names the model (in any of its periods up to that time) decides, so that an
// administrator's price is never mixed with a shipped one. Within it, the last period in effect. A tier that the
// list does not price itself is the default price times the provider's published factor. `flex` and `batch`
// without either are charged as `default`, since no provider asks more for them; `priority`, which costs more, is
// unpriced: guessing low would be the quiet kind of free.

import { createHash } from 'node:crypto';
import { anyGlobMatches, isExact } from './glob.ts';
import type {
  Band,
  Kind,
  KindPrices,
  ModelPrices,
  Period,
  PriceList,
  ProviderPrices,
  Tier,
  Unpriced,
} from './model.ts';
import { tierOf } from './model.ts';
import { Rates } from './rates.ts';

/** Names of models come from callers: what is remembered of them is bounded. */
const REMEMBERED = 4096;
const DAY_MINUTES = 1440;

/** What one list says of one model: its periods by tier. */
interface Found {
  readonly list: PriceList;
  readonly provider: ProviderPrices;
  readonly periods: { readonly [T in Tier]: readonly Timed[] };
}

/** A period, and its rates once they were asked for: a million calls share one object. */
interface Timed {
  readonly period: Period;
  rates: Rates | undefined;
  factored: Map<string, Rates> | undefined;
}

/** A model's prices as one call finds them: fixed at the call's arrival, so that its bound and its bill agree. */
export class PricedModel {
  readonly kind = 'priced';
  readonly provider: string;
  readonly model: string;
  private readonly table: PriceTable;
  private readonly found: Found;
  private readonly base: Timed;
  private readonly atMs: number;

  constructor(table: PriceTable, found: Found, base: Timed, provider: string, model: string, atMs: number) {
    this.table = table;
    this.found = found;
    this.base = base;
    this.provider = provider;
    this.model = model;
    this.atMs = atMs;
  }

  /** The list that decides for it. */
  get list(): PriceList {
    return this.found.list;
  }

  /** The rates of a tier, by the name that a request or a reply gives it: a call may be served on another tier. */
  rates(name: string | null | undefined): Rates | Unpriced {
    const tier = tierOf(name);
    if (tier === 'default') return this.own(this.base);
    if (tier !== undefined) {
      const stated = inEffect(this.found.periods[tier], this.atMs);
      if (stated !== undefined) return this.own(stated);
      const factor = this.table.factor(this.provider, this.found.provider.id, this.model, tier);
      if (factor !== undefined) return this.factored(factor);
      if (tier !== 'priority') return this.own(this.base);
    }
    return {
      kind: 'unpriced',
      reason: 'tier',
      provider: this.provider,
      model: this.model,
      tier: name ?? 'default',
    };
  }

  private own(timed: Timed): Rates {
    timed.rates ??= new Rates(this.table.version, timed.period.bands);
    return timed.rates;
  }

  private factored(factor: readonly [number, number]): Rates {
    const key = factor.join('/');
    this.base.factored ??= new Map();
    let rates = this.base.factored.get(key);
    if (rates === undefined) {
      rates = new Rates(
        this.table.version,
        this.base.period.bands.map((band) => scaled(band, factor)),
      );
      this.base.factored.set(key, rates);
    }
    return rates;
  }
}

export class PriceTable {
  readonly lists: readonly PriceList[];
  /** Twelve hexadecimal digits of a digest over all lists: equal versions are equal prices. */
  readonly version: string;
  private readonly index: readonly ListIndex[];
  private readonly remembered = new Map<string, Map<string, readonly Found[]>>();
  private count = 0;

  /** @param lists the ones that decide first, first */
  constructor(lists: readonly PriceList[]) {
    this.lists = lists;
    this.version = createHash('sha256').update(JSON.stringify(lists)).digest('hex').slice(0, 12);
    this.index = lists.map((list) => new ListIndex(list));
  }

  /** The price list's name of the provider that lives at `baseUrl`; undefined for one that no list knows. */
  providerAt(baseUrl: URL): string | undefined {
    for (const { list } of this.index) {
      for (const provider of list.providers) {
        if (provider.url !== undefined && new RegExp(`^(?:${provider.url})`).test(baseUrl.href))
          return provider.id;
      }
    }
    return undefined;
  }

  /**
   * The prices of `model` at `atMs` (milliseconds since the epoch).
   * @param provider its name on the price lists (`providerAt`), or the administrator's own name for it
   */
  find(provider: string, model: string, atMs: number): PricedModel | Unpriced {
    for (const found of this.lookUp(provider, model)) {
      const base = inEffect(found.periods.default, atMs);
      if (base !== undefined) return new PricedModel(this, found, base, provider, model, atMs);
    }
    return { kind: 'unpriced', reason: 'model', provider, model, tier: 'default' };
  }

  /** The published factor of a tier: the provider's own, or of the one whose price it takes over. */
  factor(provider: string, source: string, model: string, tier: Tier): readonly [number, number] | undefined {
    const name = normal(model);
    for (const id of provider === source ? [provider] : [provider, source]) {
      for (const { byId } of this.index) {
        const rule = byId
          .get(id)
          ?.factors.find((each) => each.tier === tier && anyGlobMatches(each.models, name));
        if (rule !== undefined) return rule.factor;
      }
    }
    return undefined;
  }

  private lookUp(provider: string, model: string): readonly Found[] {
    const known = this.remembered.get(provider)?.get(model);
    if (known !== undefined) return known;
    const name = normal(model);
    const found = this.index.map((list) => list.find(provider, name)).filter((each) => each !== undefined);
    if (++this.count > REMEMBERED) {
      this.remembered.clear();
      this.count = 1;
    }
    const names = this.remembered.get(provider) ?? new Map<string, readonly Found[]>();
    this.remembered.set(provider, names.set(model, found));
    return found;
  }
}

/** One list, ready for look-up: exact names in a map, patterns in the list's order. */
class ListIndex {
  readonly list: PriceList;
  readonly byId = new Map<string, ProviderPrices>();
  private readonly exact = new Map<string, ModelPrices[]>();
  private readonly patterns = new Map<string, ModelPrices[]>();
  private readonly timed = new Map<Period, Timed>();

  constructor(list: PriceList) {
    this.list = list;
    for (const provider of list.providers) {
      this.byId.set(provider.id, provider);
      for (const entry of provider.models) this.add(provider.id, entry);
    }
  }

  private add(provider: string, entry: ModelPrices): void {
    for (const pattern of entry.models) {
      if (isExact(pattern)) append(this.exact, `${provider}\n${pattern}`, entry);
    }
    if (!entry.models.every(isExact)) append(this.patterns, provider, entry);
  }

  /** What this list says of a model: by the provider itself, then by those whose models it also serves. */
  find(provider: string, name: string): Found | undefined {
    const known = this.byId.get(provider);
    if (known === undefined) return undefined;
    for (const id of [provider, ...known.fallbacks]) {
      const source = this.byId.get(id);
      const entries = this.entries(id, name) ?? this.entries(id, withDashedDate(name));
      if (source !== undefined && entries !== undefined)
        return { list: this.list, provider: source, periods: this.byTier(entries) };
    }
    return undefined;
  }

  private byTier(entries: readonly ModelPrices[]): Found['periods'] {
    const of = (tier: Tier) =>
      entries
        .filter((entry) => entry.tier === tier)
        .flatMap((entry) => entry.periods)
        .map((period) => this.timedOf(period));
    return { default: of('default'), flex: of('flex'), priority: of('priority'), batch: of('batch') };
  }

  private timedOf(period: Period): Timed {
    let timed = this.timed.get(period);
    if (timed === undefined) {
      timed = { period, rates: undefined, factored: undefined };
      this.timed.set(period, timed);
    }
    return timed;
  }

  private entries(provider: string, name: string): readonly ModelPrices[] | undefined {
    const exact = this.exact.get(`${provider}\n${name}`);
    if (exact !== undefined) return exact;
    const patterns = this.patterns.get(provider) ?? [];
    const first = patterns.find((entry) => anyGlobMatches(entry.models, name));
    // Every tier of the same models, which the list states as entries with the same globs.
    return first && patterns.filter((entry) => entry.models.join() === first.models.join());
  }
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/** The last period in effect. */
function inEffect(periods: readonly Timed[], atMs: number): Timed | undefined {
  for (let at = periods.length - 1; at >= 0; at--) {
    const timed = periods[at];
    if (timed !== undefined && holds(timed.period, atMs)) return timed;
  }
  return undefined;
}

function holds(period: Period, atMs: number): boolean {
  if (period.from !== undefined && atMs < period.from) return false;
  if (period.hours === undefined) return true;
  const [first, end] = period.hours;
  const minute = Math.floor(atMs / 60_000) % DAY_MINUTES;
  return first <= end ? minute >= first && minute < end : minute >= first || minute < end;
}

function scaled(band: Band, [numerator, denominator]: readonly [number, number]): Band {
  const prices: { [K in Kind]?: number } = {};
  for (const [kind, price] of Object.entries(band.prices) as [Kind, number][]) {
    // Searches and requests are fees, the same on every tier.
    prices[kind] =
      kind === 'search' || kind === 'request' ? price : Math.ceil((price * numerator) / denominator);
  }
  return { above: band.above, prices: prices satisfies KindPrices };
}

function normal(model: string): string {
  return model.trim().toLowerCase();
}

/** `…-20240718` as `…-2024-07-18`, the way another provider writes the same snapshot. */
function withDashedDate(name: string): string {
  return name.replace(/-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)/, '-$1-$2-$3');
}
