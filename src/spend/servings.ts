// Who may serve a call, and at which prices. Looked up once for each model of each provider and tier, and again every
// minute: a price begins with a day and holds for hours of it, never for a part of a minute (prices/model.ts).

import { type ModelLimits, modelLimits } from './bound/model-limits.ts';
import { Rates } from './prices/rates.ts';
import type { PricedModel, PriceTable } from './prices/table.ts';

/** A model that may serve the call, by the names of its provider and its own, with its prices at the call's arrival. */
export interface Serving {
  readonly provider: string;
  readonly model: string;
  /** The price lists' name of the provider. */
  readonly listed: string;
  /** Null: no list knows it. */
  readonly priced: PricedModel | null;
  /** The dearest rates at which it may be charged; null: without a price. */
  readonly rates: Rates | null;
  readonly limits: ModelLimits;
}

/** Whoever may serve a call. */
export interface Candidate {
  readonly provider: { readonly name: string };
  readonly model: string;
}

const MINUTE_MS = 60_000;
/** Callers name models and tiers: what is remembered of them is bounded. */
const MODELS_MOST = 4_096;
const TIERS_MOST = 8;

interface Known {
  minute: number;
  /** By the tier that a call asks for; '' where it asks for none. */
  readonly byTier: Map<string, Serving>;
}

export class Servings {
  readonly #table: PriceTable;
  readonly #listName: (table: PriceTable, provider: string) => string;
  readonly #known = new Map<string, Map<string, Known>>();
  #models = 0;

  /** @param listName the price lists' name of a provider, by the administrator's own name for it */
  constructor(table: PriceTable, listName: (table: PriceTable, provider: string) => string) {
    this.#table = table;
    this.#listName = listName;
  }

  /**
   * @param tier the service tier that the call asks for; '': none
   * @param at when it arrived, in milliseconds since the epoch
   */
  of({ provider, model }: Candidate, tier: string, at: number): Serving {
    const known = this.#known.get(provider.name)?.get(model) ?? this.#learn(provider.name, model);
    const minute = Math.floor(at / MINUTE_MS);
    if (known.minute !== minute || known.byTier.size > TIERS_MOST) {
      known.minute = minute;
      known.byTier.clear();
    }
    let serving = known.byTier.get(tier);
    if (serving === undefined) {
      serving = this.#lookUp(provider.name, model, tier, at);
      known.byTier.set(tier, serving);
    }
    return serving;
  }

  #learn(provider: string, model: string): Known {
    if (++this.#models > MODELS_MOST) {
      this.#known.clear();
      this.#models = 1;
    }
    const known: Known = { minute: -1, byTier: new Map() };
    const models = this.#known.get(provider) ?? new Map<string, Known>();
    this.#known.set(provider, models.set(model, known));
    return known;
  }

  #lookUp(provider: string, model: string, tier: string, at: number): Serving {
    const listed = this.#listName(this.#table, provider);
    const found = this.#table.find(listed, model, at);
    const priced = found.kind === 'priced' ? found : null;
    const rates = priced && ratesOf(priced, tier === '' ? null : tier);
    return { provider, model, listed, priced, rates, limits: modelLimits(model) };
  }
}

/** Tells which of two rates is dearer: tiers are multiples of each other. */
const PROBE = { input: 1_000_000, output: 1_000_000 };

/** A call that asks for a tier may be served, and charged, at the default one: the dearer of the two. */
function ratesOf(priced: PricedModel, tier: string | null): Rates | null {
  const plain = priced.rates(null);
  const asked = priced.rates(tier);
  if (!(plain instanceof Rates) || !(asked instanceof Rates)) return null;
  return asked !== plain && asked.worstCase(PROBE) > plain.worstCase(PROBE) ? asked : plain;
}
