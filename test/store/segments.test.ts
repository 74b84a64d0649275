import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SegmentQueue } from '../../src/store/segments.ts';
import type { NewSegment, Store } from '../../src/store/store.ts';
import { segment, segmentNumber } from './rows.ts';
import { type StorePlace, stores } from './stores.ts';

describe.each(stores)('usage segments on $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  beforeEach(async () => {
    place = await fresh();
    store = await place.open();
  });
  afterEach(() => place.remove());

  const stored = () => store.db.selectFrom('usage_segments').selectAll().orderBy('seq').execute();

  it('come back byte for byte', async () => {
    const every = new Uint8Array(Array.from({ length: 256 }, (_, i) => i));
    const given = { ...segment(1), crc: 0xffffffff, payload: every };
    await store.appendSegment(given);
    expect(await stored()).toEqual([{ ...given, seq: 1 }]);
  });

  it('leave the caller its bytes, to offer again if the append fails', async () => {
    const given = segment(1, 1000);
    const copy = new Uint8Array(given.payload);
    await store.appendSegment(given);
    expect(given.payload).toEqual(copy);
  });

  it('are stored in the order in which one process appends them', async () => {
    await Promise.all(Array.from({ length: 300 }, (_, i) => store.appendSegment(segment(i))));
    const rows = await stored();
    expect(rows.map((row) => segmentNumber(row.payload))).toEqual(Array.from({ length: 300 }, (_, i) => i));
  });

  it('count once when the same one is appended again, as after a commit whose answer was lost', async () => {
    await store.appendSegment(segment(7));
    await store.appendSegment(segment(7));
    await store.appendSegment(segment(8));
    expect((await stored()).map((row) => segmentNumber(row.payload))).toEqual([7, 8]);
  });

  it('can be appended while writes and reads go on', async () => {
    await Promise.all(
      Array.from({ length: 60 }, (_, i) => [
        store.appendSegment(segment(i)),
        store.write((tx) =>
          tx
            .insertInto('meta')
            .values({ name: `m${i}`, value: 'x' })
            .execute(),
        ),
        store.db.selectFrom('meta').selectAll().execute(),
      ]).flat(),
    );
    expect(await stored()).toHaveLength(60);
  });

  it('are durable when close resolves, if they were handed over before', async () => {
    const appends = Array.from({ length: 20 }, (_, i) => store.appendSegment(segment(i, 10_000)));
    await store.close();
    await Promise.all(appends);
    store = await place.open();
    expect(await stored()).toHaveLength(20);
  });

  it('are refused with 503 once the store is closed', async () => {
    await store.close();
    await expect(store.appendSegment(segment(1))).rejects.toMatchObject({ status: 503 });
  });
});

describe('the queue of usage segments', () => {
  /** A queue whose commits are let through one at a time. */
  function queue() {
    const groups: number[][] = [];
    const gates: PromiseWithResolvers<void>[] = [];
    const made = new SegmentQueue(async (collect) => {
      groups.push(collect().map(({ payload }) => segmentNumber(payload)));
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      await gate.promise;
    });
    const tick = () => new Promise((resolve) => setImmediate(resolve));
    return { queue: made, groups, gates, tick };
  }

  it('puts what arrives during a commit into the next one, as a group', async () => {
    const { queue: made, groups, gates, tick } = queue();
    void made.add(segment(0));
    await tick();
    for (let i = 1; i <= 5; i++) void made.add(segment(i));
    gates[0]?.resolve();
    await tick();
    expect(groups).toEqual([[0], [1, 2, 3, 4, 5]]);
    gates[1]?.resolve();
    await made.drained();
  });

  it('resolves an append after its commit and not before', async () => {
    const { queue: made, gates, tick } = queue();
    let durable = false;
    const added = made.add(segment(0)).then(() => {
      durable = true;
    });
    await tick();
    expect(durable).toBe(false);
    gates[0]?.resolve();
    await added;
    expect(durable).toBe(true);
  });

  it('refuses every append of a commit that failed, and goes on with the next', async () => {
    const { queue: made, groups, gates, tick } = queue();
    const first = made.add(segment(0));
    const second = made.add(segment(1));
    await tick();
    const third = made.add(segment(2));
    gates[0]?.reject(new Error('disk full'));
    await expect(first).rejects.toThrow('disk full');
    await expect(second).rejects.toThrow('disk full');
    await tick();
    gates[1]?.resolve();
    await third;
    expect(groups).toEqual([[0, 1], [2]]);
  });

  it('refuses what waits when the database cannot even be asked', async () => {
    const made = new SegmentQueue(() => Promise.reject(new Error('away')));
    await expect(made.add(segment(0))).rejects.toThrow('away');
    await made.drained();
  });

  it('bounds a group in number and in bytes, and takes a larger segment alone', async () => {
    const groups: NewSegment[][] = [];
    const made = new SegmentQueue(async (collect) => {
      groups.push([...collect()]);
    });
    await Promise.all(Array.from({ length: 200 }, (_, i) => made.add(segment(i))));
    expect(groups.map((group) => group.length)).toEqual([128, 72]);
    groups.length = 0;
    await Promise.all([3, 3, 3, 12, 1].map((megabytes, i) => made.add(segment(i, megabytes << 20))));
    expect(groups.map((group) => group.length)).toEqual([2, 1, 1, 1]);
  });

  it('refuses with 503 when more than 64 MiB wait', async () => {
    const { queue: made, gates, tick } = queue();
    const waiting = Array.from({ length: 8 }, (_, i) => made.add(segment(i, 8_300_000)));
    await expect(made.add(segment(9, 8_300_000))).rejects.toMatchObject({ status: 503 });
    for (let i = 0; i < 8; i++) {
      await tick();
      gates[i]?.resolve();
    }
    await Promise.all(waiting);
  });
});
