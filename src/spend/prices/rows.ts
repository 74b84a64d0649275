// The price table as people read it: what a model costs at a moment and who says so, what the lists hold, and what an
// import would change.

import { type WrittenPrice, writtenPrices } from './list.ts';
import type { PriceList, Tier } from './model.ts';
import { Rates } from './rates.ts';
import type { PriceTable } from './table.ts';

/** The prices of one model, or of the models that a list's globs name, on one tier and beyond one length of input. */
export interface PriceRow {
  readonly provider: string;
  readonly models: readonly string[];
  readonly tier: Tier;
  /** Input tokens beyond which they hold. */
  readonly above: number;
  /** Milliseconds since the epoch; null: since ever. */
  readonly from: number | null;
  readonly prices: readonly WrittenPrice[];
  /** The list that states them. */
  readonly source: string;
  readonly date: string;
}

const TIERS: readonly Tier[] = ['default', 'flex', 'priority', 'batch'];

/** What `model` costs at `atMs`, by the list that decides for it: of one provider, or of each that has it. */
export function effectiveRows(
  table: PriceTable,
  provider: string | null,
  model: string,
  atMs: number,
): PriceRow[] {
  const providers = provider === null ? providersOf(table) : [provider];
  return providers.flatMap((name) => {
    const found = table.find(name, model, atMs);
    if (found.kind === 'unpriced') return [];
    const { source, date } = found.list;
    return TIERS.flatMap((tier) => {
      const rates = found.rates(tier);
      if (!(rates instanceof Rates)) return [];
      // A tier without a price of its own is charged at the default one: said once.
      if (tier !== 'default' && rates === found.rates('default')) return [];
      return rates.stated.map(({ above, prices }) => ({
        provider: name,
        models: [model],
        tier,
        above,
        from: null,
        prices: writtenPrices(prices),
        source,
        date,
      }));
    });
  });
}

/** What the lists hold that is in effect at `atMs`, the list that decides first, first. */
export function* statedRows(table: PriceTable, provider: string | null, atMs: number): Generator<PriceRow> {
  for (const list of table.lists) {
    for (const { id, models } of list.providers) {
      if (provider !== null && id !== provider) continue;
      for (const entry of models) {
        const period = entry.periods.findLast(({ from }) => from === undefined || from <= atMs);
        for (const { above, prices } of period?.bands ?? []) {
          yield {
            provider: id,
            models: entry.models,
            tier: entry.tier,
            above,
            from: period?.from ?? null,
            prices: writtenPrices(prices),
            source: list.source,
            date: list.date,
          };
        }
      }
    }
  }
}

/** One price that becomes another. */
export interface PriceChange {
  readonly provider: string;
  readonly model: string;
  readonly tier: Tier;
  readonly above: number;
  readonly column: string;
  readonly unit: string;
  /** Dollars; null: there was none, or there will be none. */
  readonly before: string | null;
  readonly after: string | null;
}

/**
 * What changes at `atMs` when `after` takes the place of `before`: for the models that `list` names one by one, and for
 * those of `known` that its patterns name.
 */
export function changesOf(
  before: PriceTable,
  after: PriceTable,
  list: PriceList,
  known: readonly { readonly provider: string; readonly model: string }[],
  atMs: number,
): PriceChange[] {
  const names = new Map<string, Set<string>>();
  for (const { id, models } of list.providers) {
    const exact = models.flatMap((entry) => entry.models.filter((pattern) => !/[*#!]/.test(pattern)));
    names.set(id, new Set(exact));
  }
  for (const { provider, model } of known) names.get(provider)?.add(model.toLowerCase());
  return [...names].flatMap(([provider, models]) =>
    [...models].sort().flatMap((model) => {
      const old = pricesBy(effectiveRows(before, provider, model, atMs));
      const fresh = pricesBy(effectiveRows(after, provider, model, atMs));
      return [...new Set([...old.keys(), ...fresh.keys()])].flatMap((key) => {
        const was = old.get(key);
        const is = fresh.get(key);
        const one = is ?? was;
        if (one === undefined || was?.dollars === is?.dollars) return [];
        const { tier, above, column, unit } = one;
        const change = { provider, model, tier, above, column, unit };
        return [{ ...change, before: was?.dollars ?? null, after: is?.dollars ?? null }];
      });
    }),
  );
}

function pricesBy(rows: readonly PriceRow[]) {
  const by = new Map<string, WrittenPrice & Pick<PriceRow, 'tier' | 'above'>>();
  for (const { tier, above, prices } of rows)
    for (const price of prices) by.set(`${tier}/${above}/${price.column}`, { tier, above, ...price });
  return by;
}

function providersOf(table: PriceTable): string[] {
  const ids = new Set(table.lists.flatMap(({ providers }) => providers.map(({ id }) => id)));
  // The sandbox takes any name, for nothing: it is no answer to what a model costs.
  ids.delete('sandbox');
  return [...ids];
}
