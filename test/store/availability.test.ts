import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../../src/config/model.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { ApiError, SetupError } from '../../src/platform/errors.ts';
import { openStore } from '../../src/store/open.ts';
import type { Change, Store } from '../../src/store/store.ts';
import { type FlakyProxy, flakyProxy } from './flaky-proxy.ts';
import { eventually, segment } from './rows.ts';
import {
  administer,
  freshPostgres,
  freshSqlite,
  type StorePlace,
  stores,
  testDatabaseUrl,
} from './stores.ts';

describe.each(stores)('the store on $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  beforeEach(async () => {
    place = await fresh();
    store = await place.open();
  });
  afterEach(() => place.remove());

  it('answers a ping while its database answers', async () => {
    await expect(store.ping()).resolves.toBeUndefined();
  });

  it('answers a ping while a write is under way', async () => {
    await store.write(() => store.ping().catch((error: unknown) => expect(error).toBeUndefined()));
  });

  it('finishes what is under way when it is closed, and refuses with 503 what comes later', async () => {
    const writes = Array.from({ length: 10 }, (_, i) =>
      store.write((tx) =>
        tx
          .insertInto('meta')
          .values({ name: `m${i}`, value: 'x' })
          .execute(),
      ),
    );
    await Promise.all([store.close(), store.close()]);
    await Promise.all(writes);
    await expect(store.write(async () => {})).rejects.toMatchObject({ status: 503 });
    await expect(store.db.selectFrom('meta').selectAll().execute()).rejects.toMatchObject({ status: 503 });
    await expect(store.loadKeys(() => {})).rejects.toMatchObject({ status: 503 });
    await expect(store.ping()).rejects.toMatchObject({ status: 503 });
    const again = await place.open();
    expect(await again.db.selectFrom('meta').selectAll().execute()).toHaveLength(10);
    expect(place.errors).toEqual([]);
  });
});

describe('the store on sqlite', () => {
  it('fails its ping when the database file is removed or replaced', async () => {
    const place = await freshSqlite();
    const store = await place.open();
    const file = join(place.dataDir, 'keygate.db');
    await rename(file, `${file}.moved`);
    await expect(store.ping()).rejects.toThrow(/removed or replaced/);
    await rename(`${file}.moved`, file);
    await expect(store.ping()).resolves.toBeUndefined();
    await rm(file);
    await expect(store.ping()).rejects.toMatchObject({ status: 503 });
    await place.remove();
  });

  it('refuses with 503 what cannot be written, and keeps what it acknowledged', async () => {
    const place = await freshSqlite();
    const store = await place.open();
    await store.appendSegment(segment(1));
    // As on a full disk: the file may not grow.
    const { rows } = await sql<{ page_count: number }>`pragma page_count`.execute(store.db);
    await sql`pragma max_page_count = ${sql.lit(rows[0]?.page_count ?? 1)}`.execute(store.db);
    const refused = await store.appendSegment(segment(2, 1_000_000)).catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: 503 });
    await expect(
      store.write((tx) =>
        tx
          .insertInto('meta')
          .values({ name: 'big', value: 'x'.repeat(1_000_000) })
          .execute(),
      ),
    ).rejects.toMatchObject({ status: 503 });
    expect(String(place.errors[0])).toMatch(/database or disk is full/);
    await sql`pragma max_page_count = 1000000`.execute(store.db);
    await store.appendSegment(segment(2, 1_000_000));
    expect(await store.db.selectFrom('usage_segments').select('seq').execute()).toHaveLength(2);
    expect(await store.db.selectFrom('meta').select('name').execute()).toEqual([]);
    await place.remove();
  });
});

describe('the store on postgres, when the server goes away', () => {
  let place: StorePlace;
  let proxy: FlakyProxy;
  let store: Store;
  let errors: unknown[];

  beforeEach(async () => {
    place = await freshPostgres();
    const url = new URL(place.databaseUrl?.reveal() ?? '');
    proxy = await flakyProxy(url.hostname, Number(url.port || 5432));
    url.hostname = '127.0.0.1';
    url.port = String(proxy.port);
    errors = [];
    store = await openStore({
      dataDir: place.dataDir,
      databaseUrl: new Secret(url.href),
      clock: systemClock,
      onError: (error) => errors.push(error),
    });
  });
  afterEach(async () => {
    await store.close();
    await proxy.stop().catch(() => {});
    await place.remove();
  });

  const attempts = () => [
    store.ping(),
    store.write((tx) => tx.insertInto('meta').values({ name: 'a', value: 'x' }).execute()),
    store.appendSegment(segment(1)),
    store.loadKeys(() => {}),
    store.db.selectFrom('meta').selectAll().execute(),
  ];

  it('refuses everything with 503 at once, says why once, and goes on when it is back', async () => {
    await Promise.all(attempts());
    await proxy.stop();
    for (let round = 0; round < 2; round++) {
      for (const outcome of await Promise.allSettled(attempts())) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: { status: 503 } });
      }
    }
    expect(errors.filter((error) => /PostgreSQL/.test(String(error)))).toHaveLength(1);
    await proxy.start();
    await eventually(
      () =>
        store.ping().then(
          () => true,
          () => false,
        ),
      (up) => up,
    );
    await store.appendSegment(segment(2));
    expect(await store.db.selectFrom('usage_segments').select('seq').execute()).toHaveLength(2);
  });

  it('refuses a write whose connection is cut half-way, keeps nothing of it and gives its lock back', async () => {
    const cut = store.write(async (tx) => {
      await tx.insertInto('meta').values({ name: 'half', value: 'x' }).execute();
      await proxy.stop();
      await tx.insertInto('meta').values({ name: 'other half', value: 'x' }).execute();
    });
    await expect(cut).rejects.toMatchObject({ status: 503 });
    await proxy.start();
    await store.write((tx) => tx.insertInto('meta').values({ name: 'next', value: 'x' }).execute());
    expect(await store.db.selectFrom('meta').select('name').execute()).toEqual([{ name: 'next' }]);
  });

  it('notices the changes that it missed as soon as the server is back', async () => {
    const other = await place.open();
    const seen: Change[] = [];
    store.follow(0, (changes) => {
      seen.push(...changes);
    });
    await proxy.stop();
    await other.write((tx) => other.announce(tx, 'api_key', 'revoked', 1));
    await eventually(
      () => errors.length,
      (count) => count > 0,
    );
    await proxy.start();
    await eventually(
      () => seen.length,
      (count) => count > 0,
    );
    expect(seen).toEqual([{ seq: 1, kind: 'api_key', objectId: 'revoked' }]);
  });

  it('fails its ping within the bound when the server is silent, and never hangs', async () => {
    await store.ping();
    proxy.silence();
    const began = performance.now();
    await expect(store.ping()).rejects.toBeInstanceOf(ApiError);
    expect(performance.now() - began).toBeLessThan(3000);
    await proxy.stop();
  });
});

describe('the store on a PostgreSQL whose settings would break its promises', () => {
  it('insists on durable commits and reads bytes as they are', async () => {
    const place = await freshPostgres();
    const name = new URL(place.databaseUrl?.reveal() ?? '').pathname.slice(1);
    await administer(`alter database ${name} set synchronous_commit = off`);
    await administer(`alter database ${name} set bytea_output = 'escape'`);
    await administer(`alter database ${name} set default_transaction_isolation = 'serializable'`);
    const store = await place.open();
    const { rows } = await sql`select current_setting('synchronous_commit') as commit`.execute(store.db);
    expect(rows).toEqual([{ commit: 'on' }]);
    await store.appendSegment(segment(1));
    const stored = await store.db.selectFrom('usage_segments').select('payload').executeTakeFirst();
    expect(stored?.payload).toEqual(segment(1).payload);
    const level = await store.write((tx) => sql`show transaction isolation level`.execute(tx));
    expect(level.rows).toEqual([{ transaction_isolation: 'read committed' }]);
    await place.remove();
  });
});

describe('opening a PostgreSQL store that cannot be used', () => {
  const open = (url: string) =>
    openStore({
      dataDir: '/nonexistent',
      databaseUrl: new Secret(url),
      clock: systemClock,
      onError: () => {},
    });
  const at = (change: (url: URL) => void) => {
    const url = new URL(testDatabaseUrl());
    change(url);
    return url.href;
  };

  it('says that there is no server, without the password', async () => {
    const error = await open('postgres://someone:hunter2@127.0.0.1:1/x').catch((error: unknown) => error);
    expect(error).toBeInstanceOf(SetupError);
    expect(String(error)).toMatch(/PostgreSQL at 127\.0\.0\.1:1 cannot be used.*KEYGATE_DATABASE_URL/);
    expect(String(error)).not.toContain('hunter2');
  });

  it('says that there is no such database', async () => {
    await expect(open(at((url) => (url.pathname = '/keygate_none')))).rejects.toThrow(
      /no such database.*create it/,
    );
  });

  it('says that the user is refused', async () => {
    await expect(open(at((url) => (url.username = 'keygate_nobody')))).rejects.toThrow(
      /refuses the user or the password/,
    );
  });

  it.each(['mysql://localhost/x', 'postgres://host:port/x', 'localhost'])(
    'says that %s is no such URL',
    async (url) => {
      await expect(open(url)).rejects.toThrow(/not a URL of the form postgres:/);
    },
  );
});
