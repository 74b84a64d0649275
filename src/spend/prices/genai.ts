// Reads the price data of pydantic/genai-prices (MIT), the source of the shipped table, into a price list. Used by
// scripts/prices.mjs when the shipped table is made, and by `prices import` for a newer copy of the same data.
//
// What cannot be carried over is said, never dropped in silence: models whose only prices are of kinds that keygate
// does not meter (`leftOut`), kinds that it does not meter beside ones that it does (`notMetered`), and prices
// finer than a pico-dollar, which are rounded up (`rounded`).

import { z } from 'zod';
import { plainDecimal, scaleDecimal } from './decimal.ts';
import type { Band, Kind, KindPrices, ModelPrices, Period, PriceList, ProviderPrices } from './model.ts';

type Match = { readonly [clause: string]: string | readonly Match[] };

const match: z.ZodType<Match> = z.lazy(() =>
  z.record(z.string(), z.union([z.string().max(200), z.array(match).max(500)])),
);
const amount = z.number().nonnegative();
const tiered = z.object({
  base: amount,
  tiers: z.array(z.object({ start: z.int().nonnegative(), price: amount })).max(20),
});
const prices = z.record(z.string(), z.union([amount, tiered]));
const constraint = z.union([
  z.object({ start_date: z.string() }),
  z.object({ start_time: z.string(), end_time: z.string() }),
]);
const source = z
  .array(
    z.object({
      id: z.string().max(100),
      api_pattern: z.string().max(500),
      fallback_model_providers: z.array(z.string()).optional(),
      models: z
        .array(
          z.object({
            id: z.string().max(200),
            match,
            prices: z.union([
              prices,
              z
                .array(z.object({ constraint: constraint.optional(), prices }))
                .min(1)
                .max(100),
            ]),
          }),
        )
        .max(10_000),
    }),
  )
  .max(1000);

/** Which of the source's price keys is which kind, and how many decimals turn its dollars into pico-dollars a unit. */
const KEYS: { readonly [key: string]: readonly [Kind, decimals: number] } = {
  input_mtok: ['input', 6],
  cache_read_mtok: ['cachedInput', 6],
  cache_write_mtok: ['cacheWrite', 6],
  cache_write_1h_mtok: ['cacheWrite1h', 6],
  input_audio_mtok: ['audioInput', 6],
  input_image_mtok: ['imageInput', 6],
  output_mtok: ['output', 6],
  output_reasoning_mtok: ['reasoning', 6],
  output_audio_mtok: ['audioOutput', 6],
  output_image_mtok: ['imageOutput', 6],
  web_searches_kcount: ['search', 9],
  requests_kcount: ['request', 9],
  audio_hours: ['audioHour', 12],
};
/** Says the same as `audio_hours` where both are given. */
const SAME = new Set(['input_audio_hours']);

export interface Conversion {
  readonly list: PriceList;
  /** `provider/model: price key value` */
  readonly rounded: readonly string[];
  /** `provider/model: why` */
  readonly leftOut: readonly string[];
  /** Price keys that have no kind here, with how many models have one. */
  readonly notMetered: { readonly [key: string]: number };
}

/**
 * @param data the source's list of providers, as parsed JSON
 * @throws z.ZodError if it is not of that form
 */
export function fromGenaiPrices(data: unknown, name: string, date: string): Conversion {
  const notes: Notes = { rounded: [], leftOut: [], notMetered: {} };
  const providers: ProviderPrices[] = source.parse(data).map((provider) => ({
    id: provider.id,
    url: provider.api_pattern,
    fallbacks: provider.fallback_model_providers ?? [],
    models: provider.models.flatMap((model) => {
      const path = `${provider.id}/${model.id}`;
      const models = globs(model.match);
      if (models === undefined) notes.leftOut.push(`${path}: its names cannot be written as globs`);
      const periods = Array.isArray(model.prices)
        ? model.prices.map((each, at) =>
            period(path, each.prices, at === 0 ? undefined : each.constraint, notes),
          )
        : [period(path, model.prices, undefined, notes)];
      const kept = periods.filter((each) => each !== undefined);
      if (kept.length < periods.length) notes.leftOut.push(`${path}: priced by what keygate does not meter`);
      if (models === undefined || kept.length < periods.length) return [];
      return [{ models, tier: 'default', periods: kept } satisfies ModelPrices];
    }),
    factors: [],
  }));
  return { list: { source: name, date, providers }, ...notes };
}

interface Notes {
  readonly rounded: string[];
  readonly leftOut: string[];
  readonly notMetered: { [key: string]: number };
}

/** Undefined where none of its prices is of a kind that is metered. */
function period(
  path: string,
  given: z.infer<typeof prices>,
  when: z.infer<typeof constraint> | undefined,
  notes: Notes,
): Period | undefined {
  const starts = new Set([0]);
  for (const price of Object.values(given)) {
    if (typeof price !== 'number') for (const tier of price.tiers) starts.add(tier.start);
  }
  const known = Object.entries(given).filter(([key]) => !SAME.has(key));
  const metered = known.filter(([key]) => KEYS[key] !== undefined);
  for (const [key] of known)
    if (KEYS[key] === undefined) notes.notMetered[key] = (notes.notMetered[key] ?? 0) + 1;
  // No price at all is the source's way of saying free; only foreign prices is not.
  if (metered.length === 0 && known.length > 0) return undefined;
  const bands = [...starts]
    .sort((a, b) => a - b)
    .map(
      (above): Band => ({
        above,
        prices: metered.length === 0 ? FREE : kindPrices(path, metered, above, notes),
      }),
    );
  return { ...timing(when), bands };
}

const FREE: KindPrices = { input: 0, output: 0 };

function kindPrices(
  path: string,
  metered: readonly [string, z.infer<typeof amount> | z.infer<typeof tiered>][],
  above: number,
  notes: Notes,
): KindPrices {
  const found: { [K in Kind]?: number } = {};
  for (const [key, price] of metered) {
    const rule = KEYS[key];
    if (rule === undefined) continue;
    const [kind, decimals] = rule;
    const dollars =
      typeof price === 'number'
        ? price
        : (price.tiers.findLast((tier) => above >= tier.start)?.price ?? price.base);
    const { value, exact } = scaleDecimal(plainDecimal(dollars), decimals);
    if (!exact) notes.rounded.push(`${path}: ${key} ${dollars}`);
    found[kind] = value;
  }
  return found;
}

function timing(when: z.infer<typeof constraint> | undefined): Pick<Period, 'from' | 'hours'> {
  if (when === undefined) return {};
  if ('start_date' in when) return { from: Date.parse(`${when.start_date}T00:00:00Z`) };
  return { hours: [minutes(when.start_time), minutes(when.end_time)] };
}

function minutes(time: string): number {
  const parsed = /^(\d\d):(\d\d)(?::00)?Z?$/.exec(time);
  if (parsed === null) throw new RangeError(`"${time}" is not a time of day`);
  return Number(parsed[1]) * 60 + Number(parsed[2]);
}

/** The source's match logic as globs; undefined where that is not possible. */
function globs(clause: Match): string[] | undefined {
  const [entry, ...others] = Object.entries(clause);
  if (entry === undefined || others.length > 0) return undefined;
  const [kind, value] = entry;
  if (typeof value === 'string') {
    const text = value.toLowerCase();
    if (kind === 'regex') return regexAsGlobs(text);
    if (/[*#!]/.test(text)) return undefined;
    if (kind === 'equals') return [text];
    if (kind === 'starts_with') return [`${text}*`];
    if (kind === 'ends_with') return [`*${text}`];
    if (kind === 'contains') return [`*${text}*`];
    return undefined;
  }
  const inner = value.map(globs);
  if (!inner.every((each) => each !== undefined)) return undefined;
  if (kind === 'or') return [...new Set(inner.flat())];
  // Of `and`, only "these, but not those" can be said.
  const positive = inner.filter((each) => !each.every((glob) => glob.startsWith('!')));
  return kind === 'and' && positive.length === 1 ? [...new Set(inner.flat())] : undefined;
}

const NOT_TTS = '^(?!.*-[tt][tt][ss](?:$|-))';
/** What such a regular expression is made of: digits, counted digits, escaped signs, plain characters. */
const PIECE = /\\d(?:\{(\d)\})?|\\([.[\]])|([\w:@/=-])/y;

function regexAsGlobs(regex: string): string[] | undefined {
  if (regex === NOT_TTS) return ['!*-tts', '!*-tts-*'];
  if (!regex.startsWith('^')) return undefined;
  const open = !regex.endsWith('$');
  const body = regex.slice(1, open ? undefined : -1);
  let glob = '';
  let at = 0;
  while (at < body.length) {
    PIECE.lastIndex = at;
    const piece = PIECE.exec(body);
    if (piece === null) return undefined;
    glob += piece[2] ?? piece[3] ?? '#'.repeat(Number(piece[1] ?? 1));
    at = PIECE.lastIndex;
  }
  return [open ? `${glob}*` : glob];
}
