// The store in an embedded SQLite database: one process, one thread that owns the database, one connection that
// transactions and queries take in turn. See sqlite-worker.ts for durability and exclusion.

import { Kysely } from 'kysely';
import { SetupError, unavailable } from '../platform/errors.ts';
import type { Folded, Pricing } from '../spend/rollup/messages.ts';
import type { DataFolder } from './data-folder.ts';
import { migrate } from './migrations/migrate.ts';
import type { Schema } from './schema.ts';
import { Scope } from './scope.ts';
import type { Engine } from './sql-store.ts';
import { SqliteThreadDialect } from './sqlite-driver.ts';
import type { KeysAnswer } from './sqlite-messages.ts';
import { SqliteThread } from './sqlite-thread.ts';
import type { Db, KeyRow, NewSegment, Tx } from './store.ts';
import { Turn, within } from './turn.ts';

/** Keys a batch: some 200 KiB of text, a few milliseconds on either thread. */
const KEYS = 1000;
const PING_MS = 2000;

export class SqliteEngine implements Engine {
  readonly kind = 'sqlite';
  readonly db: Db;
  readonly scope = new Scope();
  readonly #folder: DataFolder;
  readonly #fileId: string;
  readonly #thread: SqliteThread;
  readonly #turn = new Turn();
  /** The prices that were sent to the thread, and to which one. */
  #pricing: { readonly epoch: number; readonly known: Pricing } | null = null;

  private constructor(folder: DataFolder, fileId: string, thread: SqliteThread) {
    this.#folder = folder;
    this.#fileId = fileId;
    this.#thread = thread;
    this.db = new Kysely<Schema>({ dialect: new SqliteThreadDialect(thread, this.#turn, this.scope) });
  }

  /** Throws SetupError when the database cannot be opened or another process holds it. */
  static async open(
    folder: DataFolder,
    nowMs: number,
    onError: (error: unknown) => void,
  ): Promise<SqliteEngine> {
    await folder.prepare();
    const thread = await SqliteThread.open(folder, onError);
    try {
      await folder.hold(nowMs);
      return new SqliteEngine(folder, await folder.fileId(), thread);
    } catch (error) {
      await thread.close();
      throw new SetupError(`The data folder ${folder.path} cannot be written: ${String(error)}.`);
    }
  }

  async migrate(): Promise<void> {
    await migrate(this.db, this.kind);
  }

  transact<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.db.transaction().execute(work);
  }

  /** No other process can have the database open. */
  async signal(): Promise<void> {}

  watch(): () => Promise<void> {
    return async () => {};
  }

  readonly appendGroup = async (collect: () => readonly NewSegment[]): Promise<void> => {
    const release = await this.#turn.take();
    try {
      const moved: ArrayBuffer[] = [];
      const group = collect().map((segment) => {
        // Shared memory is read where it is. Of other bytes a copy moves, because the caller keeps its own.
        if (segment.payload.buffer instanceof SharedArrayBuffer) return segment;
        const payload = new Uint8Array(segment.payload);
        moved.push(payload.buffer);
        return { ...segment, payload };
      });
      await this.#thread.ask('append', group, moved);
    } finally {
      release();
    }
  };

  readonly foldUsage = async (pricing: Pricing): Promise<Folded> => {
    const release = await this.#turn.take();
    try {
      const { epoch } = this.#thread;
      const isKnown = this.#pricing?.epoch === epoch && this.#pricing.known === pricing;
      const folded = await this.#thread.ask('fold', isKnown ? null : pricing, [], epoch);
      this.#pricing = { epoch, known: pricing };
      return folded;
    } finally {
      release();
    }
  };

  async loadKeys(take: (rows: readonly KeyRow[]) => void): Promise<void> {
    const text = new TextDecoder();
    let coming: Promise<KeysAnswer> | null = this.#keys(0);
    while (coming) {
      const { count, last, json }: KeysAnswer = await coming;
      if (count === 0) return;
      // The thread reads the next batch while this one is taken.
      coming = count === KEYS ? this.#keys(last) : null;
      coming?.catch(() => {});
      // Its shape is made by the query in sqlite-worker.ts, from columns that the database keeps to their types.
      const rows: readonly KeyRow[] = JSON.parse(text.decode(json));
      take(rows);
    }
  }

  async #keys(after: number): Promise<KeysAnswer> {
    const release = await this.#turn.take();
    try {
      return await this.#thread.ask('keys', { after, limit: KEYS });
    } finally {
      release();
    }
  }

  async ping(): Promise<void> {
    const gone = () => unavailable('The database does not answer.');
    await within(PING_MS, this.#thread.ask('ping', null), gone);
    const fileId = await this.#folder.fileId().catch(() => null);
    if (fileId !== this.#fileId)
      throw unavailable('The database file was removed or replaced: restart the server.');
  }

  async close(): Promise<void> {
    const release = await this.#turn.take();
    try {
      await this.#folder.release();
      await this.#thread.close();
    } finally {
      release();
    }
  }
}
