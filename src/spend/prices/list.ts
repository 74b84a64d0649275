// Price lists that people write: rows in dollars, in the configuration (`prices:`) or a file for `prices import`.
//
//   { "source": "our contract", "date": "2026-11-01", "prices": [
//     { "provider": "openai", "models": ["gpt-6.1-sol", "gpt-6.1-sol-####-##-##"], "from": "2026-10-26",
//       "input": "2", "cached_input": "0.10", "output": "10" },
//     { "provider": "openai", "models": ["gpt-6.1-sol"], "above": 272000, "input": "4", "output": "15" },
//     { "provider": "openai", "models": ["gpt-6*"], "tier": "priority", "factor": "2" },
//     { "provider": "local", "models": ["*"], "free": true } ] }

import { z } from 'zod';
import { SetupError } from '../../platform/errors.ts';
import { scaleDecimal, unscaled } from './decimal.ts';
import type {
  Band,
  Kind,
  KindPrices,
  ModelPrices,
  Period,
  PriceList,
  ProviderPrices,
  Tier,
  TierFactor,
} from './model.ts';
import { tierOf } from './model.ts';

/** The columns of a row: which kind, how many decimals make pico-dollars a unit, and what the price is for. */
const COLUMNS = {
  input: ['input', 6, '1M tokens'],
  cached_input: ['cachedInput', 6, '1M tokens'],
  cache_write: ['cacheWrite', 6, '1M tokens'],
  cache_write_1h: ['cacheWrite1h', 6, '1M tokens'],
  audio_input: ['audioInput', 6, '1M tokens'],
  image_input: ['imageInput', 6, '1M tokens'],
  output: ['output', 6, '1M tokens'],
  reasoning: ['reasoning', 6, '1M tokens'],
  audio_output: ['audioOutput', 6, '1M tokens'],
  image_output: ['imageOutput', 6, '1M tokens'],
  image: ['image', 12, 'image'],
  characters: ['character', 6, '1M characters'],
  search: ['search', 9, '1,000 searches'],
  request: ['request', 9, '1,000 requests'],
  audio_hour: ['audioHour', 12, 'hour of audio'],
} as const satisfies { readonly [column: string]: readonly [Kind, number, string] };

type Column = keyof typeof COLUMNS;

/** A price as a row of a list has it: the column, the dollars, and what they are for. */
export interface WrittenPrice {
  readonly column: Column;
  readonly dollars: string;
  readonly unit: string;
}

/** Prices as people write them, in the order of the columns. */
export function writtenPrices(prices: KindPrices): WrittenPrice[] {
  return (Object.keys(COLUMNS) as Column[]).flatMap((column) => {
    const [kind, decimals, unit] = COLUMNS[column];
    const price = prices[kind];
    return price === undefined ? [] : [{ column, dollars: unscaled(price, decimals), unit }];
  });
}

const day = z.string().regex(/^\d{4}-\d{2}-\d{2}$/, 'write a date as YYYY-MM-DD');
const dollars = z.union([z.string(), z.number().nonnegative()]).transform((value, context) => {
  const text = String(value);
  if (/^\d{1,15}(\.\d{1,30})?$/.test(text)) return text;
  context.addIssue({ code: 'custom', message: 'write an amount of dollars such as "2.50"' });
  return z.NEVER;
});

const row = z.strictObject({
  provider: z.string().min(1).max(100),
  models: z
    .array(
      z
        .string()
        .min(1)
        .max(200)
        .transform((name) => name.trim().toLowerCase()),
    )
    .min(1)
    .max(200),
  from: day.optional(),
  hours: z.tuple([z.string(), z.string()]).optional(),
  tier: z.enum(['default', 'flex', 'priority', 'batch']).default('default'),
  above: z.int().nonnegative().default(0),
  factor: z
    .string()
    .regex(/^\d{1,6}(\.\d{1,6}|\/[1-9]\d{0,5})?$/, 'write a factor as "2", "2.5" or "20/11"')
    .optional(),
  free: z.literal(true).optional(),
  ...(Object.fromEntries(Object.keys(COLUMNS).map((column) => [column, dollars.optional()])) as {
    [C in Column]: z.ZodOptional<typeof dollars>;
  }),
});
export type PriceRow = z.infer<typeof row>;

export const priceListFile = z.strictObject({
  source: z.string().min(1).max(200),
  date: day,
  currency: z.literal('USD').default('USD'),
  prices: z.array(row).max(20_000),
});

/**
 * A price list from what a person wrote.
 * @param where names it in the error: a file, or `prices in keygate.yaml`
 * @throws SetupError that says which row is wrong and what to write
 */
export function readPriceList(value: unknown, where: string): PriceList {
  const parsed = priceListFile.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new SetupError(
      `${where}: ${issue?.path.join('.') || 'the list'}: ${issue?.message ?? 'not a price list'}`,
    );
  }
  const groups = new Map<string, Group>();
  for (const [at, each] of parsed.data.prices.entries()) {
    try {
      place(groups, each);
    } catch (error) {
      throw new SetupError(
        `${where}: prices.${at}: ${error instanceof Error ? error.message : 'cannot be read'}`,
      );
    }
  }
  const providers = new Map<
    string,
    { id: string; fallbacks: []; models: ModelPrices[]; factors: TierFactor[] }
  >();
  for (const group of groups.values()) {
    let provider = providers.get(group.provider);
    if (provider === undefined) {
      provider = { id: group.provider, fallbacks: [], models: [], factors: [] };
      providers.set(group.provider, provider);
    }
    if (group.factor !== undefined)
      provider.factors.push({ models: group.models, tier: group.tier, factor: group.factor });
    const periods = [...group.periods.values()].sort(
      (a, b) => (a.from ?? 0) - (b.from ?? 0) || Number(!!a.hours) - Number(!!b.hours),
    );
    for (const period of periods) {
      period.bands.sort((a, b) => a.above - b.above);
      if (period.bands[0]?.above !== 0) {
        throw new SetupError(
          `${where}: ${group.provider} ${group.models[0]}: add a row without "above", for shorter prompts`,
        );
      }
    }
    if (periods.length > 0) provider.models.push({ models: group.models, tier: group.tier, periods });
  }
  return {
    source: parsed.data.source,
    date: parsed.data.date,
    providers: [...providers.values()] satisfies ProviderPrices[],
  };
}

interface Group {
  readonly provider: string;
  readonly models: readonly string[];
  readonly tier: Tier;
  readonly periods: Map<string, Period & { readonly bands: Band[] }>;
  factor?: readonly [number, number];
}

function place(groups: Map<string, Group>, each: PriceRow): void {
  const tier = tierOf(each.tier) ?? 'default';
  const key = JSON.stringify([each.provider, each.models, tier]);
  const group: Group = groups.get(key) ?? {
    provider: each.provider,
    models: each.models,
    tier,
    periods: new Map(),
  };
  groups.set(key, group);
  const prices = pricesOf(each);
  if (each.factor !== undefined) {
    if (tier === 'default' || Object.keys(prices).length > 0)
      throw new RangeError('a factor is for a tier other than default, and stands alone');
    group.factor = fraction(each.factor);
    return;
  }
  if (Object.keys(prices).length === 0)
    throw new RangeError('no price: give input and output, or "free": true');
  const when = `${each.from ?? ''} ${each.hours?.join('-') ?? ''}`;
  const period = group.periods.get(when) ?? { ...timing(each), bands: [] };
  group.periods.set(when, period);
  if (period.bands.some((band) => band.above === each.above))
    throw new RangeError('the same models, date and "above" as an earlier row');
  period.bands.push({ above: each.above, prices });
}

function pricesOf(each: PriceRow): { [K in Kind]?: number } {
  if (each.free) return { input: 0, output: 0, image: 0, character: 0, search: 0, audioHour: 0 };
  const found: { [K in Kind]?: number } = {};
  for (const [column, [kind, decimals, unit]] of Object.entries(COLUMNS) as [
    Column,
    (typeof COLUMNS)[Column],
  ][]) {
    const text = each[column];
    if (text === undefined) continue;
    const { value, exact } = scaleDecimal(text, decimals);
    if (!exact)
      throw new RangeError(
        `${column} ${text} is finer than can be held: at most ${decimals} decimals per ${unit}`,
      );
    found[kind] = value;
  }
  return found;
}

function timing(each: PriceRow): Pick<Period, 'from' | 'hours'> {
  const from = each.from === undefined ? undefined : Date.parse(`${each.from}T00:00:00Z`);
  if (Number.isNaN(from)) throw new RangeError(`from: ${each.from} is no date`);
  const hours = each.hours?.map(minutes) as [number, number] | undefined;
  return { ...(from === undefined ? {} : { from }), ...(hours === undefined ? {} : { hours }) };
}

function minutes(time: string): number {
  const parsed = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(time);
  if (parsed === null)
    throw new RangeError(`hours: write UTC times such as ["16:30", "00:30"], not "${time}"`);
  return Number(parsed[1]) * 60 + Number(parsed[2]);
}

function fraction(text: string): readonly [number, number] {
  const [whole = '', under] = text.split('/');
  if (under !== undefined) return [Number(whole), Number(under)];
  const decimals = whole.split('.')[1]?.length ?? 0;
  return [Number(whole.replace('.', '')), 10 ** decimals];
}
