// On PostgreSQL a day of usage is a partition: old days go as a whole, and nothing goes that is not in the roll-ups.

import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../src/platform/clock.ts';
import { makePartitions } from '../../src/spend/rollup/partitions.ts';
import type { Store } from '../../src/store/store.ts';
import { freshPostgres, type StorePlace } from '../store/stores.ts';
import { event } from './rollup-events.ts';
import { append, rollupOver } from './rollup-store.ts';

const DAY = 86_400_000;
const START = Date.UTC(2026, 4, 10, 12);

let place: StorePlace;
let store: Store;
beforeEach(async () => {
  place = await freshPostgres();
  store = await place.open();
});
afterEach(() => place.remove());

/** Rows by the table that they lie in. */
async function where(): Promise<Record<string, number>> {
  const { rows } = await sql<{ name: string; rows: number }>`
    select tableoid::regclass::text as name, count(*) as rows from usage_segments group by 1 order by 1`.execute(
    store.db,
  );
  return Object.fromEntries(rows.map(({ name, rows: count }) => [name, Number(count)]));
}

async function tables(): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select relname as name from pg_class where relname like 'usage_segments_2%' and relkind = 'r' order by 1`.execute(
    store.db,
  );
  return rows.map(({ name }) => name.replace('usage_segments_', ''));
}

describe('usage segments on PostgreSQL', () => {
  test('lie in the partition of their day, made two days ahead; what has none in the default one', async () => {
    await makePartitions(store.db, START);
    await makePartitions(store.db, START);
    expect(await tables()).toEqual(['20260510', '20260511', '20260512']);
    await append(store, [event({ at: START })]);
    await append(store, [event({ at: START + DAY })]);
    await append(store, [event({ at: START + 9 * DAY })]);
    expect(await where()).toEqual({
      usage_segments_20260510: 1,
      usage_segments_20260511: 1,
      usage_segments_other: 1,
    });
    // A day that began in the default partition goes on there.
    await makePartitions(store.db, START + 8 * DAY);
    expect(await tables()).toEqual(['20260510', '20260511', '20260512', '20260518', '20260520']);
  });

  test('are dropped by the day, whole, when the day is old enough and folded', async () => {
    const clock = new ManualClock(START);
    const keeper = rollupOver(store, { clock, retentionMs: 30 * DAY });
    await makePartitions(store.db, START);
    for (let i = 0; i < 5; i++) await append(store, [event({ at: START + i * 1000 })]);
    await append(store, [event({ at: START + DAY })]);
    await keeper.catchUp();
    clock.advance(30 * DAY);
    await keeper.retain();
    // Of a day that is not wholly old nothing goes.
    expect((await where())['usage_segments_20260510']).toBe(5);
    clock.advance(12 * 3_600_000);
    await append(store, [event({ at: START + DAY + 1 })]);
    await keeper.retain();
    expect(await where()).toEqual({ usage_segments_20260511: 2 });
    // The next day holds one that is not folded: what is folded goes, that one stays.
    clock.advance(DAY);
    await keeper.retain();
    expect(await where()).toEqual({ usage_segments_20260511: 1 });
    await keeper.catchUp();
    await keeper.retain();
    expect(await where()).toEqual({});
    expect(await tables()).not.toContain('20260511');
    await keeper.stop();
  });

  test('are appended once, across partitions', async () => {
    await makePartitions(store.db, START);
    const one = event({ at: START });
    const other = event({ at: START + DAY });
    for (const each of [one, other, one, other]) await append(store, [each]);
    const { rows } = await sql<{ seq: number }>`select seq from usage_segments`.execute(store.db);
    expect(rows).toHaveLength(2);
  });
});
