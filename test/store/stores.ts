// Both databases for tests: `describe.each(stores)('... on $kind', ({ fresh }) => ...)`. A place is a new folder or a new
// PostgreSQL database of its own; it is removed, with whatever is still open on it, by `remove`.
//
// PostgreSQL is found through KEYGATE_TEST_DATABASE_URL; `npm test` starts a private one and sets it.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { Secret } from '../../src/config/model.ts';
import { type Clock, systemClock } from '../../src/platform/clock.ts';
import { openStore, type StoreOptions } from '../../src/store/open.ts';
import type { Store } from '../../src/store/store.ts';

export interface StorePlace {
  /** The SQLite folder; for PostgreSQL a folder that stays empty. */
  readonly dataDir: string;
  /** Null for SQLite. */
  readonly databaseUrl: Secret | null;
  /** What stores of this place reported in the background. */
  readonly errors: unknown[];
  /** Opens the store; on PostgreSQL it may be open several times at once, like several nodes. */
  open(options?: { clock?: Clock }): Promise<Store>;
  /** Closes what is open and removes everything. */
  remove(): Promise<void>;
}

export interface StoreKind {
  readonly kind: Store['kind'];
  fresh(): Promise<StorePlace>;
}

export const stores: readonly StoreKind[] = [
  { kind: 'sqlite', fresh: freshSqlite },
  { kind: 'postgres', fresh: freshPostgres },
];

export async function freshSqlite(): Promise<StorePlace> {
  const dataDir = await mkdtemp(join(tmpdir(), 'keygate-store-'));
  return place(dataDir, null, async () => {});
}

export async function freshPostgres(): Promise<StorePlace> {
  const dataDir = await mkdtemp(join(tmpdir(), 'keygate-store-'));
  const name = `keygate_test_${randomBytes(8).toString('hex')}`;
  await administer(`create database ${name} template template0 encoding 'UTF8'`);
  const url = new URL(testDatabaseUrl());
  url.pathname = `/${name}`;
  return place(dataDir, new Secret(url.href), () =>
    administer(`drop database if exists ${name} with (force)`),
  );
}

export function testDatabaseUrl(): string {
  return process.env['KEYGATE_TEST_DATABASE_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres';
}

function place(dataDir: string, databaseUrl: Secret | null, drop: () => Promise<void>): StorePlace {
  const open: Store[] = [];
  const errors: unknown[] = [];
  return {
    dataDir,
    databaseUrl,
    errors,
    open: async ({ clock = systemClock } = {}) => {
      const options: StoreOptions = { dataDir, databaseUrl, clock, onError: (error) => errors.push(error) };
      const store = await openStore(options);
      open.push(store);
      return store;
    },
    remove: async () => {
      await Promise.all(open.map((store) => store.close()));
      await drop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** One statement on the server's own database. */
export async function administer(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: testDatabaseUrl(), connectionTimeoutMillis: 5000 });
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (error) {
    const { host } = new URL(testDatabaseUrl());
    throw new Error(
      `PostgreSQL for the tests cannot be reached at ${host} (${error instanceof Error ? error.message : error}). ` +
        'Run them with `npm test`, which starts a private one, or set KEYGATE_TEST_DATABASE_URL to a server where ' +
        'databases may be created.',
    );
  }
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
