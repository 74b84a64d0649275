// The store in PostgreSQL, which many nodes share.
//
// Order: every `write` of every node takes one advisory lock as the first statement of its transaction and gives it
// back after its commit, so changes are numbered in commit order and the audit chain has one head. Appending usage
// and plain queries do not wait for it; segments of one node are numbered in the order in which they were appended,
// those of different nodes not.
//
// Noticing: a change of this node is noticed before its `write` resolves; one of another node within 500 ms and one
// query, while PostgreSQL answers (postgres-listener.ts).
//
// Failure: nothing waits without a bound (postgres-pool.ts). A lost database is a 503; the pool connects again by
// itself. A commit whose answer was lost may have happened: an appended segment can safely be appended again.

import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import type { Secret } from '../config/model.ts';
import { SetupError, unavailable } from '../platform/errors.ts';
import { migrate } from './migrations/migrate.ts';
import { Availability, setupError } from './postgres-errors.ts';
import { CHANNEL, ChangeListener } from './postgres-listener.ts';
import { connectionConfig, LoanPool, newPool, ScopedPool } from './postgres-pool.ts';
import type { Schema } from './schema.ts';
import { Scope } from './scope.ts';
import type { Engine } from './sql-store.ts';
import type { Db, KeyRow, NewSegment, Tx } from './store.ts';
import { Turn, within } from './turn.ts';

/** "keygate", as a number that no other program is likely to use for its advisory lock. */
const WRITE_LOCK = 0x6b657967617465n;
const KEYS = 2000;
const USABLE_KEYS = `
  select id, encode(digest, 'hex'), type, organization_id, project_id, owner_type, owner_id, scopes, models, addresses,
    expires_at, confirmation
  from api_keys where revoked_at is null`;
const NEXT_KEYS = `fetch ${KEYS} from usable_keys`;
const PING_MS = 2000;
/** A schema change over large tables takes its time, but not for ever. */
const MIGRATION_STATEMENT_MS = 15 * 60 * 1000;
/** Identity columns, `generated`, jsonb and the rest that later steps may use. */
const OLDEST_VERSION = 130000;

export class PostgresEngine implements Engine {
  readonly kind = 'postgres';
  readonly db: Db;
  readonly scope = new Scope();
  readonly #url: string;
  readonly #pool: pg.Pool;
  readonly #connections: LoanPool;
  readonly #onError: (error: unknown) => void;
  readonly #availability: Availability;
  /** Writers of this node queue here, so that they hold one connection and not all of them. */
  readonly #turn = new Turn();

  private constructor(url: string, onError: (error: unknown) => void) {
    this.#url = url;
    this.#onError = onError;
    this.#availability = new Availability(onError);
    this.#pool = newPool(connectionConfig(url));
    // An idle connection that is lost is replaced when one is needed.
    this.#pool.on('error', onError);
    this.#connections = new LoanPool(this.#pool, this.#availability);
    this.db = new Kysely<Schema>({
      dialect: new PostgresDialect({ pool: new ScopedPool(this.#connections, this.scope) }),
    });
  }

  /** Throws SetupError when the server cannot be reached or used; the sentence holds no password. */
  static async open(databaseUrl: Secret, onError: (error: unknown) => void): Promise<PostgresEngine> {
    const url = databaseUrl.reveal();
    await probe(url);
    return new PostgresEngine(url, onError);
  }

  async migrate(): Promise<void> {
    const pool = newPool(connectionConfig(this.#url, MIGRATION_STATEMENT_MS), 1);
    pool.on('error', this.#onError);
    const db = new Kysely<Schema>({
      dialect: new PostgresDialect({ pool: new LoanPool(pool, this.#availability) }),
    });
    try {
      await migrate(db, this.kind);
    } finally {
      await pool.end();
    }
  }

  async transact<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    const release = await this.#turn.take();
    try {
      // Under any stricter level the transaction would see the database as it was before it had the lock.
      const transaction = this.db.transaction().setIsolationLevel('read committed');
      return await transaction.execute(async (tx) => {
        await sql`select pg_advisory_xact_lock(${WRITE_LOCK})`.execute(tx);
        return await work(tx);
      });
    } finally {
      release();
    }
  }

  async signal(tx: Tx): Promise<void> {
    await sql`select pg_notify(${CHANNEL}, '')`.execute(tx);
  }

  watch(wake: () => void): () => Promise<void> {
    const listener = new ChangeListener(connectionConfig(this.#url), wake, this.#onError);
    return () => listener.stop();
  }

  /** Many nodes fold by turns, and the database must not work for them. */
  readonly foldUsage = null;

  readonly appendGroup = async (collect: () => readonly NewSegment[]): Promise<void> => {
    await this.db
      .insertInto('usage_segments')
      .values([...collect()])
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  };

  /** One pass over the table in its own order, from one snapshot; the server sends as it reads. */
  async loadKeys(take: (rows: readonly KeyRow[]) => void): Promise<void> {
    const connection = await this.#connections.connect();
    let coming: Promise<readonly KeyRow[]> | null = null;
    try {
      await connection.query('start transaction read only', []);
      await connection.query(`declare usable_keys no scroll cursor for ${USABLE_KEYS}`, []);
      do {
        // The query makes the shape of a row; see schema.ts for the types of its columns.
        const rows: readonly KeyRow[] = await (coming ?? connection.rows<Mutable<KeyRow>>(NEXT_KEYS));
        // The server reads the next batch while this one is taken.
        coming = rows.length === KEYS ? connection.rows<Mutable<KeyRow>>(NEXT_KEYS) : null;
        coming?.catch(() => {});
        if (rows.length > 0) take(rows);
      } while (coming);
      await connection.query('commit', []);
    } catch (error) {
      await coming?.catch(() => {});
      await connection.query('rollback', []).catch(() => {});
      throw error;
    } finally {
      connection.release();
    }
  }

  async ping(): Promise<void> {
    const gone = () => unavailable('The database does not answer.');
    await within(PING_MS, this.#probe(), gone);
  }

  async #probe(): Promise<void> {
    const connection = await this.#connections.connect();
    try {
      await connection.query('select 1', []);
    } finally {
      connection.release();
    }
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** One connection, to tell in a sentence what is wrong while somebody is there to read it. */
async function probe(url: string): Promise<void> {
  if (!/^postgres(ql)?:\/\//.test(url) || !URL.canParse(url)) {
    throw new SetupError(
      'KEYGATE_DATABASE_URL is not a URL of the form postgres://user:password@host:5432/database.',
    );
  }
  const { hostname, port } = new URL(url);
  const where = `PostgreSQL at ${hostname || 'its local socket'}:${port || 5432}`;
  const client = new pg.Client(connectionConfig(url));
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ version: number; encoding: string }>(
      `select current_setting('server_version_num')::int as version, current_setting('server_encoding') as encoding`,
    );
    const server = rows[0];
    if (server === undefined || server.version < OLDEST_VERSION) {
      throw new SetupError(`${where} is older than version 13, which keygate needs at least.`);
    }
    if (server.encoding !== 'UTF8') {
      throw new SetupError(
        `${where} keeps its text as ${server.encoding}: keygate needs a database with encoding UTF8.`,
      );
    }
  } catch (error) {
    throw error instanceof SetupError ? error : setupError(error, where);
  } finally {
    await client.end().catch(() => {});
  }
}
