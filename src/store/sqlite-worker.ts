// The thread that owns the SQLite database: SQLite is synchronous, and a sync of the disk must not stop the road.
//
// Durability: write-ahead log with synchronous=FULL, so a commit is answered after its fsync (F_FULLFSYNC on macOS);
// a crash of the process or of the machine loses nothing that was answered. Exclusion: locking_mode=EXCLUSIVE holds
// the kernel's lock on the file until the process ends, and the index of the log lives in memory instead of in a
// shared file. Memory: 8 MiB of page cache; the log is carried over into the database every 16 MiB. It imports little:
// what a thread loads, it holds once more.
//
// Usage is folded into the roll-ups here too, where it lies, a slice at a time (../spend/rollup/in-store.ts).

import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../platform/clock.ts';
import { StoreFold } from '../spend/rollup/in-store.ts';
import type { Folded, Pricing } from '../spend/rollup/messages.ts';
import { MAX_ROWS, tooManyRows } from './errors.ts';
import type {
  Exchanges,
  Failure,
  KeysAnswer,
  KeysQuestion,
  Op,
  Opening,
  OpeningFailure,
  Query,
  QueryAnswer,
  Reply,
  Request,
  WorkerSettings,
} from './sqlite-messages.ts';
import type { NewSegment } from './store.ts';

/** "kgat" in SQLite's header: a database of another program is not touched. */
const APPLICATION_ID = 0x6b676174;
const STATEMENTS = 200;
/** Databases up to this size, in bytes, are checked as a whole when they are opened. */
const CHECKED_BYTES = 64 << 20;
/** How long opening waits for a holder that is just ending, in milliseconds. */
const OPEN_WAIT_MS = 500;

interface Prepared {
  readonly statement: StatementSync;
  /** Null: it returns no rows. */
  readonly columns: readonly string[] | null;
}

class Database {
  readonly #db: DatabaseSync;
  readonly #prepared = new Map<string, Prepared>();
  /** From the first slice on. */
  #fold: StoreFold | null = null;

  constructor(path: string) {
    this.#db = new DatabaseSync(path, { timeout: OPEN_WAIT_MS });
    try {
      this.#configure();
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  #configure(): void {
    // First, and before the log is looked at: only then is no shared index made.
    this.#db.exec('pragma locking_mode = exclusive');
    this.#refuseForeign();
    this.#db.exec(`
      pragma journal_mode = wal;
      pragma synchronous = full;
      pragma fullfsync = on;
      pragma checkpoint_fullfsync = on;
      pragma wal_autocheckpoint = 4096;
      pragma journal_size_limit = 33554432;
      pragma cache_size = -4096;
      pragma temp_store = memory;
      pragma trusted_schema = off;
      pragma cell_size_check = on;
      begin immediate;
      pragma application_id = ${APPLICATION_ID};
      commit;
    `);
    if (this.#number('page_count') * this.#number('page_size') <= CHECKED_BYTES) this.#check();
  }

  #refuseForeign(): void {
    const id = this.#number('application_id');
    const tables = this.#db.prepare('select count(*) as n from sqlite_schema').get()?.['n'];
    if (id !== APPLICATION_ID && (id !== 0 || tables !== 0)) throw new OpeningError({ kind: 'foreign' });
  }

  #check(): void {
    const found = this.#db.prepare('pragma quick_check(1)').get()?.['quick_check'];
    if (found !== 'ok') throw new OpeningError({ kind: 'damaged', detail: String(found) });
  }

  #number(pragma: string): number {
    const value = this.#db.prepare(`pragma ${pragma}`).get()?.[pragma];
    return typeof value === 'number' ? value : 0;
  }

  query({ sql, parameters }: Query): QueryAnswer {
    const { statement, columns } = this.#prepare(sql);
    if (columns === null) return { columns, changed: BigInt(statement.run(...parameters).changes) };
    const rows: unknown[][] = [];
    for (const row of statement.iterate(...parameters)) {
      if (rows.push(valuesOf(row)) > MAX_ROWS) throw tooManyRows();
    }
    return { columns, rows };
  }

  begin(): null {
    this.#run('begin immediate');
    return null;
  }

  commit(): null {
    this.#run('commit');
    return null;
  }

  rollback(): null {
    // SQLite itself may have rolled back, after a full disk for one.
    if (this.#db.isTransaction) this.#run('rollback');
    return null;
  }

  append(segments: readonly NewSegment[]): null {
    const { statement } = this.#prepare(
      `insert into usage_segments (node, first_at, last_at, events, format, crc, payload)
       values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
    );
    this.begin();
    try {
      for (const { node, first_at, last_at, events, format, crc, payload } of segments) {
        statement.run(node, first_at, last_at, events, format, crc, payload);
      }
      this.commit();
    } catch (error) {
      this.rollback();
      throw error;
    }
    return null;
  }

  fold(pricing: Pricing | null): Folded {
    if (pricing !== null) {
      if (this.#fold === null) this.#fold = new StoreFold(this.#db, systemClock, pricing);
      else this.#fold.reprice(pricing);
    }
    if (this.#fold === null) throw new Error('Usage is to be folded before there are prices.');
    return this.#fold.slice();
  }

  /** SQLite makes the JSON itself: one buffer a batch crosses the threads, and no object is made on this one. */
  keys({ after, limit }: KeysQuestion): KeysAnswer {
    const { statement } = this.#prepare(
      `select count(*) as count, max(number) as last, cast('[' || group_concat(key) || ']' as blob) as json from (
         select rowid as number, json_array(id, lower(hex(digest)), type, organization_id, project_id, owner_type,
           owner_id, scopes, models, addresses, expires_at, confirmation) as key
         from api_keys where rowid > ? and revoked_at is null order by rowid limit ?)`,
    );
    const row = statement.get(after, limit);
    const [count, last, json] = row === undefined ? [] : valuesOf(row);
    if (typeof count !== 'number' || typeof last !== 'number' || !isBytes(json)) {
      return { count: 0, last: after, json: new Uint8Array() };
    }
    return { count, last, json };
  }

  ping(): null {
    this.#run('select 1');
    return null;
  }

  close(): null {
    this.#prepared.clear();
    this.#db.exec('pragma optimize; pragma wal_checkpoint(truncate)');
    this.#db.close();
    return null;
  }

  #run(sql: string): void {
    this.#prepare(sql).statement.run();
  }

  /** The statements used last stay prepared. */
  #prepare(sql: string): Prepared {
    let prepared = this.#prepared.get(sql);
    if (prepared) this.#prepared.delete(sql);
    else {
      const statement = this.#db.prepare(sql);
      const columns = statement.columns().map(({ name }) => name);
      statement.setReturnArrays(true);
      prepared = { statement, columns: columns.length > 0 ? columns : null };
    }
    this.#prepared.set(sql, prepared);
    if (this.#prepared.size > STATEMENTS) {
      for (const oldest of this.#prepared.keys()) {
        this.#prepared.delete(oldest);
        break;
      }
    }
    return prepared;
  }
}

/** A row of a statement that returns lists, which the types of `node:sqlite` do not tell from one that returns objects. */
function valuesOf(row: unknown): unknown[] {
  if (!Array.isArray(row)) throw new TypeError('a row is not a list');
  return row;
}

function isBytes(value: unknown): value is Uint8Array<ArrayBuffer> {
  return value instanceof Uint8Array && value.buffer instanceof ArrayBuffer;
}

class OpeningError extends Error {
  readonly reason: OpeningFailure;
  constructor(reason: OpeningFailure) {
    super(reason.kind);
    this.reason = reason;
  }
}

function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && 'errcode' in error ? error.errcode : null;
  return { message, code: typeof code === 'number' ? code : null };
}

function openingFailure(error: unknown): OpeningFailure {
  if (error instanceof OpeningError) return error.reason;
  const { message, code } = failureOf(error);
  // Primary result codes: 5 BUSY, 6 LOCKED; 11 CORRUPT, 26 NOTADB.
  const primary = code === null ? null : code & 0xff;
  if (primary === 5 || primary === 6) return { kind: 'held' };
  if (primary === 11 || primary === 26) return { kind: 'damaged', detail: message };
  return { kind: 'unusable', detail: message };
}

function answer(database: Database, { op, question }: Request): Exchanges[Op]['answer'] {
  switch (op) {
    case 'query':
      return database.query(question);
    case 'append':
      return database.append(question);
    case 'fold':
      return database.fold(question);
    case 'keys':
      return database.keys(question);
    default:
      return database[op]();
  }
}

function serve(settings: WorkerSettings): void {
  const port = parentPort;
  if (!port) throw new Error('sqlite-worker runs as a worker thread only.');
  let database: Database;
  try {
    database = new Database(settings.path);
  } catch (error) {
    port.postMessage({ opened: false, reason: openingFailure(error) } satisfies Opening);
    return;
  }
  port.on('message', (request: Request) => {
    try {
      const given = answer(database, request);
      const moved = request.op === 'keys' && given !== null && 'json' in given ? [given.json.buffer] : [];
      port.postMessage({ id: request.id, answer: given } satisfies Reply, moved);
    } catch (error) {
      port.postMessage({ id: request.id, failure: failureOf(error) } satisfies Reply);
    }
    if (request.op === 'close') port.close();
  });
  port.postMessage({ opened: true } satisfies Opening);
}

serve(workerData);
