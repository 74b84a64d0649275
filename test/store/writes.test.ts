import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiError } from '../../src/platform/errors.ts';
import { isUniqueViolation } from '../../src/store/errors.ts';
import { WRITE_LIMIT_MS } from '../../src/store/sql-store.ts';
import type { Store, Tx } from '../../src/store/store.ts';
import { freshPostgres, freshSqlite, type StorePlace, stores } from './stores.ts';

const count = (db: Store['db'] | Tx) =>
  db
    .selectFrom('meta')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
    .then((row) => row.count);

const put = (tx: Tx, name: string, value = 'x') => tx.insertInto('meta').values({ name, value }).execute();

/** Runs a function as if it had come from elsewhere, and not from inside the current write. */
const outside = AsyncLocalStorage.snapshot();

/** Reads, yields to whatever else could run, and writes what it read plus one. */
async function increment(tx: Tx): Promise<void> {
  const row = await tx.selectFrom('meta').select('value').where('name', '=', 'n').executeTakeFirstOrThrow();
  await new Promise((resolve) => setImmediate(resolve));
  await tx
    .updateTable('meta')
    .set({ value: String(Number(row.value) + 1) })
    .where('name', '=', 'n')
    .execute();
}

describe.each(stores)('write on $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  beforeEach(async () => {
    place = await fresh();
    store = await place.open();
  });
  afterEach(() => place.remove());

  it('runs one transaction at a time, so that none is lost to another', async () => {
    await store.write((tx) => put(tx, 'n', '0'));
    await Promise.all(Array.from({ length: 50 }, () => store.write(increment)));
    const row = await store.db.selectFrom('meta').select('value').executeTakeFirstOrThrow();
    expect(row.value).toBe('50');
  });

  it('gives back what the work returns', async () => {
    expect(await store.write(async () => 'done')).toBe('done');
  });

  it('keeps nothing when the work throws, and passes its error on', async () => {
    const mine = new ApiError(404, 'No such project.');
    const failing = store.write(async (tx) => {
      await put(tx, 'a');
      throw mine;
    });
    await expect(failing).rejects.toBe(mine);
    expect(await count(store.db)).toBe(0);
  });

  it('keeps nothing when a statement failed, even if the work goes on as if nothing had been', async () => {
    await store.write((tx) => put(tx, 'a'));
    const failing = store.write(async (tx) => {
      await put(tx, 'b');
      await put(tx, 'a').catch(() => {});
    });
    await expect(failing).rejects.toThrow(/statement of this transaction failed/);
    expect(await count(store.db)).toBe(1);
    await store.write((tx) => put(tx, 'c'));
    expect(await count(store.db)).toBe(2);
  });

  it('refuses further statements after one failed', async () => {
    await store.write((tx) => put(tx, 'a'));
    let second: unknown;
    const failing = store.write(async (tx) => {
      await put(tx, 'a').catch(() => {});
      second = await put(tx, 'b').catch((error: unknown) => error);
    });
    await expect(failing).rejects.toThrow();
    expect(second).toBeInstanceOf(Error);
    expect(await count(store.db)).toBe(1);
  });

  it('tells a name that is taken from every other failure', async () => {
    await store.write((tx) => put(tx, 'a'));
    const error = await store.write((tx) => put(tx, 'a')).catch((error: unknown) => error);
    expect(isUniqueViolation(error)).toBe(true);
    const other = await store
      .write((tx) =>
        tx
          .insertInto('projects')
          .values({
            id: 'p',
            organization_id: 'nowhere',
            name: 'p',
            status: 'active',
            environment: 'development',
            is_default: 0,
            created_at: 1,
            archived_at: null,
          })
          .execute(),
      )
      .catch((error: unknown) => error);
    expect(isUniqueViolation(other)).toBe(false);
    expect(other).toMatchObject({ name: 'ConstraintError', constraint: 'foreign_key' });
  });

  it('shows nothing of a transaction to a reader before it is committed', async () => {
    const reader = Promise.withResolvers<number>();
    await store.write(async (tx) => {
      await put(tx, 'a');
      // Asked outside of the work, as another request would.
      setImmediate(() => void outside(() => count(store.db)).then(reader.resolve, reader.reject));
      await new Promise((resolve) => setTimeout(resolve, 20));
      await put(tx, 'b');
    });
    // SQLite lets the reader wait for the end, PostgreSQL shows it the state before: never half of it.
    expect([0, 2]).toContain(await reader.promise);
  });

  it('refuses at once what would wait for itself for ever', async () => {
    await expect(store.write(() => store.write(async () => {}))).rejects.toThrow(/write inside a write/);
    await expect(store.write(() => count(store.db))).rejects.toThrow(/through its tx/);
    store.follow(0, () => store.write(async () => {}));
    await expect(store.write((tx) => store.announce(tx, 'project', 'p', 1))).rejects.toMatchObject({
      status: 503,
    });
    expect(String(place.errors[0])).toMatch(/write inside a notice/);
    expect(await count(store.db)).toBe(0);
  });

  it('refuses a query that comes after the end of its transaction', async () => {
    let kept: Tx | undefined;
    await store.write(async (tx) => {
      kept = tx;
      await put(tx, 'a');
    });
    await expect(kept && put(kept, 'b')).rejects.toThrow();
    expect(await count(store.db)).toBe(1);
  });

  it('ends work that takes too long, keeps nothing of it and lets the next one in', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const entered = Promise.withResolvers<void>();
      const stuck = store.write(async (tx) => {
        await put(tx, 'a');
        entered.resolve();
        await new Promise(() => {});
      });
      const refused = expect(stuck).rejects.toMatchObject({ status: 503 });
      await entered.promise;
      vi.advanceTimersByTime(WRITE_LIMIT_MS);
      await refused;
    } finally {
      vi.useRealTimers();
    }
    await store.write((tx) => put(tx, 'b'));
    expect(await count(store.db)).toBe(1);
  });

  it('rolls back to a savepoint without losing the rest', async () => {
    await store.write((tx) => put(tx, 'a'));
    const transaction = await store.db.startTransaction().execute();
    await transaction.insertInto('meta').values({ name: 'b', value: 'x' }).execute();
    const saved = await transaction.savepoint('before').execute();
    await saved
      .insertInto('meta')
      .values({ name: 'a', value: 'x' })
      .execute()
      .catch(() => {});
    const back = await saved.rollbackToSavepoint('before').execute();
    await back.insertInto('meta').values({ name: 'c', value: 'x' }).execute();
    await transaction.commit().execute();
    expect(await count(store.db)).toBe(3);
  });
});

describe('write', () => {
  it('is serialized across the nodes of one PostgreSQL database', async () => {
    const place = await freshPostgres();
    const nodes = await Promise.all([place.open(), place.open(), place.open()]);
    await nodes[0]?.write((tx) => put(tx, 'n', '0'));
    await Promise.all(nodes.flatMap((node) => Array.from({ length: 15 }, () => node.write(increment))));
    const row = await nodes[1]?.db.selectFrom('meta').select('value').executeTakeFirstOrThrow();
    expect(row?.value).toBe('45');
    await place.remove();
  });

  it('on SQLite refuses with 503 whoever waits too long for a turn', async () => {
    const place = await freshSqlite();
    const store = await place.open();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const entered = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const slow = store.write(async (tx) => {
      entered.resolve();
      await go.promise;
      await put(tx, 'a');
    });
    await entered.promise;
    const waiting = count(store.db);
    const refused = expect(waiting).rejects.toMatchObject({ status: 503 });
    await new Promise((resolve) => setImmediate(resolve));
    vi.advanceTimersByTime(10_000);
    await refused;
    vi.useRealTimers();
    go.resolve();
    await slow;
    expect(await count(store.db)).toBe(1);
    await place.remove();
  });
});
