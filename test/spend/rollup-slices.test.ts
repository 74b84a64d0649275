// Folding on the embedded database's own thread: bounded slices, and every event once whatever happens between them.

import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreFold } from '../../src/spend/rollup/in-store.ts';
import type { Folded, Pricing } from '../../src/spend/rollup/messages.ts';
import type { UsageEvent } from '../../src/spend/usage.ts';
import type { NewSegment } from '../../src/store/store.ts';
import { freshSqlite, type StorePlace } from '../store/stores.ts';
import { ADDRESSES, event, LIST, MINUTE, START } from './rollup-events.ts';
import { segmentOf } from './rollup-store.ts';

const PRICING: Pricing = { lists: [LIST], addresses: ADDRESSES };
const input = (count: number): UsageEvent['usage'] => ({ ...event({}).usage, input: count });

let place: StorePlace;
let db: DatabaseSync;
/** Every look at the clock takes so long, in milliseconds. */
let lookMs: number;
let now = 0;
const clock = {
  now: () => now,
  monotonic: () => {
    now += lookMs;
    return now;
  },
};

beforeEach(async () => {
  lookMs = 0;
  place = await freshSqlite();
  await (await place.open()).close();
  db = new DatabaseSync(join(place.dataDir, 'keygate.db'));
});
afterEach(async () => {
  db.close();
  await place.remove();
});

function put({ node, first_at, last_at, events, format, crc, payload }: NewSegment): void {
  db.prepare(
    'insert into usage_segments (node, first_at, last_at, events, format, crc, payload) values (?, ?, ?, ?, ?, ?, ?)',
  ).run(node, first_at, last_at, events, format, crc, payload);
}

async function putEvents(...events: UsageEvent[]): Promise<void> {
  put(await segmentOf(events));
}

const requests = () => db.prepare('select sum(requests) as n from usage_days').get()?.['n'];
const cost = () => db.prepare('select sum(cost) as n from usage_days').get()?.['n'];
const unfolded = () =>
  db.prepare('select count(*) as n from usage_unfolded where failed is null').get()?.['n'];

/** Slices until nothing is left. */
function foldAll(fold: StoreFold): Folded[] {
  const slices: Folded[] = [];
  for (let more = true; more; ) {
    const slice = fold.slice();
    slices.push(slice);
    more = slice.more;
  }
  return slices;
}

describe('folding in the embedded store', () => {
  it('stops reading when its time is over, and adds what several slices gathered at once', async () => {
    for (let at = 0; at < 20; at++) await putEvents(event({ at: START + at * MINUTE }), event({}));
    const fold = new StoreFold(db, clock, PRICING);
    lookMs = 5;
    const first = fold.slice();
    expect(first).toMatchObject({ segments: 0, more: true });
    expect([requests(), unfolded()]).toEqual([null, 20]);
    const slices = foldAll(fold);
    expect(slices.length).toBeGreaterThan(3);
    for (const { ms } of [first, ...slices]) expect(ms).toBeLessThan(50);
    expect(slices.filter(({ segments }) => segments > 0).map(({ segments }) => segments)).toEqual([20]);
    expect([requests(), unfolded()]).toEqual([40, 0]);
    expect(foldAll(fold)).toMatchObject([{ segments: 0, more: false }]);
  });

  it('adds nothing that it gathered when it is not there any more', async () => {
    for (let at = 0; at < 9; at++) await putEvents(event({ at: START + at }));
    const dead = new StoreFold(db, clock, PRICING);
    lookMs = 5;
    dead.slice();
    foldAll(new StoreFold(db, clock, PRICING));
    expect([requests(), unfolded()]).toEqual([9, 0]);
    // Had it lived on, it would notice: another took the notes away.
    lookMs = 0;
    expect(() => foldAll(dead)).toThrow('folded by another');
    expect(foldAll(dead)).toMatchObject([{ segments: 0, more: false }]);
    expect(requests()).toBe(9);
  });

  it('prices what it gathered by the prices in force when it is added', async () => {
    for (let at = 0; at < 9; at++) await putEvents(event({ at: START + at, usage: input(1_000_000) }));
    const fold = new StoreFold(db, clock, PRICING);
    lookMs = 5;
    fold.slice();
    fold.reprice({ ...PRICING, addresses: {} });
    lookMs = 0;
    foldAll(fold);
    expect([requests(), cost()]).toEqual([9, 0]);
  });

  it('counts a segment as a whole or not at all, also one that is wrong in the middle', async () => {
    const [good, half] = [event({ at: START }), event({ at: START + 1 })];
    await putEvents(good);
    const segment = await segmentOf([half, half]);
    const payload = Buffer.concat([(await segmentOf([half])).payload, Buffer.from('["not an event"]\n')]);
    put({ ...segment, payload, crc: crc32(payload) });
    await putEvents(event({ at: START + 2 }));
    const slices = foldAll(new StoreFold(db, clock, PRICING));
    expect(slices.flatMap(({ failed }) => failed)).toEqual([
      { seq: 2, reason: expect.stringContaining('not of its format') },
    ]);
    expect([requests(), unfolded()]).toEqual([2, 0]);
  });

  it('knows a series again that another start of the server had made', async () => {
    await putEvents(event({}));
    foldAll(new StoreFold(db, clock, PRICING));
    await putEvents(event({ at: START + 1 }));
    foldAll(new StoreFold(db, clock, PRICING));
    expect(db.prepare('select count(*) as n from usage_days').get()?.['n']).toBe(1);
    expect(requests()).toBe(2);
  });
});
