import { performance } from 'node:perf_hooks';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Change, Store } from '../../src/store/store.ts';
import { eventually } from './rows.ts';
import { freshPostgres, type StorePlace, stores } from './stores.ts';

const announce = (store: Store, objectId: string) =>
  store.write((tx) => store.announce(tx, 'api_key', objectId, 1));

function collect(store: Store, since: number) {
  const seen: Change[] = [];
  const stop = store.follow(since, (changes) => {
    seen.push(...changes);
  });
  return { seen, stop };
}

describe.each(stores)('changes on $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  beforeEach(async () => {
    place = await fresh();
    store = await place.open();
  });
  afterEach(() => place.remove());

  it('are noticed on this node before the write that made them resolves', async () => {
    const { seen } = collect(store, 0);
    for (let i = 1; i <= 20; i++) {
      await announce(store, `key_${i}`);
      expect(seen.at(-1)).toEqual({ seq: i, kind: 'api_key', objectId: `key_${i}` });
    }
  });

  it('wait for a follower that takes its time', async () => {
    let inEffect = false;
    store.follow(0, async () => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      inEffect = true;
    });
    await announce(store, 'key_1');
    expect(inEffect).toBe(true);
  });

  it('come once to each follower, in the order of their commits, however many write at once', async () => {
    const followers = [collect(store, 0), collect(store, 0), collect(store, 0)];
    await Promise.all(Array.from({ length: 40 }, (_, i) => announce(store, `key_${i}`)));
    const committed = await store.db.selectFrom('changes').select('object_id').orderBy('seq').execute();
    expect(committed).toHaveLength(40);
    for (const { seen } of followers) {
      expect(seen.map((change) => change.objectId)).toEqual(committed.map((row) => row.object_id));
    }
  });

  it('of a transaction that was rolled back are never noticed', async () => {
    const { seen } = collect(store, 0);
    const failing = store.write(async (tx) => {
      await store.announce(tx, 'project', 'gone', 1);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    await announce(store, 'key_1');
    expect(seen.map((change) => change.objectId)).toEqual(['key_1']);
  });

  it('of several objects in one write are all noticed', async () => {
    const { seen } = collect(store, 0);
    await store.write(async (tx) => {
      for (let i = 0; i < 1200; i++) await store.announce(tx, 'api_key', `key_${i}`, 1);
    });
    expect(seen).toHaveLength(1200);
  });

  it('made before the follower came are caught up with, from the number that it names', async () => {
    await announce(store, 'a');
    const since = await store.lastChange();
    await announce(store, 'b');
    const { seen } = collect(store, since);
    await announce(store, 'c');
    expect(seen.map((change) => change.objectId)).toEqual(['b', 'c']);
  });

  it('are not noticed any more once the follower has stopped', async () => {
    const { seen, stop } = collect(store, 0);
    await announce(store, 'a');
    await stop();
    await announce(store, 'b');
    expect(seen.map((change) => change.objectId)).toEqual(['a']);
  });

  it('let a follower stop itself while it is being told', async () => {
    const stop = store.follow(0, () => stop());
    await announce(store, 'a');
    await announce(store, 'b');
  });

  it('come again when a follower failed, and the author is told that they are not in effect yet', async () => {
    const seen: string[] = [];
    let broken = true;
    store.follow(0, (changes) => {
      if (broken) throw new Error('not now');
      seen.push(...changes.map((change) => change.objectId));
    });
    await expect(announce(store, 'a')).rejects.toMatchObject({ status: 503 });
    expect(await store.lastChange()).toBe(1);
    expect(place.errors).toEqual([new Error('not now')]);
    broken = false;
    await eventually(
      () => seen.length,
      (length) => length > 0,
    );
    await announce(store, 'b');
    expect(seen).toEqual(['a', 'b']);
  });

  it('can only be announced within a write of the same store', async () => {
    await expect(
      store.db.transaction().execute((tx) => store.announce(tx, 'project', 'p', 1)),
    ).rejects.toThrow(/tx that this store gave to write/);
  });
});

describe('changes between nodes of one PostgreSQL database', () => {
  let place: StorePlace;
  let here: Store;
  let there: Store;
  beforeEach(async () => {
    place = await freshPostgres();
    here = await place.open();
    there = await place.open();
  });
  afterEach(() => place.remove());

  it('are noticed within a second', async () => {
    const { seen } = collect(there, 0);
    for (let i = 1; i <= 10; i++) {
      const began = performance.now();
      await announce(here, `key_${i}`);
      await eventually(
        () => seen.length,
        (length) => length === i,
      );
      expect(performance.now() - began).toBeLessThan(1000);
    }
  });

  it('are noticed within a second even when the notifications are lost', async () => {
    const { seen } = collect(there, 0);
    await announce(here, 'first');
    await eventually(
      () => seen.length,
      (length) => length === 1,
    );
    // Every connection that listens is cut; they come back later than the next change.
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen %' and datname = current_database()`.execute(
      here.db,
    );
    const began = performance.now();
    await announce(here, 'second');
    await eventually(
      () => seen.length,
      (length) => length === 2,
    );
    expect(performance.now() - began).toBeLessThan(1000);
    await eventually(
      () => place.errors.length,
      (length) => length > 0,
    );
    await eventually(
      async () =>
        (
          await sql`select 1 from pg_stat_activity where query like 'listen %' and datname = current_database()`.execute(
            here.db,
          )
        ).rows.length,
      (listening) => listening === 1,
    );
  });

  it('are noticed within a second even when no notification is ever sent', async () => {
    const { seen } = collect(there, 0);
    await announce(here, 'first');
    await eventually(
      () => seen.length,
      (length) => length === 1,
    );
    const began = performance.now();
    await here.db.insertInto('changes').values({ kind: 'api_key', object_id: 'silent', at: 1 }).execute();
    await eventually(
      () => seen.length,
      (length) => length === 2,
    );
    expect(performance.now() - began).toBeLessThan(1000);
  });

  it('come in one order to all, once, from whichever node', async () => {
    const followers = [collect(here, 0), collect(there, 0)];
    await Promise.all(Array.from({ length: 30 }, (_, i) => announce(i % 2 === 0 ? here : there, `key_${i}`)));
    const committed = await here.db.selectFrom('changes').select('object_id').orderBy('seq').execute();
    for (const { seen } of followers) {
      await eventually(
        () => seen.length,
        (length) => length >= 30,
      );
      expect(seen.map((change) => change.objectId)).toEqual(committed.map((row) => row.object_id));
    }
  });
});
