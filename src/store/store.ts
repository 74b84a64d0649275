// What the rest of keygate may ask of the store. Two databases keep this contract (sqlite.ts, postgres.ts), and
// one suite runs against both.

import type { Kysely, Transaction } from 'kysely';
import type { Folded, Pricing } from '../spend/rollup/messages.ts';
import type { ChangeTable, Schema, UsageSegmentTable } from './schema.ts';

export type Db = Kysely<Schema>;
export type Tx = Transaction<Schema>;

/** One changed object, as other nodes learn of it. */
export interface Change {
  readonly seq: number;
  readonly kind: ChangeTable['kind'];
  readonly objectId: string;
}

/** A segment as it is handed over for writing; the store gives it its number. */
export type NewSegment = Omit<UsageSegmentTable, 'seq'>;

export interface Store {
  readonly kind: 'sqlite' | 'postgres';
  /** Queries. On SQLite they run on the worker's thread, one at a time; on PostgreSQL in a pool. */
  readonly db: Db;

  /**
   * Runs `work` in one transaction that is serialized with every other `write`, so that the audit chain has one
   * head and changes are numbered in commit order. Resolves when the commit is durable.
   */
  write<T>(work: (tx: Tx) => Promise<T>): Promise<T>;

  /** Within a `write`: says that an object changed, so that every node reads it again. */
  announce(tx: Tx, kind: Change['kind'], objectId: string, atMs: number): Promise<void>;

  /**
   * Appends a segment of usage events; resolves when it is durable (fsync or commit), never before. Its payload must
   * not change until then. The same segment again (same node, times, count and checksum) counts once, so that an
   * append whose answer was lost can be repeated.
   */
  appendSegment(segment: NewSegment): Promise<void>;

  /**
   * Adds the next appended segments to the roll-ups, in one short slice, where the store does that itself: the embedded
   * one does, on the thread that it has. Null: whoever wants roll-ups reads, sums and writes.
   */
  readonly foldUsage: ((pricing: Pricing) => Promise<Folded>) | null;

  /**
   * Every key that could still be used (not revoked), in bulk and in arrays, because there may be a million.
   * Calls `take` with a batch at a time; the batch must not be kept.
   */
  loadKeys(take: (rows: readonly KeyRow[]) => void): Promise<void>;

  /** The number of the newest change; a node that loads now follows from here. */
  lastChange(): Promise<number>;

  /**
   * Calls `notice` for each change after `since`, in order, until the returned function is called. A change of this
   * node is noticed before its `write` resolves (so `notice` must not `write`); one of another node, on PostgreSQL,
   * within a second. If `notice` fails, the same changes come again, and the `write` that waits for it is a 503.
   */
  follow(since: number, notice: (changes: readonly Change[]) => void | Promise<void>): () => Promise<void>;

  /** Answers when the database answers; rejects with what is wrong. Used by /readyz. */
  ping(): Promise<void>;

  /** Waits for what is under way, makes it durable and lets go of the database. */
  close(): Promise<void>;
}

/**
 * A key as the road needs it, in a fixed order to be cheap by the million:
 * [id, digest as 64 hexadecimal digits, type, organization, project or null, owner type, owner id, scopes JSON,
 * models JSON or null, addresses JSON or null, expires_at or null, confirmation or null].
 */
export type KeyRow = readonly [
  id: string,
  digestHex: string,
  type: 'project' | 'service_account' | 'admin' | 'test',
  organizationId: string,
  projectId: string | null,
  ownerType: 'user' | 'service_account',
  ownerId: string,
  scopes: string,
  models: string | null,
  addresses: string | null,
  expiresAt: number | null,
  confirmation: string | null,
];
