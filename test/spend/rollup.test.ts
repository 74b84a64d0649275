import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/platform/clock.ts';
import { shippedPrices } from '../../src/spend/prices/shipped.ts';
import { PriceTable } from '../../src/spend/prices/table.ts';
import { USAGE_COLUMNS, USAGE_NAMES, WIDTHS } from '../../src/spend/rollup/model.ts';
import { costOf } from '../../src/spend/rollup/price.ts';
import type { Rollup } from '../../src/spend/rollup/rollup.ts';
import type { UsageEvent } from '../../src/spend/usage.ts';
import type { Store } from '../../src/store/store.ts';
import { type StorePlace, stores } from '../store/stores.ts';
import { DAY, event, events, HOUR, LIST, MINUTE, NAMES, START } from './rollup-events.ts';
import { append, emptied, rollupOver, segmentOf } from './rollup-store.ts';

const table = new PriceTable([LIST, shippedPrices()]);
const cost = (one: UsageEvent) => costOf({ table, names: NAMES }, one, one.at, one.usage, one.spend);

/** Every row that should be there, by one pass over the events: what they share, and what they add up to. */
function naive(all: readonly UsageEvent[], widthMs: number): Record<string, Record<string, string>> {
  const rows: Record<string, Record<string, string>> = {};
  for (const one of all) {
    const { nano, version, unpriced } = cost(one);
    const start = Math.floor(one.at / widthMs) * widthMs;
    const key = [
      start,
      one.organizationId,
      one.projectId,
      one.keyId,
      one.ownerId,
      one.operation,
      one.modelServed || one.modelAsked,
      one.modelAsked,
      one.provider,
      one.serviceTier,
      version,
      one.serviceTier === 'batch' ? 1 : 0,
      one.test ? 1 : 0,
    ].join(' ');
    const row = rows[key] ?? {};
    rows[key] = row;
    const add = (name: string, value: number | bigint | boolean) => {
      row[name] = String(BigInt(row[name] ?? 0) + BigInt(value));
    };
    add('requests', 1);
    add('errors', one.status >= 400);
    add('cut', ['client_closed', 'provider_cut', 'timeout'].includes(one.outcome));
    add('counted', one.source === 'counted');
    add('search_requests', one.usage.searches > 0);
    add('unpriced', unpriced);
    add('cost', nano);
    for (const name of USAGE_NAMES) add(name, one.usage[USAGE_COLUMNS[name]]);
  }
  return rows;
}

async function stored(
  store: Store,
  width: keyof typeof WIDTHS,
): Promise<Record<string, Record<string, string>>> {
  const found = await store.db
    .selectFrom(WIDTHS[width].table)
    .innerJoin('usage_series', 'usage_series.id', 'series')
    .selectAll()
    .execute();
  const rows: Record<string, Record<string, string>> = {};
  for (const row of found) {
    const name = [
      row.start,
      row.organization_id,
      row.project_id,
      row.key_id,
      row.owner_id,
      row.operation,
      row.model,
      row.model_asked,
      row.provider,
      row.service_tier,
      row.price_version,
      row.batch,
      row.test,
    ].join(' ');
    if (rows[name]) throw new Error(`two rows for ${name}`);
    const { requests, errors, cut, counted, search_requests, unpriced } = row;
    const sums = { requests, errors, cut, counted, search_requests, unpriced, cost: row.cost };
    rows[name] = Object.fromEntries(
      [...Object.entries(sums), ...USAGE_NAMES.map((each) => [each, row[each]] as const)].map(
        ([each, value]) => [each, String(value)],
      ),
    );
  }
  return rows;
}

/** Lines of costs by day and kind, over all series. */
async function storedLines(store: Store): Promise<Record<string, string>> {
  const found = await store.db.selectFrom('usage_costs').selectAll().execute();
  return total(found.map(({ start, kind, quantity, cost: nano }) => [`${start} ${kind}`, quantity, nano]));
}

function naiveLines(all: readonly UsageEvent[]): Record<string, string> {
  const lines: [string, number, number | bigint][] = [];
  for (const one of all) {
    const start = Math.floor(one.at / DAY) * DAY;
    const { lines: own, unpriced } = cost(one);
    for (const { kind, quantity, nano } of own) lines.push([`${start} ${kind}`, quantity, nano]);
    if (unpriced) lines.push([`${start} unpriced`, 1, 0]);
  }
  return total(lines);
}

function total(lines: readonly (readonly [string, number, number | bigint])[]): Record<string, string> {
  const sums: Record<string, readonly [number, bigint]> = {};
  for (const [key, quantity, nano] of lines) {
    const [before, spent] = sums[key] ?? [0, 0n];
    sums[key] = [before + quantity, spent + BigInt(nano)];
  }
  return Object.fromEntries(
    Object.entries(sums).map(([key, [quantity, nano]]) => [key, `${quantity} ${nano}`]),
  );
}

describe.each(stores)('roll-ups on $kind', ({ kind, fresh }) => {
  let place: StorePlace;
  let store: Store;
  let rollup: Rollup;
  beforeAll(async () => {
    place = await fresh();
    store = await place.open();
    rollup = rollupOver(store);
  });
  afterAll(async () => {
    await rollup.stop();
    await place.remove();
  });
  beforeEach(() => emptied(store));

  it('hold the sums of every event in minutes, hours and days, however the events were grouped', async () => {
    const groups = fc.array(fc.array(events, { minLength: 1, maxLength: 40 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(groups, fc.nat({ max: 8 }), async (segments, early) => {
        await emptied(store);
        for (const [at, segment] of segments.entries()) {
          await append(store, segment);
          if (at === early) await rollup.catchUp();
        }
        await rollup.catchUp();
        const all = segments.flat();
        for (const width of ['1m', '1h', '1d'] as const)
          expect(await stored(store, width)).toEqual(naive(all, WIDTHS[width].ms));
        expect(await storedLines(store)).toEqual(naiveLines(all));
        expect(await store.db.selectFrom('usage_unfolded').selectAll().execute()).toEqual([]);
      }),
      { numRuns: kind === 'sqlite' ? 60 : 30 },
    );
  }, 60_000);

  it('take up segments that were committed out of the order of their numbers', async () => {
    const [first, second] = [event({ at: START }), event({ at: START + HOUR })];
    await store.db
      .insertInto('usage_segments')
      .values({ seq: 1_000_000, ...(await segmentOf([first])) })
      .execute();
    await rollup.catchUp();
    await store.db
      .insertInto('usage_segments')
      .values({ seq: 999_999, ...(await segmentOf([second])) })
      .execute();
    await rollup.catchUp();
    expect(await stored(store, '1h')).toEqual(naive([first, second], HOUR));
  });

  it('leave nothing half done when the transaction fails', async () => {
    const all = [event({ usage: { ...event({}).usage, input: 5 } }), event({ at: START + DAY })];
    await append(store, all);
    // What comes last in the transaction cannot be written: nothing before it may stay.
    const column = await store.db.introspection.getTables();
    expect(column.map(({ name }) => name)).toContain('usage_costs');
    await store.db.schema.alterTable('usage_costs').renameTo('usage_costs_away').execute();
    try {
      await expect(rollup.turn()).rejects.toThrow();
      expect(await stored(store, '1m')).toEqual({});
      expect(await store.db.selectFrom('usage_unfolded').selectAll().execute()).toHaveLength(1);
    } finally {
      await store.db.schema.alterTable('usage_costs_away').renameTo('usage_costs').execute();
    }
    await rollup.catchUp();
    expect(await stored(store, '1d')).toEqual(naive(all, DAY));
  });

  it('set a damaged segment aside, say so, keep it, and go on with the others', async () => {
    const errors: unknown[] = [];
    const other = rollupOver(store, { errors });
    const good = event({});
    const damaged = await segmentOf([event({ at: START + 1 })]);
    await store.appendSegment({ ...damaged, crc: 1 });
    await store.appendSegment({ ...(await segmentOf([event({ at: START + 2 })])), format: 99 });
    await append(store, [good]);
    await other.catchUp();
    expect(await stored(store, '1d')).toEqual(naive([good], DAY));
    expect(errors.map(String).join('\n')).toMatch(/checksum is wrong.*\n.*unknown format 99/);
    await other.catchUp();
    expect(errors).toHaveLength(2);
    const left = await store.db.selectFrom('usage_unfolded').select('failed').orderBy('seq').execute();
    expect(left.map(({ failed }) => failed)).toEqual([
      expect.stringContaining('checksum'),
      expect.stringContaining('format'),
    ]);
    await other.stop();
  });

  it('believe no count above a thousand million, so that no sum overflows', async () => {
    const usage = { ...event({}).usage, input: Number.MAX_SAFE_INTEGER, output: 2 };
    const wild = Array.from({ length: 50 }, () => event({ usage }));
    await append(store, wild);
    await rollup.catchUp();
    const [row] = Object.values(await stored(store, '1d'));
    expect(row).toMatchObject({ input: '50000000000', output: '100', requests: '50' });
  });

  it('keep strange names of models as they can be kept', async () => {
    const name = `x\0\ud800'"\\\n\u{1f600}`;
    await append(store, [event({ modelServed: name, modelAsked: name })]);
    await rollup.catchUp();
    const [row] = await store.db
      .selectFrom('usage_days')
      .innerJoin('usage_series', 'usage_series.id', 'series')
      .select('model')
      .execute();
    expect(row?.model).toBe(`x\ufffd\ufffd'"\\\n\u{1f600}`);
  });

  it('fold in the background, and what was appended while they were stopped', async () => {
    await append(store, [event({})]);
    const background = rollupOver(store);
    background.start();
    while (background.folded === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await background.stop();
    expect(await stored(store, '1d')).toEqual(naive([event({})], DAY));
  });

  it('price a call by the price that was in effect when it arrived', async () => {
    const usage = { ...event({}).usage, input: 1_000_000, output: 0 };
    const before = event({ at: START + DAY - 1, usage });
    const after = event({ at: START + DAY, usage });
    expect(cost(before).nano).toBe(3_000_007_000n);
    expect(cost(after).nano).toBe(4_000_000_000n);
    await append(store, [before, after]);
    await rollup.catchUp();
    const sums = await store.db.selectFrom('usage_hours').select('cost').orderBy('start').execute();
    expect(sums.map((row) => row.cost)).toEqual([7_000_007_000]);
  });

  it('take what was charged to budgets as the cost, in lines where the prices give the same', async () => {
    const usage = { ...event({}).usage, input: 1000 };
    const charged = (cost: number) => ({
      cost,
      unpriced: false,
      priceVersion: 'v',
      lease: 'lease_1',
      endUser: null,
    });
    const same = Number(cost(event({ usage })).nano);
    await append(store, [
      event({ usage, spend: charged(same) }),
      event({ usage, status: 499, outcome: 'client_closed', spend: charged(5_000_000) }),
      event({ usage, spend: charged(0) }),
    ]);
    await rollup.catchUp();
    const lines = await store.db
      .selectFrom('usage_costs')
      .select(['kind', 'quantity', 'cost'])
      .orderBy('kind')
      .execute();
    expect(lines).toEqual([
      { kind: 'charged', quantity: 1, cost: 5_000_000 },
      { kind: 'input', quantity: 1000, cost: same },
    ]);
    const [row] = await store.db.selectFrom('usage_days').select('cost').execute();
    expect(row?.cost).toBe(same + 5_000_000);
  });

  describe('retention', () => {
    it('deletes whole segments that are old and folded, and the roll-ups stay', async () => {
      const clock = new ManualClock(START);
      const keeper = rollupOver(store, { clock, retentionMs: 90 * DAY });
      const all = [event({ at: START }), event({ at: START + 2 * DAY })];
      await append(store, all);
      await append(store, [event({ at: START + 3 * DAY })]);
      await keeper.catchUp();
      // Old as well, but in no roll-up yet.
      await append(store, [event({ at: START + 1 })]);
      const segments = async () =>
        (await store.db.selectFrom('usage_segments').select('first_at').orderBy('seq').execute()).map(
          ({ first_at }) => first_at - START,
        );
      clock.advance(91 * DAY);
      await keeper.retain();
      expect(await segments()).toEqual([0, 3 * DAY, 1]);
      clock.advance(DAY + 1);
      await keeper.retain();
      expect(await segments()).toEqual([3 * DAY, 1]);
      const days = await stored(store, '1d');
      expect(Object.keys(days)).toHaveLength(3);
      await keeper.stop();
    });

    it('lets minutes go after 15 days and hours after 401, and never days', async () => {
      const clock = new ManualClock(START);
      const keeper = rollupOver(store, { clock });
      const spread = Array.from({ length: 30 }, (_, at) => event({ at: START + at * 7 * HOUR }));
      await append(store, spread);
      await keeper.catchUp();
      const count = async (width: keyof typeof WIDTHS) =>
        (await store.db.selectFrom(WIDTHS[width].table).select('start').execute()).length;
      expect([await count('1m'), await count('1h')]).toEqual([30, 30]);
      clock.advance(15 * DAY);
      await keeper.retain();
      expect([await count('1m'), await count('1h')]).toEqual([30, 30]);
      clock.advance(7 * HOUR + MINUTE);
      await keeper.retain();
      expect([await count('1m'), await count('1h')]).toEqual([28, 30]);
      clock.advance(500 * DAY);
      await keeper.retain();
      expect([await count('1m'), await count('1h'), await count('1d')]).toEqual([0, 0, 10]);
      await keeper.stop();
    });
  });
});

describe('roll-ups of several nodes on PostgreSQL', () => {
  let place: StorePlace;
  const [, postgres] = stores;
  beforeEach(async () => {
    if (postgres === undefined) throw new Error('no PostgreSQL among the stores');
    place = await postgres.fresh();
  });
  afterEach(() => place.remove());

  it('add every event once when all nodes append and fold at the same time, and one of them goes away', async () => {
    const nodes = await Promise.all([place.open(), place.open(), place.open()]);
    const rollups = nodes.map((node) => rollupOver(node));
    const sample = fc.sample(fc.array(events, { minLength: 5, maxLength: 30 }), 45);
    for (const rollup of rollups) rollup.start();
    await Promise.all(
      sample.map(async (segment, at) => {
        const node = nodes[at % nodes.length];
        await node?.appendSegment(await segmentOf(segment, `node-${at % nodes.length}`));
      }),
    );
    await rollups[0]?.stop();
    const [, second] = nodes;
    if (second === undefined) throw new Error('no second node');
    for (let left = 1; left > 0; ) {
      left = (await second.db.selectFrom('usage_unfolded').select('seq').execute()).length;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const rollup of rollups) await rollup.stop();
    expect(await stored(second, '1d')).toEqual(naive(sample.flat(), DAY));
    expect(place.errors).toEqual([]);
  });
});
