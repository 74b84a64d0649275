import { calcPrice } from '@pydantic/genai-prices';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { KindPrices, PriceList } from '../../src/spend/prices/model.ts';
import { type CallBound, Rates } from '../../src/spend/prices/rates.ts';
import { shippedPrices } from '../../src/spend/prices/shipped.ts';
import { PriceTable } from '../../src/spend/prices/table.ts';
import { noUsage, type Usage } from '../../src/spend/usage.ts';

const NOW = Date.UTC(2026, 9, 1);
const table = new PriceTable([shippedPrices()]);

function ratesOf(provider: string, model: string, at = NOW, tier = 'default'): Rates {
  const found = table.find(provider, model, at);
  if (found.kind !== 'priced') throw new Error(`${provider}/${model} has no price`);
  const rates = found.rates(tier);
  if (!(rates instanceof Rates)) throw new Error(`${provider}/${model} has no price on ${tier}`);
  return rates;
}

// ---- an independent arithmetic: exact fractions of dollars, in bigint, from what the list states ----

interface Fraction {
  readonly n: bigint;
  readonly d: bigint;
}
const plus = (a: Fraction, b: Fraction): Fraction => ({ n: a.n * b.d + b.n * a.d, d: a.d * b.d });
const times = (count: number, dollars: Fraction): Fraction => ({
  n: BigInt(count) * dollars.n,
  d: dollars.d,
});
const ZERO: Fraction = { n: 0n, d: 1n };
const PICO = 10n ** 12n;
const HOUR = 3_600_000n;

/** The cost in nano-dollars, rounded up, computed from the whole down: sub-kinds are taken out of their whole. */
function independently(usage: Usage, prices: KindPrices): bigint {
  const dollars = (pico: number | undefined): Fraction => ({ n: BigInt(pico ?? 0), d: PICO });
  const text = dollars(prices.input);
  const reply = dollars(prices.output);
  const own = (pico: number | undefined, parent: Fraction) => (pico === undefined ? parent : dollars(pico));
  const split = (whole: number, parts: [number, Fraction][], rest: Fraction): Fraction => {
    let sum = ZERO;
    let left = whole;
    for (const [wanted, price] of parts) {
      const n = Math.min(wanted, left);
      sum = plus(sum, times(n, price));
      left = left - n;
    }
    return plus(sum, times(left, rest));
  };
  let sum = split(
    usage.input,
    [
      [usage.audioInput, own(prices.audioInput, text)],
      [usage.imageInput, own(prices.imageInput, text)],
      [usage.cacheWrite, own(prices.cacheWrite, text)],
      [usage.cachedInput, own(prices.cachedInput, text)],
    ],
    text,
  );
  sum = plus(
    sum,
    split(
      usage.output,
      [
        [usage.audioOutput, own(prices.audioOutput, reply)],
        [usage.imageOutput, own(prices.imageOutput, reply)],
        [usage.reasoning, own(prices.reasoning, reply)],
      ],
      reply,
    ),
  );
  sum = plus(sum, times(usage.images, dollars(prices.image)));
  sum = plus(sum, times(usage.characters, dollars(prices.character)));
  sum = plus(sum, times(usage.searches, dollars(prices.search)));
  sum = plus(sum, times(1, dollars(prices.request)));
  sum = plus(sum, { n: BigInt(usage.audioMs) * BigInt(prices.audioHour ?? 0), d: PICO * HOUR });
  const nano = sum.n * 10n ** 9n;
  return nano % sum.d === 0n ? nano / sum.d : nano / sum.d + 1n;
}

// ---- random usages ----

const tokens = fc.oneof(
  fc.integer({ min: 0, max: 2000 }),
  fc.integer({ min: 0, max: 3_000_000 }),
  fc.constantFrom(0, 200_000, 271_999, 272_000),
);
/** Parts of a whole, also ones that overlap or are larger than the whole, as careless providers report them. */
const usages: fc.Arbitrary<Usage> = fc
  .record({
    input: tokens,
    output: tokens,
    shares: fc.array(fc.integer({ min: 0, max: 130 }), { minLength: 7, maxLength: 7 }),
    images: fc.integer({ min: 0, max: 10 }),
    audioMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 36_000_000 })),
    characters: fc.integer({ min: 0, max: 100_000 }),
    searches: fc.integer({ min: 0, max: 50 }),
  })
  .map(({ shares, ...rest }) => {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0] = shares;
    const of = (whole: number, share: number) => Math.floor((whole * share) / 300);
    return {
      ...noUsage(),
      ...rest,
      cachedInput: of(rest.input, a),
      cacheWrite: of(rest.input, b),
      audioInput: of(rest.input, c),
      imageInput: of(rest.input, d),
      reasoning: of(rest.output, e),
      audioOutput: of(rest.output, f),
      imageOutput: of(rest.output, g),
    };
  });

const pico = fc.oneof(fc.integer({ min: 0, max: 200_000_000 }), fc.integer({ min: 0, max: 5000 }));
const perHour = fc.integer({ min: 0, max: 5_000_000_000_000 });
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const kindPrices: fc.Arbitrary<KindPrices> = fc
  .record({
    input: pico,
    output: pico,
    cachedInput: maybe(pico),
    cacheWrite: maybe(pico),
    cacheWrite1h: maybe(pico),
    audioInput: maybe(pico),
    imageInput: maybe(pico),
    reasoning: maybe(pico),
    audioOutput: maybe(pico),
    imageOutput: maybe(pico),
    image: pico,
    character: pico,
    search: pico,
    request: maybe(pico),
    audioHour: perHour,
  })
  .map((all) => Object.fromEntries(Object.entries(all).filter(([, price]) => price !== undefined)));

const everyModel = shippedPrices().providers.flatMap((provider) =>
  provider.models.flatMap((model) =>
    model.periods.flatMap((period) => period.bands.map((band) => band.prices)),
  ),
);

describe('what a call costs', () => {
  test('agrees with independent exact fractions to the nano-dollar, over 10,000 usages at shipped and random prices', () => {
    fc.assert(
      fc.property(usages, fc.oneof(kindPrices, fc.constantFrom(...everyModel)), (usage, prices) => {
        const rates = new Rates('v', [{ above: 0, prices }]);
        const expected = independently(usage, prices);
        expect(rates.cost(usage).nano).toBe(expected);
        if (expected <= BigInt(Number.MAX_SAFE_INTEGER)) expect(BigInt(rates.nano(usage))).toBe(expected);
      }),
      { numRuns: 10_000, seed: 1 },
    );
  });

  test('is what the price source itself computes, for every model it names and plain text calls', () => {
    let compared = 0;
    for (const provider of shippedPrices().providers) {
      for (const { models } of provider.models) {
        for (const model of models.filter((name) => !/[*#!]/.test(name))) {
          for (const input of [900, 250_000, 300_000]) {
            const usage = { ...noUsage(), input, cachedInput: 400, output: 777 };
            const theirs = calcPrice(
              { input_tokens: input, cache_read_tokens: 400, output_tokens: 777 },
              model,
              {
                providerId: provider.id,
                timestamp: new Date(NOW),
              },
            );
            const found = table.find(provider.id, model, NOW);
            if (theirs === null || found.kind !== 'priced') continue;
            const rates = found.rates('default');
            if (!(rates instanceof Rates)) throw new Error(`${provider.id}/${model}`);
            expect(Number(rates.cost(usage).nano) / 1e9, `${provider.id}/${model}`).toBeCloseTo(
              theirs.total_price,
              7,
            );
            compared++;
          }
        }
      }
    }
    expect(compared).toBeGreaterThan(5000);
  });

  test('charges each token once: cached input, reasoning and audio are taken out of their whole', () => {
    const rates = new Rates('v', [
      {
        above: 0,
        prices: { input: 1_000_000, cachedInput: 100_000, audioInput: 9_000_000, output: 5_000_000 },
      },
    ]);
    const usage = { ...noUsage(), input: 1000, cachedInput: 600, audioInput: 100, output: 50, reasoning: 40 };
    expect(rates.cost(usage)).toEqual({
      nano: 100n * 9000n + 600n * 100n + 300n * 1000n + 50n * 5000n,
      lines: [
        { kind: 'audioInput', quantity: 100, price: 9_000_000, nano: 900_000n },
        { kind: 'cachedInput', quantity: 600, price: 100_000, nano: 60_000n },
        { kind: 'input', quantity: 300, price: 1_000_000, nano: 300_000n },
        { kind: 'output', quantity: 50, price: 5_000_000, nano: 250_000n },
      ],
      missing: [],
    });
  });

  test('has lines that add up to the total, and quantities that add up to the tokens', () => {
    fc.assert(
      fc.property(usages, kindPrices, (usage, prices) => {
        const { nano, lines } = new Rates('v', [{ above: 0, prices }]).cost(usage);
        expect(lines.reduce((sum, line) => sum + line.nano, 0n)).toBe(nano);
        const of = (...kinds: string[]) =>
          lines.filter((line) => kinds.includes(line.kind)).reduce((sum, line) => sum + line.quantity, 0);
        expect(of('input', 'cachedInput', 'cacheWrite', 'audioInput', 'imageInput')).toBe(usage.input);
        expect(of('output', 'reasoning', 'audioOutput', 'imageOutput')).toBe(usage.output);
      }),
      { numRuns: 500, seed: 2 },
    );
  });

  test('says which kinds were used without a price, instead of counting them as free', () => {
    const rates = new Rates('v', [{ above: 0, prices: { input: 20_000 } }]);
    expect(rates.cost({ ...noUsage(), input: 10, output: 3, searches: 1 })).toMatchObject({
      nano: 200n,
      missing: ['output', 'search'],
    });
  });

  test('holds the finest price on the list exactly: $0.003625 per million is 3.625 nano-dollars a token', () => {
    const rates = ratesOf('deepseek', 'deepseek-v4-pro', Date.UTC(2026, 7, 1, 12));
    expect(rates.nano({ ...noUsage(), input: 1_000_000, cachedInput: 1_000_000 })).toBe(3_625_000);
    expect(rates.nano({ ...noUsage(), input: 8, cachedInput: 8 })).toBe(29);
    expect(rates.nano({ ...noUsage(), input: 1, cachedInput: 1 })).toBe(4); // rounded up once, at the end
  });

  test('refuses to name a price that no integer holds', () => {
    const rates = new Rates('v', [{ above: 0, prices: { input: Number.MAX_SAFE_INTEGER } }]);
    expect(() => rates.nano({ ...noUsage(), input: 5000 })).toThrow(/cannot be right/);
  });
});

describe('the most that a call can cost', () => {
  const within = (usage: Usage, slack: number): CallBound => ({
    input: usage.input + slack,
    output: usage.output + slack,
    audioInput: usage.audioInput + slack,
    imageInput: usage.imageInput,
    audioOutput: usage.audioOutput,
    imageOutput: usage.imageOutput + slack,
    images: usage.images,
    audioMs: usage.audioMs + slack,
    characters: usage.characters,
    searches: usage.searches,
  });

  test('is never less than what any usage within the bound costs, bands and cache writes included', () => {
    const bands = fc.tuple(kindPrices, kindPrices, kindPrices).map(([a, b, c]) => [
      { above: 0, prices: a },
      { above: 200_000, prices: b },
      { above: 272_000, prices: c },
    ]);
    fc.assert(
      fc.property(usages, fc.integer({ min: 0, max: 100_000 }), bands, (usage, slack, given) => {
        const rates = new Rates('v', given);
        expect(BigInt(rates.worstCase(within(usage, slack)))).toBeGreaterThanOrEqual(rates.cost(usage).nano);
      }),
      { numRuns: 5000, seed: 3 },
    );
  });

  test('grows with the bound', () => {
    const rates = ratesOf('openai', 'gpt-5.4');
    expect(rates.worstCase({ input: 1000, output: 100 })).toBe(1000 * 2500 + 100 * 15_000);
    expect(rates.worstCase({ input: 300_000, output: 100 })).toBe(300_000 * 5000 + 100 * 22_500);
  });
});

describe('which price holds', () => {
  const price = (rates: Rates) => rates.nano({ ...noUsage(), input: 1000, output: 0 }) / 1000;

  test('changes on the day from which a new price holds', () => {
    expect(price(ratesOf('openai', 'gpt-5.6-sol', Date.UTC(2026, 7, 21) - 1))).toBe(5000);
    expect(price(ratesOf('openai', 'gpt-5.6-sol', Date.UTC(2026, 7, 21)))).toBe(4000);
  });

  test('changes with the hour where a provider charges by the hour', () => {
    expect(price(ratesOf('deepseek', 'deepseek-v4-flash', Date.UTC(2026, 9, 1, 0, 59)))).toBe(220);
    expect(price(ratesOf('deepseek', 'deepseek-v4-flash', Date.UTC(2026, 9, 1, 1, 0)))).toBe(440);
    expect(price(ratesOf('deepseek', 'deepseek-v4-flash', Date.UTC(2026, 9, 1, 4, 0)))).toBe(220);
  });

  test('depends on the length of the prompt: the whole call is charged at the band', () => {
    const rates = ratesOf('openai', 'gpt-6-sol');
    expect(rates.nano({ ...noUsage(), input: 272_000 })).toBe(272_000 * 2000);
    expect(rates.nano({ ...noUsage(), input: 272_001 })).toBe(272_001 * 4000);
  });

  test('knows the dated snapshot of a model, but not another model that begins alike', () => {
    expect(price(ratesOf('openai', 'gpt-6-sol-2026-09-01'))).toBe(2000);
    expect(table.find('openai', 'gpt-6-sol-ultra', NOW)).toMatchObject({ kind: 'unpriced', reason: 'model' });
    expect(table.find('openai', 'gpt-6-sol-2026-9-1', NOW)).toMatchObject({ kind: 'unpriced' });
  });

  test('follows the tier that served the call: flex and batch half, priority by the published factor', () => {
    expect(price(ratesOf('openai', 'gpt-5.4', NOW, 'flex'))).toBe(1250);
    expect(price(ratesOf('openai', 'gpt-5.4', NOW, 'batch'))).toBe(1250);
    expect(price(ratesOf('openai', 'gpt-5.4', NOW, 'priority'))).toBe(5000);
    expect(price(ratesOf('openai', 'gpt-5.5', NOW, 'fast'))).toBe(12_500);
    expect(price(ratesOf('openai', 'gpt-4o-mini', NOW, 'priority'))).toBe(250);
    expect(price(ratesOf('openai', 'o4-mini', NOW, 'priority'))).toBe(2000);
    expect(price(ratesOf('openai', 'gpt-5-mini', NOW, 'priority'))).toBe(450);
  });

  test('does not guess a dearer tier: priority without a published factor is unpriced', () => {
    const found = table.find('groq', 'llama-3.1-8b-instant', NOW);
    if (found.kind !== 'priced') throw new Error('expected a price');
    expect(found.rates('priority')).toMatchObject({ kind: 'unpriced', reason: 'tier' });
    expect(found.rates('scale')).toMatchObject({ kind: 'unpriced', reason: 'tier', tier: 'scale' });
    expect(found.rates('flex')).toBe(found.rates('default'));
  });

  test('of Azure is that of OpenAI for the models that Azure serves too', () => {
    expect(price(ratesOf('azure', 'gpt-5.4'))).toBe(2500);
  });

  test('of the sandbox is nothing, and of a moderation nothing', () => {
    expect(ratesOf('sandbox', 'sandbox-large').free).toBe(true);
    expect(ratesOf('openai', 'omni-moderation-latest').free).toBe(true);
    expect(ratesOf('openai', 'gpt-5.4').free).toBe(false);
  });

  test('is found by where the provider lives', () => {
    expect(table.providerAt(new URL('https://api.openai.com/v1'))).toBe('openai');
    expect(table.providerAt(new URL('https://acme.openai.azure.com/openai/v1'))).toBe('azure');
    expect(table.providerAt(new URL('http://127.0.0.1:8000/v1'))).toBeUndefined();
  });

  test('is the administrator’s own, from its date on, and only for the models that it names', () => {
    const own: PriceList = {
      source: 'contract',
      date: '2026-09-01',
      providers: [
        {
          id: 'openai',
          fallbacks: [],
          factors: [],
          models: [
            {
              models: ['gpt-5.4'],
              tier: 'default',
              periods: [
                {
                  from: Date.UTC(2026, 8, 1),
                  bands: [{ above: 0, prices: { input: 7_000_000, output: 1 } }],
                },
              ],
            },
          ],
        },
      ],
    };
    const merged = new PriceTable([own, shippedPrices()]);
    const at = (time: number, model = 'gpt-5.4') => {
      const found = merged.find('openai', model, time);
      const rates = found.kind === 'priced' ? found.rates('default') : undefined;
      return rates instanceof Rates ? price(rates) : undefined;
    };
    expect(at(Date.UTC(2026, 8, 1) - 1)).toBe(2500);
    expect(at(Date.UTC(2026, 8, 1))).toBe(7000);
    expect(at(NOW, 'gpt-5.4-mini')).toBe(750);
    expect(merged.version).not.toBe(table.version);
  });

  test('stays findable however many unknown names callers send', () => {
    const many = new PriceTable([shippedPrices()]);
    for (let i = 0; i < 20_000; i++) many.find('openai', `made-up-${i}`, NOW);
    expect(many.find('openai', 'gpt-5.4', NOW).kind).toBe('priced');
  });
});
