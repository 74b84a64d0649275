import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import * as tokenizer from 'gpt-tokenizer/models';
import { describe, expect, test } from 'vitest';
import { SetupError } from '../../src/platform/errors.ts';
import { plainDecimal, scaleDecimal } from '../../src/spend/prices/decimal.ts';
import { fromGenaiPrices } from '../../src/spend/prices/genai.ts';
import { anyGlobMatches, globMatches } from '../../src/spend/prices/glob.ts';
import { readPriceList } from '../../src/spend/prices/list.ts';
import { Rates } from '../../src/spend/prices/rates.ts';
import { shippedPrices } from '../../src/spend/prices/shipped.ts';
import { PriceTable } from '../../src/spend/prices/table.ts';
import { noUsage } from '../../src/spend/usage.ts';

const NOW = Date.UTC(2026, 9, 1);

function rates(table: PriceTable, provider: string, model: string, tier = 'default', at = NOW): Rates {
  const found = table.find(provider, model, at);
  const made = found.kind === 'priced' ? found.rates(tier) : found;
  if (!(made instanceof Rates))
    throw new Error(`${made.provider}/${made.model} on ${made.tier}: ${made.reason}`);
  return made;
}

describe('the shipped table', () => {
  test('is exactly what the script makes of the pinned source', () => {
    execFileSync(process.execPath, ['scripts/prices.mjs', '--check'], { stdio: 'pipe' });
  });

  test('says where it comes from, when, and under which licence', async () => {
    const { default: data } = await import('../../src/spend/prices/data.json', { with: { type: 'json' } });
    expect(data.licence).toMatch(/^MIT/);
    expect(data.date).toMatch(/^\d{4}-\d{2}-\d{2}$/);
    expect(data.source).toMatch(/^@pydantic\/genai-prices \d/);
    // Every price is a whole number of its unit; what had to be rounded to be one is named, and is an aggregator's.
    expect(data.rounded.every((line: string) => line.startsWith('openrouter/'))).toBe(true);
  });

  test('halves batch wherever the other source that states batch prices does too', () => {
    const table = new PriceTable([shippedPrices()]);
    let compared = 0;
    for (const [model, spec] of Object.entries(tokenizer)) {
      const prices = 'price_data' in spec ? spec.price_data : undefined;
      if (!prices || !('batch' in prices) || !prices.batch) continue;
      const found = table.find('openai', model, NOW);
      const own = found.kind === 'priced' ? found.rates('default') : undefined;
      if (!(own instanceof Rates)) continue;
      const input = own.nano({ ...noUsage(), input: 1000 });
      if (Math.abs(input / 1000 - (prices.main.input ?? 0) * 1000) > 0.001) continue; // the sources differ on this model
      const batch = rates(table, 'openai', model, 'batch').nano({ ...noUsage(), input: 1000 });
      expect(batch / 1000, model).toBeCloseTo((prices.batch.input ?? 0) * 1000, 6);
      compared++;
    }
    expect(compared).toBeGreaterThan(15);
  });
});

describe('a price list that a person writes', () => {
  const read = (prices: unknown[]) =>
    readPriceList({ source: 'ours', date: '2026-11-01', prices }, 'prices.json');

  test('is in dollars, by million tokens, thousand searches or hour, and exact', () => {
    const table = new PriceTable([
      read([
        { provider: 'local', models: ['Llama-*'], input: '0.10', cached_input: 0.01, output: '0.000001' },
        { provider: 'local', models: ['whisper'], audio_hour: '0.36' },
        { provider: 'local', models: ['pictures'], image: '0.04', search: '10', request: '5' },
      ]),
    ]);
    const llama = rates(table, 'local', 'LLAMA-4');
    expect(llama.nano({ ...noUsage(), input: 1_000_000 })).toBe(100_000_000);
    expect(llama.nano({ ...noUsage(), input: 100, cachedInput: 100 })).toBe(1000);
    expect(llama.cost({ ...noUsage(), output: 1_000_000 }).nano).toBe(1000n);
    expect(rates(table, 'local', 'whisper').nano({ ...noUsage(), audioMs: 60_000 })).toBe(6_000_000);
    expect(rates(table, 'local', 'pictures').nano({ ...noUsage(), images: 2, searches: 3 })).toBe(
      80_000_000 + 30_000_000 + 5_000_000,
    );
  });

  test('has dates, hours, context bands and tiers', () => {
    const table = new PriceTable([
      read([
        { provider: 'a', models: ['m'], input: '1', output: '2' },
        { provider: 'a', models: ['m'], above: 1000, input: '3', output: '4' },
        { provider: 'a', models: ['m'], from: '2026-12-01', input: '5', output: '6' },
        { provider: 'a', models: ['m'], tier: 'priority', factor: '2.5' },
        { provider: 'a', models: ['m'], tier: 'batch', input: '0.4', output: '0.9' },
        { provider: 'night', models: ['*'], input: '1', output: '1' },
        { provider: 'night', models: ['*'], hours: ['22:30', '06:00'], input: '0.5', output: '0.5' },
      ]),
    ]);
    const of = (provider: string, input: number, tier: string, at = NOW) =>
      rates(table, provider, 'm', tier, at).nano({ ...noUsage(), input }) / input;
    expect(of('a', 1000, 'default')).toBe(1000);
    expect(of('a', 1001, 'default')).toBe(3000);
    expect(of('a', 1001, 'default', Date.UTC(2026, 11, 1))).toBe(5000);
    expect(of('a', 10, 'priority')).toBe(2500);
    expect(of('a', 10, 'batch')).toBe(400);
    expect(of('a', 10, 'flex')).toBe(1000);
    expect(of('night', 10, 'default', Date.UTC(2026, 9, 1, 22, 29))).toBe(1000);
    expect(of('night', 10, 'default', Date.UTC(2026, 9, 1, 22, 30))).toBe(500);
    expect(of('night', 10, 'default', Date.UTC(2026, 9, 1, 5, 59))).toBe(500);
  });

  test.each([
    [[{ provider: 'a', models: ['m'] }], /prices\.json: prices\.0: no price/],
    [[{ provider: 'a', models: ['m'], input: '1,5' }], /prices\.0\.input.*2\.50/],
    [[{ provider: 'a', models: ['m'], input: -1 }], /prices\.0\.input/],
    [[{ provider: 'a', models: ['m'], input: '0.0000001' }], /finer than can be held: at most 6 decimals/],
    [[{ provider: 'a', models: ['m'], inputs: '1' }], /inputs/],
    [[{ provider: 'a', models: ['m'], above: 5, input: '1' }], /add a row without "above"/],
    [
      [
        { provider: 'a', models: ['m'], input: '1' },
        { provider: 'a', models: ['m'], input: '2' },
      ],
      /prices\.1: the same models/,
    ],
    [[{ provider: 'a', models: ['m'], factor: '2' }], /a factor is for a tier other than default/],
    [[{ provider: 'a', models: ['m'], from: '2026-13-01', input: '1' }], /2026-13-01 is no date/],
    [[{ provider: 'a', models: ['m'], hours: ['25:00', '01:00'], input: '1' }], /25:00/],
  ])('that is wrong (%j) is refused with the row and what to write', (prices, message) => {
    expect(() => read(prices)).toThrow(SetupError);
    expect(() => read(prices)).toThrow(message);
  });
});

describe('a copy of the source’s own data', () => {
  test('that carries what cannot be read says so instead of losing it', () => {
    const { list, leftOut, notMetered, rounded } = fromGenaiPrices(
      [
        {
          id: 'p',
          api_pattern: 'https://p',
          models: [
            { id: 'pages', match: { equals: 'pages' }, prices: { input_document_kpages: 1 } },
            { id: 'odd', match: { regex: '^(a|b)+$' }, prices: { input_mtok: 1 } },
            { id: 'fine', match: { equals: 'fine' }, prices: { input_mtok: 1 / 3, input_video_mtok: 2 } },
            { id: 'free', match: { ends_with: ':free' }, prices: {} },
          ],
        },
      ],
      'copy',
      '2026-11-01',
    );
    expect(leftOut).toEqual([
      'p/pages: priced by what keygate does not meter',
      'p/odd: its names cannot be written as globs',
    ]);
    expect(notMetered).toEqual({ input_document_kpages: 1, input_video_mtok: 1 });
    expect(rounded).toHaveLength(1);
    expect(list.providers[0]?.models.map((model) => model.models)).toEqual([['fine'], ['*:free']]);
    const table = new PriceTable([list]);
    expect(rates(table, 'p', 'fine').nano({ ...noUsage(), input: 1_000_000 })).toBe(333_334_000);
    expect(rates(table, 'p', 'llama:free').free).toBe(true);
  });

  test('of another form is refused', () => {
    expect(() => fromGenaiPrices({ providers: [] }, 'x', '2026-11-01')).toThrow();
  });
});

describe('names of models', () => {
  test.each([
    ['gpt-4', 'gpt-4', true],
    ['gpt-4', 'gpt-4o', false],
    ['gpt-4*', 'gpt-4o', true],
    ['*o1*', 'openai/o1-mini', true],
    ['*:free', 'llama:free', true],
    ['*:free', 'llama:freed', false],
    ['m-####-##-##', 'm-2026-01-02', true],
    ['m-####-##-##', 'm-2026-1-02', false],
    ['', '', true],
    ['*', '', true],
    ['a*b*c', 'aXXbYYc', true],
    ['a*b*c', 'aXXcYYb', false],
  ])('%s matches %s: %s', (pattern, name, expected) => {
    expect(globMatches(pattern, name)).toBe(expected);
  });

  test('match as the same pattern written as a regular expression does', () => {
    const letter = fc.constantFrom('a', 'b', '1', '-');
    const pattern = fc
      .array(fc.constantFrom('a', 'b', '1', '-', '*', '#'), { maxLength: 8 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(
        pattern,
        fc.array(letter, { maxLength: 12 }).map((parts) => parts.join('')),
        (glob, name) => {
          const regex = new RegExp(`^${glob.replaceAll('*', '.*').replaceAll('#', '\\d')}$`);
          expect(globMatches(glob, name)).toBe(regex.test(name));
        },
      ),
      { numRuns: 3000, seed: 4 },
    );
  });

  test('can be excepted, and never take long', () => {
    expect(anyGlobMatches(['g*', '!*-tts'], 'gemini')).toBe(true);
    expect(anyGlobMatches(['g*', '!*-tts'], 'gemini-tts')).toBe(false);
    const started = performance.now();
    expect(globMatches(`${'*a'.repeat(60)}b`, 'a'.repeat(256))).toBe(false);
    expect(performance.now() - started).toBeLessThan(50);
    expect(anyGlobMatches(['*'], 'x'.repeat(10_000))).toBe(false);
  });
});

describe('amounts as text', () => {
  test('become whole numbers exactly', () => {
    expect(scaleDecimal('0.003625', 6)).toEqual({ value: 3625, exact: true });
    expect(scaleDecimal('10', 9)).toEqual({ value: 10_000_000_000, exact: true });
    expect(scaleDecimal('0.0000001', 6)).toEqual({ value: 1, exact: false });
    for (const bad of ['', '-1', '1e3', '1.', '.5', '1,5', '99999999999999999']) {
      expect(() => scaleDecimal(bad, 6)).toThrow(RangeError);
    }
  });

  test('lose the noise of binary fractions and nothing else', () => {
    expect(plainDecimal(0.18000000000000002)).toBe('0.18');
    expect(plainDecimal(1e-7)).toBe('0.0000001');
    expect(plainDecimal(0)).toBe('0');
    expect(plainDecimal(600)).toBe('600');
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 ** 11 }), fc.integer({ min: 0, max: 9 }), (digits, shift) => {
        expect(Number(plainDecimal(digits / 10 ** shift))).toBe(digits / 10 ** shift);
      }),
      { numRuns: 1000, seed: 5 },
    );
  });
});
