import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { SetupError } from '../../src/platform/errors.ts';
import { openStore } from '../../src/store/open.ts';
import { ground, keyRow } from './rows.ts';
import { freshSqlite, type StorePlace } from './stores.ts';

const script = fileURLToPath(new URL('./append-forever.ts', import.meta.url));
const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

describe('the folder of the embedded store', () => {
  let place: StorePlace;
  let database: string;
  beforeEach(async () => {
    place = await freshSqlite();
    database = join(place.dataDir, 'keygate.db');
  });
  afterEach(() => place.remove());

  it('refuses a second process, names the one that holds it and says to talk to it', async () => {
    const child = spawn(process.execPath, [script, place.dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const refused = await place.open().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(SetupError);
    expect(String(refused)).toMatch(
      new RegExp(`in use by process ${child.pid}, .* Talk to that running server through its API`),
    );
    // The refused one has taken nothing away: the holder still holds.
    await expect(place.open()).rejects.toBeInstanceOf(SetupError);
    child.kill('SIGKILL');
    await once(child, 'close');
    const store = await place.open();
    await expect(store.ping()).resolves.toBeUndefined();
  });

  it('refuses a second opening by the same process too', async () => {
    const store = await place.open();
    await expect(place.open()).rejects.toThrow(new RegExp(`in use by process ${process.pid}`));
    await store.write((tx) => ground(tx));
    await store.close();
    await expect(place.open()).resolves.toBeDefined();
  });

  it('does not name a process that is no longer there', async () => {
    const other = new DatabaseSync(database);
    other.exec('pragma locking_mode = exclusive; begin exclusive');
    await writeFile(join(place.dataDir, 'keygate.pid'), '{"pid":4194304,"since":"2026-01-01T00:00:00Z"}');
    await expect(place.open()).rejects.toThrow(/in use by another process/);
    other.close();
  });

  it('is readable by its owner only, and so is everything in it', async () => {
    const dataDir = join(place.dataDir, 'made', 'here');
    const store = await openStore({ dataDir, databaseUrl: null, clock: systemClock, onError: () => {} });
    await store.write((tx) => ground(tx));
    expect(await mode(dataDir)).toBe('700');
    const files = await readdir(dataDir);
    expect(files).toContain('keygate.db');
    expect(files).toContain('keygate.db-wal');
    for (const file of files) expect(await mode(join(dataDir, file))).toBe('600');
    await store.close();
    expect(await readdir(dataDir)).toEqual(['keygate.db']);
  });

  it('closes a database file that others could read', async () => {
    await (await place.open()).close();
    await chmod(database, 0o644);
    await place.open();
    expect(await mode(database)).toBe('600');
  });

  it('refuses a path that cannot be a folder, and says what to do', async () => {
    const file = join(place.dataDir, 'file');
    await writeFile(file, '');
    await expect(
      openStore({ dataDir: file, databaseUrl: null, clock: systemClock, onError: () => {} }),
    ).rejects.toThrow(/cannot be used \((EEXIST|ENOTDIR)\).*KEYGATE_DATA/);
  });

  it('refuses a folder where the database should be', async () => {
    await mkdir(database);
    await expect(place.open()).rejects.toBeInstanceOf(SetupError);
  });

  it('refuses a file that is no database, and leaves it as it is', async () => {
    await writeFile(database, 'this is not a database, whatever its name says'.repeat(100));
    await expect(place.open()).rejects.toThrow(/is damaged .*put a backup in its place/);
    expect((await readFile(database, 'utf8')).slice(0, 22)).toBe('this is not a database');
  });

  it('refuses a database that was cut short', async () => {
    const store = await place.open();
    await store.write(async (tx) => {
      await ground(tx);
      for (let i = 0; i < 500; i++)
        await tx
          .insertInto('api_keys')
          .values(keyRow(`key_${i}`))
          .execute();
    });
    await store.close();
    await truncate(database, Math.floor((await stat(database)).size / 8192) * 4096);
    await expect(place.open()).rejects.toThrow(/is damaged .*Nothing was changed in it/);
  });

  it('refuses a database with a page of rubbish', async () => {
    const store = await place.open();
    await store.write(async (tx) => {
      await ground(tx);
      for (let i = 0; i < 500; i++)
        await tx
          .insertInto('api_keys')
          .values(keyRow(`key_${i}`))
          .execute();
    });
    await store.close();
    const bytes = await readFile(database);
    bytes.fill(0xa5, 4096 * 20, 4096 * 21);
    await writeFile(database, bytes);
    await expect(place.open()).rejects.toThrow(/is damaged/);
  });
});
