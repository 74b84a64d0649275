// The rules of the store that are the same on both databases: transactions one at a time, changes told before the
// answer, segments in groups, an orderly close. What differs is behind `Engine` (sqlite.ts, postgres.ts).

import { unavailable } from '../platform/errors.ts';
import { stopping } from './errors.ts';
import { ChangeFeed, type Notice } from './follow.ts';
import type { Scope } from './scope.ts';
import { type AppendGroup, SegmentQueue } from './segments.ts';
import type { Change, Db, KeyRow, NewSegment, Store, Tx } from './store.ts';
import { within } from './turn.ts';

/** Longest time for the work of one `write`, in milliseconds: it holds up every other. Beyond: rolled back, 503. */
export const WRITE_LIMIT_MS = 30_000;

/** What a database has to do for the store. Every method rejects with 503 when the database cannot be used. */
export interface Engine {
  readonly kind: Store['kind'];
  readonly db: Db;
  readonly scope: Scope;
  /** Brings the tables to this version, or throws SetupError. */
  migrate(): Promise<void>;
  /** Runs `work` in a transaction that is alone among the transactions of all nodes; durable when it resolves. */
  transact<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
  /** Within a transaction: lets other nodes know, at its commit, that there are changes. */
  signal(tx: Tx): Promise<void>;
  readonly appendGroup: AppendGroup;
  readonly foldUsage: Store['foldUsage'];
  loadKeys(take: (rows: readonly KeyRow[]) => void): Promise<void>;
  /** Calls `wake` when other nodes may have made changes, until the returned function is called. */
  watch(wake: () => void): () => Promise<void>;
  ping(): Promise<void>;
  /** Lets go of the database when the queries under way are answered; later ones are refused with 503. */
  close(): Promise<void>;
}

interface Announced {
  lastSeq: number;
}

export class SqlStore implements Store {
  readonly kind: Store['kind'];
  readonly db: Db;
  readonly foldUsage: Store['foldUsage'];
  readonly #engine: Engine;
  readonly #feed: ChangeFeed;
  readonly #segments: SegmentQueue;
  readonly #announced = new WeakMap<Tx, Announced>();
  readonly #writing = new Set<Promise<unknown>>();
  #unwatch: (() => Promise<void>) | null = null;
  #closed: Promise<void> | null = null;

  constructor(engine: Engine, onError: (error: unknown) => void) {
    this.kind = engine.kind;
    this.db = engine.db;
    this.foldUsage = engine.foldUsage;
    this.#engine = engine;
    this.#segments = new SegmentQueue(engine.appendGroup);
    this.#feed = new ChangeFeed((after, limit) => this.#changes(after, limit), engine.scope, onError);
  }

  async write<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    this.#engine.scope.refuseWrite();
    if (this.#closed) throw stopping();
    const writing = this.#write(work);
    this.#writing.add(writing);
    try {
      return await writing;
    } finally {
      this.#writing.delete(writing);
    }
  }

  async #write<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    const announced: Announced = { lastSeq: 0 };
    const value = await this.#engine.transact(async (tx) => {
      this.#announced.set(tx, announced);
      const limited = this.#engine.scope.run('write', () => work(tx));
      const value = await within(WRITE_LIMIT_MS, limited, () =>
        unavailable('The change took too long; try again.'),
      );
      if (announced.lastSeq > 0) await this.#engine.signal(tx);
      return value;
    });
    if (announced.lastSeq > 0) await this.#feed.reach(announced.lastSeq);
    return value;
  }

  async announce(tx: Tx, kind: Change['kind'], objectId: string, atMs: number): Promise<void> {
    const announced = this.#announced.get(tx);
    if (!announced) throw new Error('announce takes the tx that this store gave to write.');
    const { seq } = await tx
      .insertInto('changes')
      .values({ kind, object_id: objectId, at: atMs })
      .returning('seq')
      .executeTakeFirstOrThrow();
    announced.lastSeq = seq;
  }

  async appendSegment(segment: NewSegment): Promise<void> {
    if (this.#closed) throw stopping();
    await this.#segments.add(segment);
  }

  async loadKeys(take: (rows: readonly KeyRow[]) => void): Promise<void> {
    await this.#engine.loadKeys(take);
  }

  async lastChange(): Promise<number> {
    const row = await this.db
      .selectFrom('changes')
      .select(({ fn }) => fn.max<number | null>('seq').as('seq'))
      .executeTakeFirst();
    return row?.seq ?? 0;
  }

  follow(since: number, notice: Notice): () => Promise<void> {
    if (this.#closed) throw stopping();
    this.#unwatch ??= this.#engine.watch(() => this.#feed.wake());
    return this.#feed.add(since, notice);
  }

  async ping(): Promise<void> {
    if (this.#closed) throw stopping();
    await this.#engine.ping();
  }

  close(): Promise<void> {
    this.#closed ??= this.#shut();
    return this.#closed;
  }

  async #shut(): Promise<void> {
    await this.#segments.drained();
    await Promise.allSettled(this.#writing);
    await this.#unwatch?.();
    await this.#feed.close();
    await this.#engine.close();
  }

  async #changes(after: number, limit: number): Promise<readonly Change[]> {
    const rows = await this.db
      .selectFrom('changes')
      .select(['seq', 'kind', 'object_id'])
      .where('seq', '>', after)
      .orderBy('seq')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ seq: row.seq, kind: row.kind, objectId: row.object_id }));
  }
}
