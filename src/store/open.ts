// Opens the store: PostgreSQL where a URL is given, otherwise SQLite in the data folder. When it resolves, the tables
// are those of this version of keygate.

import type { Secret } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import { DataFolder } from './data-folder.ts';
import { type Engine, SqlStore } from './sql-store.ts';
import { SqliteEngine } from './sqlite.ts';
import type { Store } from './store.ts';

export interface StoreOptions {
  /** Where the embedded database lives; made if it does not exist. */
  readonly dataDir: string;
  /** `postgres://user:password@host:port/database`; null: the embedded database. */
  readonly databaseUrl: Secret | null;
  readonly clock: Clock;
  /** Told what goes wrong in the background: a lost connection, a follower that failed. It must not throw. */
  readonly onError: (error: unknown) => void;
}

/**
 * How long changes are kept, in milliseconds: 30 days. A node that was out of touch with its database for longer has
 * to be restarted, because it can no longer learn what it missed.
 */
const CHANGES_KEPT_MS = 30 * 24 * 3600 * 1000;

/** Throws SetupError, with a sentence that says what to do, when the store cannot be used. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { databaseUrl, dataDir, clock, onError } = options;
  const engine: Engine =
    databaseUrl === null
      ? await SqliteEngine.open(new DataFolder(dataDir), clock.now(), onError)
      : await openPostgres(databaseUrl, onError);
  try {
    await engine.migrate();
    await forgetOldChanges(engine, clock.now() - CHANGES_KEPT_MS);
  } catch (error) {
    await engine.close().catch(onError);
    throw error;
  }
  return new SqlStore(engine, onError);
}

/** Loaded only where it is used: the client is 10 MB that an embedded server does not need. */
async function openPostgres(databaseUrl: Secret, onError: (error: unknown) => void): Promise<Engine> {
  const { PostgresEngine } = await import('./postgres.ts');
  return await PostgresEngine.open(databaseUrl, onError);
}

/** The newest change stays, because its number is where the next one continues. */
async function forgetOldChanges({ db }: Engine, beforeMs: number): Promise<void> {
  await db
    .deleteFrom('changes')
    .where('at', '<', beforeMs)
    .where('seq', '<', ({ selectFrom }) =>
      selectFrom('changes').select(({ fn }) => fn.max<number>('seq').as('newest')),
    )
    .execute();
}
