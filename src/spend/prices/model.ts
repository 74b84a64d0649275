// Prices: the kinds that are billed, the units they are held in, and the shapes of a price table.
//
// Units. Every price is a whole number, so that no sum ever rounds in between:
//   tokens, images, characters, searches, requests   pico-dollars (10^-12 $) each
//   audio time                                       pico-dollars an hour
// One dollar per million tokens is 1,000,000 pico-dollars a token, so a list price of up to six decimals is exact
// ($0.003625 per million, the finest on the shipped list, is 3,625). Nano-dollars a token would not hold it. A
// price that an aggregator computed and that does not end ($0.0833…) is rounded up, and the shipped table names
// each such case. Amounts of money are nano-dollars (10^-9 $): a call's exact cost, rounded up once, at the end.

/** What is billed. The names follow Usage; `audioHour` is time, the others are counts. */
export const KINDS = [
  'input',
  'cachedInput',
  'cacheWrite',
  'cacheWrite1h',
  'audioInput',
  'imageInput',
  'output',
  'reasoning',
  'audioOutput',
  'imageOutput',
  'image',
  'character',
  'search',
  'request',
  'audioHour',
] as const;

export type Kind = (typeof KINDS)[number];

/** Prices in pico-dollars by kind; what is absent falls back as `compile` in rates.ts says, or has no price. */
export type KindPrices = { readonly [K in Kind]?: number };

/** How the provider served the call. `fast` is the newer name of `priority`, `standard` of `default`. */
export type Tier = 'default' | 'flex' | 'priority' | 'batch';

/** The tier that a request or a reply names; undefined for one that no price list knows (`scale`, a typo). */
export function tierOf(name: string | null | undefined): Tier | undefined {
  switch (name) {
    case undefined:
    case null:
    case '':
    case 'auto':
    case 'default':
    case 'standard':
    case 'standard_only':
      return 'default';
    case 'flex':
      return 'flex';
    case 'priority':
    case 'fast':
      return 'priority';
    case 'batch':
      return 'batch';
    default:
      return undefined;
  }
}

/** The prices of calls whose input is longer than `above` tokens; the whole call is then charged at them. */
export interface Band {
  readonly above: number;
  readonly prices: KindPrices;
}

/** The prices that hold from a moment on, or at certain hours. */
export interface Period {
  /** Milliseconds since the epoch; absent: since ever. */
  readonly from?: number;
  /** Minutes of the UTC day, [first, end); end before first wraps over midnight. Absent: all day. */
  readonly hours?: readonly [number, number];
  /** Sorted by `above`; the first has `above` 0. */
  readonly bands: readonly Band[];
}

/** One model's prices on one tier. */
export interface ModelPrices {
  /** Globs of model names (glob.ts). */
  readonly models: readonly string[];
  readonly tier: Tier;
  /** The last one that applies wins; if none does, the first. */
  readonly periods: readonly Period[];
}

/** A tier whose prices are the default ones times a fraction, as providers publish them. */
export interface TierFactor {
  readonly models: readonly string[];
  readonly tier: Tier;
  readonly factor: readonly [numerator: number, denominator: number];
}

export interface ProviderPrices {
  /** The provider's name on the price list: `openai`, `anthropic`. */
  readonly id: string;
  /** A regular expression that its base URL begins with; only the shipped table has one. */
  readonly url?: string;
  /** Providers whose models it also serves, at their prices. */
  readonly fallbacks: readonly string[];
  readonly models: readonly ModelPrices[];
  readonly factors: readonly TierFactor[];
}

/** A price list from one source: what is shipped, what was imported, or what the configuration says. */
export interface PriceList {
  /** Who says so, for people: `@pydantic/genai-prices 0.1.8`, `keygate.yaml`. */
  readonly source: string;
  /** When it was published, YYYY-MM-DD. */
  readonly date: string;
  readonly providers: readonly ProviderPrices[];
}

/** Why there is no price. */
export interface Unpriced {
  readonly kind: 'unpriced';
  readonly reason: 'model' | 'tier';
  readonly provider: string;
  readonly model: string;
  readonly tier: string;
}
