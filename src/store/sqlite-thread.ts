// Asks the worker that owns the SQLite database, and translates what it says. If the worker dies, which takes a
// fault in SQLite or in the machine, everything is refused with 503 from then on: a restart of the server opens
// the database again, with all that was committed.

import type { Worker } from 'node:worker_threads';
import { SetupError, unavailable } from '../platform/errors.ts';
import { startWorker } from '../platform/worker.ts';
import type { DataFolder } from './data-folder.ts';
import { type Constraint, ConstraintError, QueryError, stopping } from './errors.ts';
import type {
  Exchanges,
  Failure,
  Op,
  Opening,
  OpeningFailure,
  Reply,
  WorkerSettings,
} from './sqlite-messages.ts';

/** A ceiling, not a reservation: SQLite's own memory and blobs are outside of it. */
const HEAP = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 };

interface Pending {
  resolve(answer: unknown): void;
  reject(error: unknown): void;
}

export class SqliteThread {
  readonly #worker: Worker;
  readonly #onError: (error: unknown) => void;
  readonly #pending = new Map<number, Pending>();
  readonly #ended: Promise<void>;
  #nextId = 1;
  #refusal: (() => Error) | null = null;

  private constructor(worker: Worker, onError: (error: unknown) => void) {
    this.#worker = worker;
    this.#onError = onError;
    worker.on('message', (reply: Reply) => this.#take(reply));
    worker.on('error', (error) => this.#lose(error));
    this.#ended = new Promise((resolve) => {
      worker.on('exit', (code) => {
        if (this.#refusal === null) this.#lose(new Error(`The database's thread ended with code ${code}.`));
        resolve();
      });
    });
  }

  /** Opens and locks the database. Throws SetupError: in use, damaged, of another program, not usable. */
  static async open(folder: DataFolder, onError: (error: unknown) => void): Promise<SqliteThread> {
    const worker = startWorker(import.meta.url, './sqlite-worker', {
      workerData: { path: folder.databasePath } satisfies WorkerSettings,
      resourceLimits: HEAP,
      // The worker needs no setting, and no second copy of the secrets among them.
      env: {},
      execArgv: [],
      name: 'keygate-sqlite',
    });
    const opening = await new Promise<Opening>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.once('exit', () => reject(new SetupError('The thread of the database ended before it began.')));
    });
    if (opening.opened) return new SqliteThread(worker, onError);
    await worker.terminate();
    throw await openingError(folder, opening.reason);
  }

  ask<K extends Op>(
    op: K,
    question: Exchanges[K]['question'],
    moved: ArrayBuffer[] = [],
  ): Promise<Exchanges[K]['answer']> {
    if (this.#refusal) return Promise.reject(this.#refusal());
    const id = this.#nextId++;
    return new Promise<Exchanges[K]['answer']>((resolve, reject) => {
      // The worker answers each question with the answer of its kind (Exchanges).
      this.#pending.set(id, { resolve: (answer) => resolve(answer as Exchanges[K]['answer']), reject });
      this.#worker.postMessage({ id, op, question }, moved);
    });
  }

  async close(): Promise<void> {
    if (this.#refusal === null) {
      const closed = this.ask('close', null);
      this.#refusal = stopping;
      await closed.catch(this.#onError);
    }
    await this.#ended;
  }

  #take(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    if (!pending) return;
    this.#pending.delete(reply.id);
    if ('failure' in reply) pending.reject(this.#translate(reply.failure));
    else pending.resolve(reply.answer);
  }

  #lose(error: unknown): void {
    this.#refusal ??= () => unavailable('The database is not available; the server must be restarted.');
    for (const pending of this.#pending.values()) pending.reject(this.#refusal());
    this.#pending.clear();
    this.#onError(error);
  }

  #translate({ message, code }: Failure): Error {
    if (code === null) return new QueryError('none', message);
    const constraint = CONSTRAINTS[code];
    if (constraint) return new ConstraintError(constraint, message);
    if (!LOST.has(code & 0xff))
      return new QueryError(String(code), `SQLite refused a statement: ${message}.`);
    this.#onError(new Error(`SQLite cannot read or write its database (${code}): ${message}.`));
    return unavailable('The database cannot be used at the moment; try again.');
  }
}

/** https://www.sqlite.org/rescode.html#extrc: CONSTRAINT_UNIQUE and its like. */
const CONSTRAINTS: Readonly<Record<number, Constraint>> = {
  275: 'check',
  787: 'foreign_key',
  1299: 'not_null',
  1555: 'unique',
  2067: 'unique',
  2579: 'unique',
  3091: 'type',
};

/** PERM, BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOLFS, NOTADB: no fault of the statement. */
const LOST: ReadonlySet<number> = new Set([3, 5, 6, 7, 8, 10, 11, 13, 14, 22, 26]);

async function openingError(folder: DataFolder, reason: OpeningFailure): Promise<SetupError> {
  const path = folder.databasePath;
  switch (reason.kind) {
    case 'held':
      return await folder.heldError();
    case 'foreign':
      return new SetupError(
        `${path} is a database of another program. Name another data folder with --data.`,
      );
    case 'damaged':
      return new SetupError(
        `The database ${path} is damaged (${reason.detail}). Nothing was changed in it: move it away and put a backup in its place.`,
      );
    case 'unusable':
      return new SetupError(
        `The database ${path} cannot be opened (${reason.detail}). Check the folder and its disk.`,
      );
  }
}
