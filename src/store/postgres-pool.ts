// Connections to PostgreSQL: bounded in number and in time, with the values of its types as the schema has them, and
// wrapped for Kysely so that a lost database is a 503 and never a hang or a crash.

import type { PostgresCursor, PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import pg, { type ClientConfig, type PoolClient } from 'pg';
import { checkParameters, failedError, MAX_ROWS, overError, stopping, tooManyRows } from './errors.ts';
import { type Availability, away, breaksConnection } from './postgres-errors.ts';
import type { Scope } from './scope.ts';

/** Connections of one node, beside the one that listens. */
const CONNECTIONS = 10;
/** Longest waits, in milliseconds: for a connection (new, or one of the pool's), a lock, a statement, an answer. */
const CONNECT_MS = 5_000;
const LOCK_MS = 10_000;
const STATEMENT_MS = 15_000;
const ANSWER_MS = 20_000;
const IDLE_IN_TRANSACTION_MS = 40_000;

/** Settings of every connection. Schema changes may take their time, so `statementMs` is the caller's. */
export function connectionConfig(url: string, statementMs = STATEMENT_MS): ClientConfig {
  return {
    connectionString: url,
    application_name: 'keygate',
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: statementMs,
    lock_timeout: LOCK_MS,
    query_timeout: statementMs + ANSWER_MS - STATEMENT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types: { getTypeParser },
  };
}

export function newPool(config: ClientConfig, connections = CONNECTIONS): pg.Pool {
  return new pg.Pool({ ...config, max: connections, onConnect: prepare });
}

/**
 * A server that answers commits before they are on disk would break what `write` promises, and one that writes bytes
 * in the old way (bytea_output = escape) would be misread.
 */
async function prepare(client: pg.ClientBase): Promise<void> {
  await client.query(`
    select set_config('bytea_output', 'hex', false),
      case current_setting('synchronous_commit') when 'off' then set_config('synchronous_commit', 'on', false) end`);
}

const INT8 = 20;
const NUMERIC = 1700;
const BYTEA = 17;

function getTypeParser(oid: number, format?: 'text' | 'binary'): (text: string) => unknown {
  if (format !== 'binary') {
    if (oid === INT8 || oid === NUMERIC) return exactNumber;
    if (oid === BYTEA) return bytes;
  }
  return pg.types.getTypeParser(oid, format);
}

/** 64-bit integers, and the sums of them, as numbers: exact, or not at all. */
function exactNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) || text.includes('.')) return value;
  throw new RangeError(`The database holds an integer beyond 2^53: ${text}.`);
}

/** `\x` and hexadecimal digits (bytea_output = hex, see above). */
function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.slice(2), 'hex'));
}

/** The pool, with connections that refuse in our terms; Kysely takes it as its own. */
export class LoanPool implements PostgresPool {
  /** Kysely reads them only to cancel queries, which is left to statement_timeout. */
  readonly options = {};
  readonly #pool: pg.Pool;
  readonly #availability: Availability;

  constructor(pool: pg.Pool, availability: Availability) {
    this.#pool = pool;
    this.#availability = availability;
  }

  async connect(): Promise<Loan> {
    if (this.#pool.ending) throw stopping();
    try {
      return new Loan(await this.#pool.connect(), this.#availability);
    } catch (error) {
      throw this.#availability.refuse(error);
    }
  }

  async end(): Promise<void> {
    await this.#pool.end();
  }
}

/** The pool as `store.db` has it: not from inside a write. */
export class ScopedPool implements PostgresPool {
  readonly options = {};
  readonly #pool: LoanPool;
  readonly #scope: Scope;

  constructor(pool: LoanPool, scope: Scope) {
    this.#pool = pool;
    this.#scope = scope;
  }

  async connect(): Promise<PostgresPoolClient> {
    this.#scope.refuseQuery();
    return await this.#pool.connect();
  }

  async end(): Promise<void> {
    await this.#pool.end();
  }
}

/** One connection, lent for a query or a transaction. */
export class Loan implements PostgresPoolClient {
  readonly #client: PoolClient;
  readonly #availability: Availability;
  #broken: Error | null = null;
  #over = false;

  constructor(client: PoolClient, availability: Availability) {
    this.#client = client;
    this.#availability = availability;
    // A lent connection that is lost says so here; unheard, it would end the process.
    client.on('error', this.#lost);
  }

  query<R>(text: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query(text: string | PostgresCursor<unknown>, parameters: readonly unknown[] = []): unknown {
    if (typeof text !== 'string') throw new Error('The store does not stream queries: read in pages.');
    return this.#query(text, parameters);
  }

  /** Rows as arrays, for many. */
  rows<R extends unknown[]>(text: string): Promise<R[]> {
    return this.#send(() => this.#client.query<R>({ text, rowMode: 'array' })).then(({ rows }) => rows);
  }

  async #query(text: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<unknown>> {
    // The server rolled back when it lost us; the first error is the one to tell.
    if (this.#broken && text === 'rollback') return { command: 'ROLLBACK', rowCount: 0, rows: [] };
    // Kysely's own questions about tables, before a migration, have booleans; the schema has none.
    checkParameters(parameters.filter((value) => typeof value !== 'boolean'));
    const { command, rowCount, rows } = await this.#send(() =>
      this.#client.query<pg.QueryResultRow>(text, [...parameters]),
    );
    // A transaction in which a statement failed is rolled back by `commit`, without an error.
    if (text === 'commit' && command !== 'COMMIT') throw failedError();
    if (rows.length > MAX_ROWS) throw tooManyRows();
    return { command: commandOf(command), rowCount: rowCount ?? 0, rows };
  }

  async #send<T>(query: () => Promise<T>): Promise<T> {
    if (this.#over) throw overError();
    if (this.#broken) throw away();
    try {
      const result = await query();
      this.#availability.answered();
      return result;
    } catch (error) {
      if (breaksConnection(error)) this.#broken ??= error instanceof Error ? error : new Error(String(error));
      throw this.#availability.refuse(error);
    }
  }

  release(destroy = false): void {
    this.#over = true;
    this.#client.removeListener('error', this.#lost);
    this.#client.release(this.#broken ?? destroy);
  }

  readonly #lost = (error: Error): void => {
    this.#broken ??= error;
  };
}

function commandOf(command: string): PostgresQueryResult<unknown>['command'] {
  switch (command) {
    case 'INSERT':
    case 'UPDATE':
    case 'DELETE':
    case 'MERGE':
    case 'COMMIT':
    case 'ROLLBACK':
      return command;
    default:
      return 'SELECT';
  }
}
