import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../../src/config/model.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { SetupError } from '../../src/platform/errors.ts';
import { migrate, STEPS } from '../../src/store/migrations/migrate.ts';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/store.ts';
import { ground } from './rows.ts';
import { freshPostgres, freshSqlite, type StorePlace, stores } from './stores.ts';

describe.each(stores)('migrations on $kind', ({ kind, fresh }) => {
  let place: StorePlace;
  beforeEach(async () => {
    place = await fresh();
  });
  afterEach(() => place.remove());

  const rewriteHistory = async (name: string) => {
    const store = await place.open();
    await sql`update keygate_migration set name = ${name} where name = '0001_tables'`.execute(store.db);
    await store.close();
  };

  it('make every table of the schema in an empty database', async () => {
    const store = await place.open();
    const tables = await store.db.introspection.getTables();
    expect(tables.map((table) => table.name)).toEqual(
      expect.arrayContaining([
        'api_keys',
        'audit_log',
        'changes',
        'meta',
        'organizations',
        'owned_objects',
        'projects',
        'service_accounts',
        'usage_segments',
        'users',
      ]),
    );
  });

  it('keep what is there when the store is opened again', async () => {
    const first = await place.open();
    await first.write((tx) => ground(tx));
    await first.close();
    const second = await place.open();
    expect(await second.db.selectFrom('projects').select('id').execute()).toHaveLength(1);
  });

  it('refuse a database of a newer version, and say so', async () => {
    const store = await place.open();
    await sql`insert into keygate_migration (name, timestamp) values ('9999_future', '2099-01-01T00:00:00Z')`.execute(
      store.db,
    );
    await store.close();
    await expect(place.open()).rejects.toThrow(/newer version of keygate.*9999_future/);
    await expect(place.open()).rejects.toBeInstanceOf(SetupError);
  });

  it('refuse a database whose history was altered, and say so', async () => {
    await rewriteHistory('0001_something_else');
    await expect(place.open()).rejects.toThrow(/history of the database differs.*0001_something_else/);
  });

  it('are done as a whole or not at all', async () => {
    const store = await place.open();
    const steps = {
      ...STEPS,
      '9001_more': async (db: Store['db']) => {
        await db.schema.createTable('more').addColumn('id', 'integer').execute();
      },
      '9002_broken': async (db: Store['db']) => {
        await db.schema.createTable('even_more').addColumn('id', 'integer').execute();
        await sql`insert into no_such_table values (1)`.execute(db);
      },
    };
    await expect(migrate(store.db, kind, steps)).rejects.toThrow(
      /could not be brought to this version.*9002_broken/,
    );
    const names = (await store.db.introspection.getTables()).map((table) => table.name);
    expect(names).not.toContain('more');
    expect(names).not.toContain('even_more');
    await store.close();
    await expect(place.open()).resolves.toBeDefined();
  });

  it('forget changes older than 30 days, but not the newest, so that numbers go on', async () => {
    const clock = { now: () => 0, monotonic: () => 0 };
    const old = await place.open({ clock });
    for (const id of ['a', 'b', 'c']) await old.write((tx) => old.announce(tx, 'project', id, 0));
    await old.close();
    const store = await place.open({ clock: { ...clock, now: () => 31 * 24 * 3600 * 1000 } });
    expect(await store.lastChange()).toBe(3);
    expect(await store.db.selectFrom('changes').select('object_id').execute()).toEqual([{ object_id: 'c' }]);
    await store.write((tx) => store.announce(tx, 'project', 'd', 0));
    expect(await store.lastChange()).toBe(4);
  });
});

describe('migrations', () => {
  it('are done once when several nodes start on one new PostgreSQL database at the same time', async () => {
    const place = await freshPostgres();
    const nodes = await Promise.all([place.open(), place.open(), place.open(), place.open()]);
    for (const node of nodes) await expect(node.ping()).resolves.toBeUndefined();
    await place.remove();
  });

  it('let several keygates live in one PostgreSQL database, each in a schema of its own', async () => {
    const place = await freshPostgres();
    const first = await place.open();
    await first.write((tx) => ground(tx));
    await sql`create schema other`.execute(first.db);
    const url = new URL(place.databaseUrl?.reveal() ?? '');
    url.searchParams.set('options', '-c search_path=other');
    const second = await openStore({
      dataDir: place.dataDir,
      databaseUrl: new Secret(url.href),
      clock: systemClock,
      onError: () => {},
    });
    expect(await second.db.selectFrom('projects').selectAll().execute()).toEqual([]);
    await second.write((tx) => ground(tx));
    await second.close();
    url.searchParams.set('options', '-c search_path=none_such');
    await expect(
      openStore({ dataDir: '', databaseUrl: new Secret(url.href), clock: systemClock, onError: () => {} }),
    ).rejects.toThrow(/search_path.*create it/);
    await place.remove();
  });

  it('leave a PostgreSQL database with other tables alone, and say so', async () => {
    const place = await freshPostgres();
    const store = await place.open();
    await sql`drop table keygate_migration`.execute(store.db);
    await store.close();
    await expect(place.open()).rejects.toThrow(/already exists.*database, or a schema, of its own/);
    await place.remove();
  });

  it('leave the SQLite database of another program alone, and say so', async () => {
    const place = await freshSqlite();
    const other = new DatabaseSync(join(place.dataDir, 'keygate.db'));
    other.exec('create table theirs (a)');
    other.close();
    await expect(place.open()).rejects.toThrow(/database of another program/);
    await place.remove();
  });
});
