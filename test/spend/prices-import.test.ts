import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SetupError } from '../../src/platform/errors.ts';
import { checkPrices } from '../../src/spend/prices/check.ts';
import {
  dropImport,
  importedLists,
  keepImport,
  parseImport,
  priceTable,
} from '../../src/spend/prices/import.ts';
import { readPriceList } from '../../src/spend/prices/list.ts';
import { Rates } from '../../src/spend/prices/rates.ts';
import type { PriceTable } from '../../src/spend/prices/table.ts';
import { noUsage } from '../../src/spend/usage.ts';
import type { Store } from '../../src/store/store.ts';
import { type StorePlace, stores } from '../store/stores.ts';

const NOW = Date.UTC(2026, 10, 1);

const own = (input: string, date = '2026-11-01') =>
  JSON.stringify({
    source: 'ours',
    date,
    prices: [{ provider: 'openai', models: ['gpt-5.4'], input, output: '1' }],
  });

function inputPrice(table: PriceTable, model = 'gpt-5.4'): number | undefined {
  const found = table.find('openai', model, NOW);
  const rates = found.kind === 'priced' ? found.rates('default') : undefined;
  return rates instanceof Rates ? rates.nano({ ...noUsage(), input: 1000 }) / 1000 : undefined;
}

describe.each(stores)('imported prices in $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  beforeAll(async () => {
    place = await fresh();
    store = await place.open();
  });
  afterAll(() => place.remove());

  test('hold over the shipped ones, the newest first, and under the configuration’s', async () => {
    expect(inputPrice(await priceTable(store.db, null))).toBe(2500);
    const keep = (text: string, at: number) =>
      store.write((tx) => keepImport(store, tx, parseImport(text, 'file', NOW).list, at));
    await keep(own('3'), NOW);
    const newer = await keep(own('4'), NOW + 1);
    const table = await priceTable(store.db, null);
    expect(inputPrice(table)).toBe(4000);
    expect(inputPrice(table, 'gpt-5.4-mini')).toBe(750);
    const configured = readPriceList(JSON.parse(own('5')), 'keygate.yaml');
    expect(inputPrice(await priceTable(store.db, configured))).toBe(5000);
    expect(await store.write((tx) => dropImport(store, tx, newer, NOW + 2))).toBe(true);
    expect(await store.write((tx) => dropImport(store, tx, newer, NOW + 2))).toBe(false);
    expect(inputPrice(await priceTable(store.db, null))).toBe(3000);
  });

  test('are the same list when imported again, and are announced to every node', async () => {
    const { list } = parseImport(own('7'), 'file', NOW);
    const before = await store.lastChange();
    const first = await store.write((tx) => keepImport(store, tx, list, NOW + 10));
    const count = (await importedLists(store.db)).length;
    const again = await store.write((tx) => keepImport(store, tx, list, NOW + 11));
    expect(again).toBe(first);
    expect(await importedLists(store.db)).toHaveLength(count);
    expect(await store.lastChange()).toBe(before + 2);
  });
});

describe('a file to import', () => {
  test('can be a newer copy of the data that is shipped, and what of it does not count is said', () => {
    const copy = [
      {
        id: 'openai',
        api_pattern: '(x+x+)+y',
        models: [
          {
            id: 'gpt-7',
            match: { starts_with: 'gpt-7' },
            prices: { input_mtok: 1, output_mtok: 2, input_video_mtok: 3 },
          },
          { id: 'ocr', match: { equals: 'ocr' }, prices: { input_document_kpages: 1 } },
        ],
      },
    ];
    const { list, notes } = parseImport(JSON.stringify(copy), 'data.json', NOW);
    expect(list).toMatchObject({ source: 'data.json', date: '2026-11-01' });
    // An expression from outside is never run.
    expect(list.providers[0]).not.toHaveProperty('url');
    expect(notes).toEqual([
      'left out: openai/ocr: priced by what keygate does not meter',
      'not metered: input_video_mtok of 1 models',
      'not metered: input_document_kpages of 1 models',
    ]);
  });

  test.each([
    ['{', /not JSON/],
    ['{}', /source/],
    ['[{"id":1}]', /not a price list of genai-prices: 0\.id/],
    [own('free'), /prices\.0\.input/],
    [`"${'x'.repeat(17 * 1024 * 1024)}"`, /larger than 16 MB/],
  ])('that is wrong is refused with a sentence', (text, message) => {
    expect(() => parseImport(text, 'prices.json', NOW)).toThrow(SetupError);
    expect(() => parseImport(text, 'prices.json', NOW)).toThrow(message);
  });
});

describe('the check of prices', () => {
  test('names the models that have none, and those to look at twice', async () => {
    const { PriceTable } = await import('../../src/spend/prices/table.ts');
    const { shippedPrices } = await import('../../src/spend/prices/shipped.ts');
    const table = new PriceTable([shippedPrices()]);
    const findings = checkPrices(
      table,
      [
        { provider: 'openai', model: 'gpt-5.4' },
        { provider: 'openai', model: 'gpt-99' },
        { provider: 'openai', model: 'gpt-4o-audio-preview' },
        { provider: 'openai', model: 'omni-moderation-latest' },
        { provider: 'sandbox', model: 'sandbox-small' },
      ],
      NOW,
    );
    expect(findings.filter(({ level }) => level === 'error').map(({ model }) => model)).toEqual([
      'openai/gpt-99',
    ]);
    const warned = (model: string) =>
      findings.filter((each) => each.model === model).map(({ message }) => message);
    expect(warned('openai/gpt-5.4')).toEqual([]);
    expect(warned('openai/gpt-4o-audio-preview').join()).toMatch(/charged as text/);
    expect(warned('openai/omni-moderation-latest').join()).toMatch(/free/);
    expect(checkPrices(table, [], NOW)).toEqual([]);
    expect(checkPrices(table, [], NOW + 365 * 86_400_000)).toMatchObject([{ level: 'warning', model: '*' }]);
  });
});
