// What `keygate prices check` says: which of the models that are served have no price, or one to look at twice.

import { globMatches, isExact } from './glob.ts';
import type { PriceList } from './model.ts';
import { Rates } from './rates.ts';
import type { PriceTable } from './table.ts';

/** Shipped prices older than this are mentioned: 120 days, in milliseconds. */
const OLD_MS = 120 * 86_400_000;

export interface Finding {
  readonly level: 'error' | 'warning';
  readonly model: string;
  readonly message: string;
}

/**
 * @param served the models that providers are configured to serve, each with its provider's name on the price lists
 * @param atMs now
 */
export function checkPrices(
  table: PriceTable,
  served: readonly { readonly provider: string; readonly model: string }[],
  atMs: number,
): Finding[] {
  const findings: Finding[] = [];
  for (const { provider, model } of served) {
    const name = `${provider}/${model}`;
    const say = (level: Finding['level'], message: string) => findings.push({ level, model: name, message });
    const found = table.find(provider, model, atMs);
    if (found.kind === 'unpriced') {
      say(
        'error',
        'has no price: add a row for it under "prices" in the configuration, or import a newer list',
      );
      continue;
    }
    const rates = found.rates('default');
    if (!(rates instanceof Rates)) say('error', 'has no price on the default tier');
    else if (rates.free && provider !== 'sandbox') say('warning', 'is free on the price list');
    if (!(found.rates('priority') instanceof Rates)) {
      say('warning', 'has no price for priority processing: such calls are treated as unpriced');
    }
    if (/audio|realtime/.test(model) && rates instanceof Rates && !rates.states('audioInput')) {
      say('warning', 'has no price of its own for audio: audio tokens are charged as text');
    }
  }
  const shipped = table.lists.at(-1);
  if (shipped && atMs - Date.parse(shipped.date) > OLD_MS) {
    findings.push({
      level: 'warning',
      model: '*',
      message: `the shipped prices are of ${shipped.date}: import a newer list`,
    });
  }
  return findings;
}

/**
 * Rows that people wrote and that never take effect, or not where their writer may think.
 * @param lists those of the configuration and those that were imported; what is shipped is not theirs to mend
 * @param providers the names on price lists of the providers that are configured
 * @param served as in `checkPrices`
 */
export function checkRows(
  lists: readonly PriceList[],
  providers: ReadonlySet<string>,
  served: readonly { readonly provider: string; readonly model: string }[],
): Finding[] {
  const findings: Finding[] = [];
  for (const { source, providers: priced } of lists) {
    for (const { id, models, factors } of priced) {
      const say = (model: string, message: string) =>
        findings.push({ level: 'warning', model: `${id}/${model}`, message: `${message} (${source})` });
      if (!providers.has(id)) {
        say('*', 'never matches: no provider is called so, or lives where the lists know this one');
        continue;
      }
      const names = served.filter(({ provider }) => provider === id).map(({ model }) => model.toLowerCase());
      const patterns = [...models, ...factors].flatMap((entry) => entry.models);
      for (const pattern of new Set(patterns)) {
        if (pattern.startsWith('!') || names.some((name) => globMatches(pattern, name))) continue;
        say(pattern, 'matches no model that is served or was called lately');
      }
      for (const [first, second] of overlaps(models.filter(({ tier }) => tier === 'default'))) {
        say(second, `overlaps with the row of ${first} before it, which decides where both match`);
      }
    }
  }
  return findings;
}

/** Patterns of different rows that both match some name: the first row decides there. Exact names decide before any. */
function* overlaps(
  entries: PriceList['providers'][number]['models'],
): Generator<[first: string, second: string]> {
  const patterns = entries.flatMap((entry, row) =>
    entry.models
      .filter((each) => !isExact(each) && !each.startsWith('!'))
      .map((pattern) => ({ row, pattern })),
  );
  for (const [at, second] of patterns.entries()) {
    const first = patterns
      .slice(0, at)
      .find(({ row, pattern }) => row !== second.row && meet(pattern, second.pattern));
    if (first !== undefined) yield [first.pattern, second.pattern];
  }
}

/** Whether one of two patterns matches what the other stands for at its shortest. */
function meet(a: string, b: string): boolean {
  const shortest = (pattern: string) => pattern.replaceAll('*', '').replaceAll('#', '0');
  return globMatches(a, shortest(b)) || globMatches(b, shortest(a));
}
