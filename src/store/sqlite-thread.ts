// Asks the worker that owns the SQLite database, and translates what it says.
//
// If the worker dies, which takes a fault in SQLite or in the machine, what it was asked is refused with 503 (it may or
// may not have been done, as with a lost connection), and so is everything until another worker has opened the database
// again, with all that was committed. A transaction does not go on there: `epoch` says under which worker it began.
// A file that is not the one that was opened first is not opened.

import { Worker } from 'node:worker_threads';
import { SetupError, unavailable } from '../platform/errors.ts';
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

/** How soon a dead worker is replaced, and at most how long later if they go on dying. */
const FIRST_PAUSE_MS = 50;
const LAST_PAUSE_MS = 5_000;
/** A worker that lived so long was sound. */
const SOUND_MS = 60_000;

export class SqliteThread {
  /** Counts the workers. */
  epoch = 1;
  readonly #folder: DataFolder;
  readonly #fileId: string;
  readonly #onError: (error: unknown) => void;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | null = null;
  #nextId = 1;
  #refusal: (() => Error) | null = null;
  #closing = false;
  #openedAt = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #timer: NodeJS.Timeout | undefined;
  #opening: Promise<void> | null = null;
  #ended: Promise<void> = Promise.resolve();

  private constructor(folder: DataFolder, fileId: string, worker: Worker, onError: (error: unknown) => void) {
    this.#folder = folder;
    this.#fileId = fileId;
    this.#onError = onError;
    this.#serve(worker);
  }

  /** Opens and locks the database. Throws SetupError: in use, damaged, of another program, not usable. */
  static async open(folder: DataFolder, onError: (error: unknown) => void): Promise<SqliteThread> {
    const worker = await startDatabase(folder);
    return new SqliteThread(folder, await folder.fileId(), worker, onError);
  }

  /** @param epoch of the worker that must answer: another one knows nothing of a transaction that began before it */
  ask<K extends Op>(
    op: K,
    question: Exchanges[K]['question'],
    moved: ArrayBuffer[] = [],
    epoch = this.epoch,
  ): Promise<Exchanges[K]['answer']> {
    if (this.#refusal) return Promise.reject(this.#refusal());
    if (epoch !== this.epoch || this.#worker === null) return Promise.reject(reopened());
    const worker = this.#worker;
    const id = this.#nextId++;
    return new Promise<Exchanges[K]['answer']>((resolve, reject) => {
      // The worker answers each question with the answer of its kind (Exchanges).
      this.#pending.set(id, { resolve: (answer) => resolve(answer as Exchanges[K]['answer']), reject });
      worker.postMessage({ id, op, question }, moved);
    });
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#refusal === null) {
      const closed = this.ask('close', null);
      this.#refusal = stopping;
      this.#closing = true;
      await closed.catch(this.#onError);
    }
    this.#refusal = stopping;
    this.#closing = true;
    await this.#opening;
    await this.#ended;
  }

  #serve(worker: Worker): void {
    this.#worker = worker;
    this.#openedAt = performance.now();
    this.#ended = new Promise((resolve) => {
      worker.on('message', (reply: Reply) => this.#take(reply));
      worker.on('error', (error) => this.#lose(worker, error));
      // Only now has it let go of the database.
      worker.on('exit', (code) => {
        this.#lose(worker, new Error(`The database's thread ended with code ${code}.`));
        if (!this.#closing) this.#reopenLater();
        resolve();
      });
    });
  }

  #lose(worker: Worker, error: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    this.epoch++;
    const isLoss = !this.#closing || this.#pending.size > 0;
    this.#refusal ??= reopened;
    for (const pending of this.#pending.values()) pending.reject(this.#refusal());
    this.#pending.clear();
    if (isLoss) this.#onError(error);
  }

  #reopenLater(): void {
    if (performance.now() - this.#openedAt > SOUND_MS) this.#pauseMs = FIRST_PAUSE_MS;
    this.#timer = setTimeout(() => {
      this.#opening = this.#reopen().finally(() => {
        this.#opening = null;
      });
    }, this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, LAST_PAUSE_MS);
  }

  async #reopen(): Promise<void> {
    try {
      if ((await this.#folder.fileId()) !== this.#fileId)
        throw unavailable('The database file was removed or replaced: restart the server.');
      const worker = await startDatabase(this.#folder);
      if (this.#closing) {
        await worker.terminate();
        return;
      }
      this.#serve(worker);
      this.#refusal = null;
    } catch (error) {
      this.#onError(error);
      if (!this.#closing) this.#reopenLater();
    }
  }

  #take(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    if (!pending) return;
    this.#pending.delete(reply.id);
    if ('failure' in reply) pending.reject(this.#translate(reply.failure));
    else pending.resolve(reply.answer);
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

function reopened(): Error {
  return unavailable('The database is being opened again; try again.');
}

/** Starts a worker that has opened and locked the database. */
async function startDatabase(folder: DataFolder): Promise<Worker> {
  const worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url), {
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
  if (opening.opened) return worker;
  await worker.terminate();
  throw await openingError(folder, opening.reason);
}

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
