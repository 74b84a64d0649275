// Kysely's dialect for the SQLite database on its worker thread. SQLite's grammar is Kysely's own; the connection is
// ours: there is one, it is lent to one query or one transaction at a time, and a transaction in which a statement
// failed can only be rolled back, as PostgreSQL has it.

import {
  CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  type Dialect,
  type Driver,
  type Kysely,
  type QueryCompiler,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { checkParameters, failedError, overError } from './errors.ts';
import type { Scope } from './scope.ts';
import type { SqliteThread } from './sqlite-thread.ts';
import type { Turn } from './turn.ts';

export class SqliteThreadDialect implements Dialect {
  readonly #driver: Driver;

  constructor(thread: SqliteThread, turn: Turn, scope: Scope) {
    this.#driver = new SqliteThreadDriver(thread, turn, scope);
  }

  createAdapter() {
    return new TransactionalSqliteAdapter();
  }

  createDriver(): Driver {
    return this.#driver;
  }

  createIntrospector(db: Kysely<unknown>): DatabaseIntrospector {
    return new SqliteIntrospector(db);
  }

  createQueryCompiler(): QueryCompiler {
    return new SqliteQueryCompiler();
  }
}

class TransactionalSqliteAdapter extends SqliteAdapter {
  /** SQLite's schema changes are transactional; with this, Kysely's migrations are done as a whole or not at all. */
  override get supportsTransactionalDdl(): boolean {
    return true;
  }

  /** The driver below lends out the one connection itself, because appending usage takes turns with queries too. */
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

class SqliteThreadDriver implements Driver {
  readonly #thread: SqliteThread;
  readonly #turn: Turn;
  readonly #scope: Scope;

  constructor(thread: SqliteThread, turn: Turn, scope: Scope) {
    this.#thread = thread;
    this.#turn = turn;
    this.#scope = scope;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<Loan> {
    this.#scope.refuseQuery();
    return new Loan(this.#thread, await this.#turn.take());
  }

  beginTransaction(connection: DatabaseConnection): Promise<void> {
    return loan(connection).begin();
  }

  commitTransaction(connection: DatabaseConnection): Promise<void> {
    return loan(connection).commit();
  }

  rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    return loan(connection).rollback();
  }

  async savepoint(connection: DatabaseConnection, name: string): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(`savepoint ${quoted(name)}`));
  }

  async rollbackToSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    await loan(connection).rollbackTo(CompiledQuery.raw(`rollback to ${quoted(name)}`));
  }

  async releaseSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(`release ${quoted(name)}`));
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    loan(connection).giveBack();
  }

  /** The thread is closed by the store, after its last query. */
  async destroy(): Promise<void> {}
}

class Loan implements DatabaseConnection {
  readonly #thread: SqliteThread;
  readonly #release: () => void;
  readonly #epoch: number;
  #inTransaction = false;
  #failed = false;
  #over = false;

  constructor(thread: SqliteThread, release: () => void) {
    this.#thread = thread;
    this.#release = release;
    this.#epoch = thread.epoch;
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    if (this.#over) throw overError();
    if (this.#failed) throw failedError();
    checkParameters(parameters);
    try {
      const answer = await this.#thread.ask('query', { sql, parameters }, [], this.#epoch);
      if (answer.columns === null) return { rows: [], numAffectedRows: answer.changed };
      // The shape of a row is what the query says, which Kysely knows and a driver cannot.
      return { rows: objectsOf(answer.columns, answer.rows) as R[] };
    } catch (error) {
      this.#failed = this.#inTransaction;
      throw error;
    }
  }

  // biome-ignore lint/correctness/useYield: it refuses
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('The store does not stream queries: read in pages.');
  }

  async begin(): Promise<void> {
    await this.#thread.ask('begin', null, [], this.#epoch);
    this.#inTransaction = true;
  }

  async commit(): Promise<void> {
    if (this.#failed) throw failedError();
    await this.#thread.ask('commit', null, [], this.#epoch);
    this.#inTransaction = false;
  }

  async rollback(): Promise<void> {
    this.#failed = true;
    await this.#thread.ask('rollback', null, [], this.#epoch);
    this.#inTransaction = false;
  }

  async rollbackTo(savepoint: CompiledQuery): Promise<void> {
    this.#failed = false;
    await this.executeQuery(savepoint);
  }

  giveBack(): void {
    this.#over = true;
    this.#release();
  }
}

function objectsOf(columns: readonly string[], rows: readonly (readonly unknown[])[]): object[] {
  return rows.map((values) => {
    const row: Record<string, unknown> = {};
    for (let at = 0; at < columns.length; at++) row[columns[at] ?? ''] = values[at];
    return row;
  });
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function loan(connection: DatabaseConnection): Loan {
  if (connection instanceof Loan) return connection;
  throw new Error('The connection is not of this driver.');
}
