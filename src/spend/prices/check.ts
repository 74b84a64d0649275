// What `keygate prices check` says: which of the models that are served have no price, or one to look at twice.

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
