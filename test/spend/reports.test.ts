import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { shippedPrices } from '../../src/spend/prices/shipped.ts';
import { PriceTable } from '../../src/spend/prices/table.ts';
import { dollars, dollarText } from '../../src/spend/reports/model.ts';
import { familyOf, WIDTHS, type Width } from '../../src/spend/rollup/model.ts';
import { costOf } from '../../src/spend/rollup/price.ts';
import type { Rollup } from '../../src/spend/rollup/rollup.ts';
import { noUsage, type UsageEvent } from '../../src/spend/usage.ts';
import { errorOf, openPlane, type Plane } from '../access/plane.ts';
import { stores } from '../store/stores.ts';
import { DAY, event, events, HOUR, LIST, NAMES, START } from './rollup-events.ts';
import { append, emptied, rollupOver } from './rollup-store.ts';

const table = new PriceTable([LIST, shippedPrices()]);
const nanoOf = (one: UsageEvent) => costOf({ table, names: NAMES }, one, one.at, one.usage, one.spend).nano;
const unpricedOf = (one: UsageEvent) =>
  costOf({ table, names: NAMES }, one, one.at, one.usage, one.spend).unpriced;

interface Query {
  readonly group_by: readonly string[];
  readonly project_ids?: readonly string[];
  readonly user_ids?: readonly string[];
  readonly api_key_ids?: readonly string[];
  readonly models?: readonly string[];
  readonly batch?: boolean;
}

const FIELDS: Readonly<Record<string, (one: UsageEvent) => string | boolean>> = {
  project_id: (one) => one.projectId,
  user_id: (one) => one.ownerId,
  api_key_id: (one) => one.keyId,
  model: (one) => one.modelServed || one.modelAsked,
  batch: (one) => one.serviceTier === 'batch',
  service_tier: (one) => one.serviceTier,
};

function passes(one: UsageEvent, query: Query): boolean {
  const among = (list: readonly string[] | undefined, ...values: string[]) =>
    list === undefined || list.length === 0 || values.some((value) => list.includes(value));
  return (
    !one.test &&
    among(query.project_ids, one.projectId) &&
    among(query.user_ids, one.ownerId) &&
    among(query.api_key_ids, one.keyId) &&
    among(query.models, one.modelServed || one.modelAsked, one.modelAsked) &&
    (query.batch === undefined || query.batch === (one.serviceTier === 'batch'))
  );
}

/** Events that pass, by bucket and the values of what is grouped by. */
function grouped(all: readonly UsageEvent[], widthMs: number, query: Query): Map<string, UsageEvent[]> {
  const groups = new Map<string, UsageEvent[]>();
  for (const one of all) {
    if (!passes(one, query)) continue;
    const start = (Math.floor(one.at / widthMs) * widthMs) / 1000;
    const key = JSON.stringify([start, ...query.group_by.map((name) => FIELDS[name]?.(one))]);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return groups;
}

const sum = (all: readonly UsageEvent[], of: (one: UsageEvent) => number) =>
  all.reduce((total, one) => total + of(one), 0);

const some = (...values: string[]) =>
  fc.option(fc.uniqueArray(fc.constantFrom(...values)), { nil: undefined });
const queries = fc.record({
  group_by: fc.uniqueArray(
    fc.constantFrom(
      'project_id' as const,
      'user_id' as const,
      'api_key_id' as const,
      'model' as const,
      'batch' as const,
      'service_tier' as const,
    ),
  ),
  project_ids: some('proj_a', 'proj_b', 'proj_c'),
  user_ids: some('user-1', 'svc_acct_1'),
  api_key_ids: some('key_1', 'key_2'),
  models: some('big', 'alias', 'unheard-of'),
  batch: fc.option(fc.boolean(), { nil: undefined }),
});

/** Without what is undefined, which the client would send as such. */
function defined<T extends object>(query: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined)) as ReturnType<
    typeof defined<T>
  >;
}

const END = START + 4 * DAY;
const PAGE: Record<Width, number> = { '1m': 1440, '1h': 168, '1d': 31 };

describe.each(stores)('reports on $kind', ({ kind, fresh }) => {
  let plane: Plane;
  let rollup: Rollup;
  beforeAll(async () => {
    plane = await openPlane({ kind, fresh });
    rollup = rollupOver(plane.store, { clock: plane.clock });
    plane.clock.step(END - plane.clock.now());
  });
  afterAll(async () => {
    await rollup.stop();
    await plane.close();
  });
  beforeEach(() => emptied(plane.store));

  const seconds = (ms: number) => ms / 1000;
  const fill = async (all: readonly UsageEvent[]) => {
    const own = all.map((one) => ({ ...one, organizationId: plane.organizationId }));
    if (own.length > 0) await append(plane.store, own);
    // Another organization's calls are in the same tables, and in nobody else's report.
    await append(plane.store, [event({ organizationId: 'org-2', usage: { ...noUsage(), input: 1e6 } })]);
    await rollup.catchUp();
    return own;
  };
  const usage = () => plane.admin.admin.organization.usage;

  it('of usage are the naive sums, for every width, grouping and filter', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(events, { maxLength: 80 }),
        queries,
        fc.constantFrom<Width>('1m', '1h', '1d'),
        fc.integer({ min: 1, max: 40 }),
        async (all, query, width, share) => {
          await emptied(plane.store);
          await fill(all);
          const limit = Math.max(1, Math.floor((PAGE[width] * share) / 40));
          const found = new Map<string, unknown>();
          let buckets = 0;
          let page: string | null = null;
          do {
            const reply = await usage().completions({
              start_time: seconds(START),
              end_time: seconds(END),
              bucket_width: width,
              limit,
              ...defined(query),
              ...(page && { page }),
            });
            expect(reply.data.length).toBeLessThanOrEqual(limit);
            for (const bucket of reply.data) {
              expect(bucket.end_time - bucket.start_time).toBe(WIDTHS[width].ms / 1000);
              buckets++;
              for (const result of bucket.results) {
                if (result.object !== 'organization.usage.completions.result') throw new Error(result.object);
                const by: Readonly<Record<string, unknown>> = { ...result };
                const key = JSON.stringify([bucket.start_time, ...query.group_by.map((name) => by[name])]);
                expect(found.has(key)).toBe(false);
                for (const name of Object.keys(FIELDS))
                  if (!query.group_by.some((group) => group === name)) expect(by[name]).toBeNull();
                found.set(key, [
                  result.num_model_requests,
                  result.input_tokens,
                  result.input_cached_tokens,
                  result.output_tokens,
                  result.output_audio_tokens,
                ]);
              }
            }
            page = reply.next_page;
            expect(reply.has_more).toBe(page !== null);
          } while (page !== null);
          const first = Math.floor(START / WIDTHS[width].ms);
          expect(buckets).toBe(Math.ceil(END / WIDTHS[width].ms) - first);
          const family = all.filter((one) => familyOf(one.operation) === 'completions');
          const expected = new Map<string, unknown>();
          for (const [key, group] of grouped(family, WIDTHS[width].ms, defined(query))) {
            expected.set(key, [
              group.length,
              sum(group, (one) => one.usage.input),
              sum(group, (one) => one.usage.cachedInput),
              sum(group, (one) => one.usage.output),
              sum(group, (one) => one.usage.audioOutput),
            ]);
          }
          expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
        },
      ),
      { numRuns: kind === 'sqlite' ? 60 : 25 },
    );
  }, 120_000);

  it('of costs are the naive sums, whatever they are grouped by, and lines add up to the whole', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(events, { maxLength: 80 }),
        queries,
        fc.boolean(),
        async (all, drawn, byLine) => {
          await emptied(plane.store);
          await fill(all);
          const { project_ids, api_key_ids } = drawn;
          const groups = drawn.group_by.filter(
            (name) => name === 'project_id' || name === 'user_id' || name === 'api_key_id',
          );
          const reply = await usage().costs({
            start_time: seconds(START),
            end_time: seconds(END),
            limit: 180,
            group_by: byLine ? [...groups, 'line_item'] : groups,
            ...defined({ project_ids, api_key_ids }),
          });
          const found = new Map<string, { value: number; unpriced: number }>();
          for (const bucket of reply.data) {
            for (const result of bucket.results) {
              if (result.object !== 'organization.costs.result') throw new Error(result.object);
              expect(result.amount?.currency).toBe('usd');
              const by: Readonly<Record<string, unknown>> = { ...result };
              const key = JSON.stringify([bucket.start_time, ...groups.map((name) => by[name])]);
              const own = by['keygate'] as { unpriced_requests: number } | undefined;
              const before = found.get(key) ?? { value: 0, unpriced: 0 };
              found.set(key, {
                value: before.value + (result.amount?.value ?? 0),
                unpriced: before.unpriced + (own?.unpriced_requests ?? 0),
              });
              expect(typeof result.line_item).toBe(byLine ? 'string' : 'object');
            }
          }
          const wanted = grouped(all, DAY, defined({ group_by: groups, project_ids, api_key_ids }));
          for (const [key, group] of wanted) {
            const nano = group.reduce((total, one) => total + nanoOf(one), 0n);
            const unpriced = group.filter(unpricedOf).length;
            // A group without a cost and without an unpriced call has no lines.
            const got = found.get(key) ?? { value: 0, unpriced: 0 };
            if (byLine) expect(got.value).toBeCloseTo(dollars(nano), 9);
            else expect(got.value).toBe(dollars(nano));
            expect(got.unpriced).toBe(unpriced);
            found.delete(key);
          }
          expect([...found]).toEqual([]);
        },
      ),
      { numRuns: kind === 'sqlite' ? 60 : 25 },
    );
  }, 120_000);

  it('of every family have its own counts', async () => {
    const of = (operation: string, counts: Partial<UsageEvent['usage']>, rest: Partial<UsageEvent> = {}) =>
      event({ operation, usage: { ...noUsage(), ...counts }, ...rest });
    await fill([
      of('embeddings.create', { input: 7 }),
      of('moderations.create', { input: 3 }),
      of('images.generate', { images: 2 }),
      of('images.edit', { images: 5 }),
      of('audio.speech.create', { characters: 11 }),
      of('audio.transcriptions.create', { audioMs: 60_500 }),
      of('audio.translations.create', { audioMs: 500 }),
      of('responses.create', { input: 1, output: 1, searches: 4 }),
      of('responses.create', { input: 1, output: 1 }),
    ]);
    const at = { start_time: seconds(START), end_time: seconds(START) + 60 };
    const results = async (reply: Promise<{ data: { results: unknown[] }[] }>) =>
      (await reply).data.flatMap((bucket) => bucket.results);
    expect(await results(usage().embeddings(at))).toMatchObject([{ input_tokens: 7, num_model_requests: 1 }]);
    expect(await results(usage().moderations(at))).toMatchObject([
      { input_tokens: 3, num_model_requests: 1 },
    ]);
    expect(await results(usage().audioSpeeches(at))).toMatchObject([{ characters: 11 }]);
    expect(await results(usage().audioTranscriptions(at))).toMatchObject([
      { seconds: 61, num_model_requests: 2 },
    ]);
    expect(await results(usage().webSearchCalls(at))).toMatchObject([
      { num_requests: 4, num_model_requests: 1 },
    ]);
    expect(await results(usage().images({ ...at, group_by: ['source'] }))).toMatchObject([
      { images: 5, source: 'image.edit', size: null },
      { images: 2, source: 'image.generation' },
    ]);
    expect(await results(usage().images({ ...at, sources: ['image.edit'] }))).toMatchObject([{ images: 5 }]);
    for (const empty of [
      usage().vectorStores(at),
      usage().codeInterpreterSessions(at),
      usage().fileSearchCalls(at),
      usage().decisions(at),
    ])
      expect((await empty).data).toEqual([
        { object: 'bucket', start_time: expect.any(Number), end_time: expect.any(Number), results: [] },
      ]);
  });

  it('of costs name line items as the platform does, with quantities, and filter by them', async () => {
    await fill([
      event({ usage: { ...noUsage(), input: 1000, output: 10 } }),
      event({ operation: 'audio.transcriptions.create', usage: { ...noUsage(), audioMs: 90_000 } }),
      event({ modelAsked: 'x', modelServed: 'x', usage: { ...noUsage(), input: 9 } }),
    ]);
    const query = { start_time: seconds(START), end_time: seconds(START) + 1 };
    const { data } = await usage().costs({ ...query, group_by: ['line_item'] });
    expect(data[0]?.results).toMatchObject([
      {
        line_item: 'big, audio_seconds',
        quantity: 90,
        quantity_unit: 'duration_seconds',
        amount: { value: 0.009000001, currency: 'usd' },
      },
      { line_item: 'big, input_tokens', quantity: 1000, quantity_unit: 'tokens' },
      { line_item: 'big, output_tokens', quantity: 10, quantity_unit: 'tokens', amount: { value: 0.00015 } },
      {
        line_item: 'x, unpriced_requests',
        quantity: 1,
        quantity_unit: null,
        amount: { value: 0 },
        keygate: { unpriced_requests: 1 },
      },
    ]);
    const only = await usage().costs({ ...query, line_items: ['big, output_tokens', 'big, nothing'] });
    expect(only.data[0]?.results).toMatchObject([{ line_item: null, amount: { value: 0.00015 } }]);
  });

  it('leave out calls of test keys, unless they are asked for', async () => {
    await fill([event({ test: true, provider: 'sandbox' }), event({})]);
    const path = `/v1/organization/usage/completions?start_time=${seconds(START)}&limit=1`;
    const count = async (url: string) => JSON.stringify((await plane.call('GET', url)).body);
    expect(await count(path)).toContain('"num_model_requests":1');
    expect(await count(`${path}&include_test=true`)).toContain('"num_model_requests":2');
  });

  it('of keygate tell everything, with exact amounts', async () => {
    await fill([
      event({ usage: { ...noUsage(), input: 1 }, outcome: 'client_closed', source: 'counted', status: 499 }),
      event({ modelServed: 'y', modelAsked: 'y', usage: { ...noUsage(), input: 1 } }),
    ]);
    const path = `/v1/keygate/usage?start_time=${seconds(START)}&limit=1&group_by=provider&group_by=family`;
    const reply = await plane.call('GET', path);
    expect(reply.body).toMatchObject({
      data: [
        {
          results: [
            {
              object: 'keygate.usage.result',
              provider: 'our-acme',
              family: 'completions',
              model: null,
              num_requests: 2,
              num_failed_requests: 1,
              num_cut_requests: 1,
              num_counted_requests: 1,
              num_unpriced_requests: 1,
              cost: { amount: '0.000003001', currency: 'usd' },
            },
          ],
        },
      ],
    });
  });

  it('end a page early where its results would be too many, and go on with the next', async () => {
    const crowd = Array.from({ length: 3 }, (_, day) =>
      Array.from({ length: 3000 }, (_, at) => event({ at: START + day * DAY, keyId: `key_${at}` })),
    ).flat();
    await fill(crowd);
    const seen = new Set<string>();
    const starts: number[][] = [];
    let page: string | null = null;
    do {
      const reply = await usage().completions({
        start_time: seconds(START),
        end_time: seconds(START + 3 * DAY),
        group_by: ['api_key_id'],
        ...(page && { page }),
      });
      starts.push(reply.data.map((bucket) => bucket.start_time));
      for (const bucket of reply.data)
        for (const result of bucket.results)
          if (result.object === 'organization.usage.completions.result')
            seen.add(`${bucket.start_time} ${result.api_key_id}`);
      page = reply.next_page;
    } while (page !== null);
    expect(seen.size).toBe(9000);
    expect(starts.map((each) => each.length)).toEqual([1, 1, 2]);
    expect(new Set(starts.flat()).size).toBe(4);
  });

  it('take lists with brackets and without', async () => {
    await fill([event({ keyId: 'key_1' }), event({ keyId: 'key_2' }), event({ keyId: 'key_3' })]);
    const path = `/v1/organization/usage/completions?start_time=${seconds(START)}&limit=1`;
    for (const list of [
      'api_key_ids=key_1&api_key_ids=key_2',
      'api_key_ids[]=key_1&api_key_ids[]=key_2',
      'api_key_ids%5B0%5D=key_1&api_key_ids%5B1%5D=key_2',
    ])
      expect(JSON.stringify((await plane.call('GET', `${path}&${list}`)).body)).toContain(
        '"num_model_requests":2',
      );
  });

  it('cover until now when no end is said', async () => {
    await fill([event({ at: END - HOUR })]);
    const reply = await usage().completions({ start_time: seconds(END - HOUR), bucket_width: '1h' });
    expect(reply).toMatchObject({ has_more: false, next_page: null });
    expect(reply.data.map((bucket) => bucket.results.length)).toEqual([0, 1].toReversed());
    const future = await usage().completions({ start_time: seconds(END + 9 * DAY) });
    expect(future).toMatchObject({ data: [], has_more: false });
  });

  it.each([
    ['completions', '', 'start_time', /Missing required parameter/],
    ['completions', 'start_time=x', 'start_time', /whole seconds/],
    ['completions', 'start_time=-5', 'start_time', /whole seconds/],
    ['completions', 'start_time=1&start_time=2', 'start_time', /more than once/],
    ['completions', 'start_time=99999999999999', 'start_time', /whole seconds/],
    ['completions', 'start_time=100&end_time=100', 'end_time', /later than/],
    ['completions', 'start_time=1&bucket_width=2h', 'bucket_width', /1m/],
    ['completions', 'start_time=1&bucket_width=1m', 'start_time', /kept for 14 days/],
    ['completions', 'start_time=1&bucket_width=1h', 'start_time', /kept for 400 days/],
    ['completions', 'start_time=1&limit=0', 'limit', /1 to 31/],
    ['completions', 'start_time=1&limit=32', 'limit', /1 to 31/],
    ['completions', `start_time=${END / 1000}&bucket_width=1h&limit=169`, 'limit', /1 to 168/],
    ['completions', `start_time=${END / 1000}&bucket_width=1m&limit=1441`, 'limit', /1 to 1440/],
    ['completions', 'start_time=1&limit=many', 'limit', /whole number/],
    ['completions', 'start_time=1&group_by[]=line_item', 'group_by[0]', /project_id/],
    ['completions', 'start_time=1&batch=perhaps', 'batch', /true/],
    ['completions', 'start_time=1&project_ids[]=', 'project_ids[0]', /empty/],
    ['completions', 'start_time=1&project_id=a', 'project_id', /Unknown parameter/],
    ['completions', 'start_time=1&line_items[]=a', 'line_items', /Unknown parameter/],
    ['completions', 'start_time=1&page=page_1', 'page', /next_page/],
    ['completions', 'start_time=1&page=%00', 'page', /next_page/],
    ['images', 'start_time=1&sizes[]=256x256', 'sizes', /not record/],
    ['images', 'start_time=1&sources[]=image.dream', 'sources[0]', /image.edit/],
    ['web_search_calls', 'start_time=1&context_levels[]=low', 'context_levels', /not record/],
    ['embeddings', 'start_time=1&batch=true', 'batch', /Unknown parameter/],
    ['costs', 'start_time=1&bucket_width=1h', 'bucket_width', /1d/],
    ['costs', 'start_time=1&limit=181', 'limit', /1 to 180/],
    ['costs', 'start_time=1&group_by=model', 'group_by[0]', /line_item/],
  ])('%s?%s is refused, naming %s', async (report, query, param, message) => {
    const path = report === 'costs' ? '/v1/organization/costs' : `/v1/organization/usage/${report}`;
    const reply = await plane.call('GET', `${path}?${query}`);
    expect(reply.status).toBe(400);
    expect(errorOf(reply)).toMatchObject({ param, type: 'invalid_request_error' });
    expect(errorOf(reply).message).toMatch(message);
  });

  it('are for admin keys', async () => {
    const path = '/v1/organization/costs?start_time=1';
    expect((await plane.call('GET', path, { key: plane.projectKey })).status).toBe(403);
    expect((await plane.call('GET', path, { key: null })).status).toBe(401);
    expect((await plane.call('GET', path)).status).toBe(200);
  });
});

describe('an amount', () => {
  it('is exact as text, and the nearest double as a number', () => {
    expect(dollarText(1n)).toBe('0.000000001');
    expect(dollarText(-1_500_000_000n)).toBe('-1.500000000');
    // A division of two doubles would give the one below.
    expect(dollars(9_007_199_254_740_993_000_000_001n)).toBe(2 ** 53 + 2);
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 18n }), (nano) => {
        expect(BigInt(dollarText(nano).replace('.', ''))).toBe(nano);
        expect(Math.abs(dollars(nano) - Number(nano) / 1e9)).toBeLessThanOrEqual(dollars(nano) * 2 ** -51);
      }),
    );
  });
});
