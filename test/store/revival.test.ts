// The thread that owns the SQLite database dies: what was committed is there, and the store serves again by itself.

import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import { event, START } from '../spend/rollup-events.ts';
import { append, rollupOver } from '../spend/rollup-store.ts';
import { freshSqlite, type StorePlace } from './stores.ts';

let place: StorePlace;
let store: Store;
let workers: Worker[] = [];
const note = (worker: Worker): void => {
  workers.push(worker);
};

beforeEach(async () => {
  workers = [];
  process.on('worker', note);
  place = await freshSqlite();
  store = await place.open();
});

afterEach(async () => {
  process.off('worker', note);
  await place.remove();
});

const put = (name: string): Promise<unknown> =>
  store.write((tx) => tx.insertInto('meta').values({ name, value: 'x' }).execute());
const names = async (): Promise<string[]> =>
  (
    await store.db.selectFrom('meta').select('name').where('name', 'like', 'm%').orderBy('name').execute()
  ).map(({ name }) => name);

async function kill(): Promise<void> {
  await workers.at(-1)?.terminate();
}

/** Resolves once the store answers again. */
async function again(): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    try {
      await store.ping();
      return;
    } catch (error) {
      expect(error).toMatchObject({ status: 503 });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  throw new Error('the store did not come back');
}

describe('a store whose thread died', () => {
  it('refuses with 503 until another has opened the database, and then has all that was committed', async () => {
    await put('m1');
    for (const name of ['m2', 'm3']) {
      await kill();
      await expect(store.ping()).rejects.toMatchObject({ status: 503 });
      await again();
      await put(name);
    }
    expect(await names()).toEqual(['m1', 'm2', 'm3']);
    expect(workers.length).toBe(3);
    expect(place.errors.length).toBe(2);
  });

  it('does not go on with a transaction of before, and keeps nothing of it', async () => {
    const written = store.write(async (tx) => {
      await tx.insertInto('meta').values({ name: 'm1', value: 'x' }).execute();
      await kill();
      for (let tries = 0; tries < 500 && workers.length < 2; tries++)
        await new Promise((resolve) => setTimeout(resolve, 10));
      await new Promise((resolve) => setTimeout(resolve, 300));
      await tx.insertInto('meta').values({ name: 'm2', value: 'x' }).execute();
    });
    await expect(written).rejects.toMatchObject({ status: 503 });
    await again();
    expect(await names()).toEqual([]);
    await put('m3');
    expect(await names()).toEqual(['m3']);
  });

  it('does not open another file in place of its own', async () => {
    await put('m1');
    const file = join(place.dataDir, 'keygate.db');
    await rename(file, `${file}.away`);
    await kill();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await expect(store.ping()).rejects.toMatchObject({ status: 503 });
    await rename(`${file}.away`, file);
    await again();
    expect(await names()).toEqual(['m1']);
  });

  it('folds usage again, by the same prices', async () => {
    const rollup = rollupOver(store);
    for (const at of [START, START + 1]) {
      await append(store, [event({ at, usage: { ...event({}).usage, input: 1_000_000 } })]);
      await rollup.catchUp();
      await kill();
      await again();
    }
    const sums = await store.db.selectFrom('usage_days').select(['requests', 'cost']).execute();
    expect(sums).toEqual([{ requests: 2, cost: 6_000_014_000 }]);
  });

  it('can be closed while there is no thread', async () => {
    await kill();
    await store.close();
    await expect(store.ping()).rejects.toMatchObject({ status: 503 });
  });
});
