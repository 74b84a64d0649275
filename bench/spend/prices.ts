// What pricing costs the road: finding a model's rates, bounding a call and pricing its usage, in ns each.
// node bench/spend/prices.ts

import { Rates } from '../../src/spend/prices/rates.ts';
import { shippedPrices } from '../../src/spend/prices/shipped.ts';
import { PriceTable } from '../../src/spend/prices/table.ts';
import { noUsage } from '../../src/spend/usage.ts';

const ROUNDS = 5;
const CALLS = 1_000_000;

function measure(name: string, run: (at: number) => number): void {
  let sink = 0;
  const each: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const started = process.hrtime.bigint();
    for (let at = 0; at < CALLS; at++) sink += run(at);
    each.push(Number(process.hrtime.bigint() - started) / CALLS);
  }
  each.sort((a, b) => a - b);
  console.log(`${name.padEnd(44)} ${(each[ROUNDS >> 1] ?? 0).toFixed(1).padStart(8)} ns   (sum ${sink})`);
}

const table = new PriceTable([shippedPrices()]);
const now = Date.UTC(2026, 9, 1);
const models = ['gpt-5.4', 'gpt-6-sol-2026-09-01', 'gpt-5.6-sol', 'gpt-4o-mini'];
const rates = models.map((model) => {
  const found = table.find('openai', model, now);
  const made = found.kind === 'priced' ? found.rates('default') : found;
  if (!(made instanceof Rates)) throw new Error(`${model} has no price`);
  return made;
});
const usages = Array.from({ length: 64 }, (_, at) => ({
  ...noUsage(),
  input: 500 + at * 137,
  cachedInput: at * 70,
  output: 100 + at * 31,
  reasoning: at * 11,
}));
const pick = <T>(list: readonly T[], at: number): T => list[at % list.length] as T;

measure('find the model, rates of its tier', (at) => {
  const found = table.find('openai', pick(models, at), now + at);
  return found.kind === 'priced' && found.rates('default') instanceof Rates ? 1 : 0;
});
measure('bound a call', (at) => pick(rates, at).worstCase({ input: 500 + (at & 4095), output: 1024 }));
measure('price a usage', (at) => pick(rates, at).nano(pick(usages, at)));
measure(
  'price a usage line by line (off the road)',
  (at) => pick(rates, at).cost(pick(usages, at)).lines.length,
);
