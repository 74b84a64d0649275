// The price list that comes with keygate (data.json, made by scripts/prices.mjs), and the internal form of a list as
// it is stored: both are read through one schema.

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { KINDS, type PriceList } from './model.ts';

const globs = z.array(z.string().min(1).max(200)).min(1).max(500);
const tier = z.enum(['default', 'flex', 'priority', 'batch']);
const prices = z.partialRecord(z.enum(KINDS), z.int().nonnegative());
const period = z.object({
  from: z.int().exactOptional(),
  hours: z.tuple([z.int().min(0).max(1439), z.int().min(0).max(1439)]).exactOptional(),
  bands: z
    .array(z.object({ above: z.int().nonnegative(), prices }))
    .min(1)
    .max(20),
});
const provider = z.object({
  id: z.string().min(1).max(100),
  url: z.string().max(500).exactOptional(),
  fallbacks: z.array(z.string()).max(50),
  models: z.array(z.object({ models: globs, tier, periods: z.array(period).min(1).max(100) })).max(20_000),
  factors: z
    .array(z.object({ models: globs, tier, factor: z.tuple([z.int().positive(), z.int().positive()]) }))
    .max(1000),
});

/** A price list in its internal form, as it is shipped and stored. */
export const priceList: z.ZodType<PriceList> = z.object({
  source: z.string().min(1).max(200),
  date: z.string().regex(/^\d{4}-\d{2}-\d{2}$/),
  providers: z.array(provider).max(1000),
});

/** The sandbox's own models cost nothing, unless a list says otherwise. */
const SANDBOX: PriceList['providers'][number] = {
  id: 'sandbox',
  fallbacks: [],
  models: [
    {
      models: ['*'],
      tier: 'default',
      periods: [
        {
          bands: [
            { above: 0, prices: { input: 0, output: 0, image: 0, character: 0, search: 0, audioHour: 0 } },
          ],
        },
      ],
    },
  ],
  factors: [],
};

let read: PriceList | undefined;

/** The shipped list. Read once, at first use. */
export function shippedPrices(): PriceList {
  if (read === undefined) {
    // Not imported: an imported file stays in memory, the text and what it says.
    const file = new URL('./data.json', import.meta.url);
    const list = priceList.parse(JSON.parse(readFileSync(file, 'utf8')));
    read = { ...list, providers: [...list.providers, SANDBOX] };
  }
  return read;
}
