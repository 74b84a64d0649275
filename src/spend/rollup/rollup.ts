// The roll-up: reads usage segments in the background and adds them to the sums that reports are made of.
//
// Exactly once: a segment is noted as unfolded in the transaction that appends it, and that note is taken away in the
// transaction that adds its sums. So a crash at any instant leaves it either unfolded with none of its events in the
// sums, or folded with all of them, and it does not matter in which order segments of several nodes were committed.
//
// Off the road: reading, pricing and summing happen on a thread of their own, SQL on the database's; the main thread
// passes pieces of at most PIECE_BYTES from one to the other. On PostgreSQL one node folds at a time, by a lock that
// ends with its transaction, so that any other can take over at once.
//
// Failure: what fails is tried again, with a growing pause; a segment that cannot be read (damaged, or written by a
// newer version) is reported, set aside with its reason, kept, and tried again at the next start.

import { sql } from 'kysely';
import type { Clock } from '../../platform/clock.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import type { PriceList } from '../prices/model.ts';
import type { FoldAnswer, RawSegment } from './messages.ts';
import { retain } from './retain.ts';
import { FoldThread } from './thread.ts';
import { addSheet } from './write.ts';

/** A batch: what one transaction adds. One larger segment goes alone. */
const BATCH_SEGMENTS = 128;
const BATCH_BYTES = 8 << 20;
const PIECE_BYTES = 512 << 10;
const FIRST_BYTES = 1 << 20;
/** How often is looked for new segments, and how long is paused between two full batches, in milliseconds. */
const LOOK_MS = 1000;
const BREATH_MS = 10;
const LAST_RETRY_MS = 60_000;
const RETAIN_MS = 3_600_000;
/** With the schema's own number, the advisory lock of the one that folds. */
const FOLD_LOCK = 0x6b676675;

export interface RollupOptions {
  readonly store: Pick<Store, 'db' | 'kind'>;
  readonly clock: Clock;
  /** Every price list, the ones that decide first, first; the shipped one last. */
  readonly lists: () => Promise<readonly PriceList[]>;
  /** Where providers live, by the administrator's own names for them. */
  readonly addresses: Readonly<Record<string, string>>;
  /** How long raw segments are kept, in milliseconds. */
  readonly retentionMs: number;
  readonly onError: (error: unknown) => void;
}

/** What one turn did. `more`: there is more to fold at once. */
export interface Turn {
  readonly segments: number;
  readonly more: boolean;
}

const NOTHING: Turn = { segments: 0, more: false };

interface Unfolded extends Omit<RawSegment, 'payload'> {
  /** Which partition it lies in, where there are partitions. */
  readonly last_at: number;
  readonly bytes: number;
}

export class Rollup {
  /** Segments folded since this process began. */
  folded = 0;

  readonly #options: RollupOptions;
  readonly #thread: FoldThread;
  #running: Promise<void> | null = null;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #failures = 0;
  #repriced = false;
  #retainAt = 0;
  /** Where payloads are put for the thread to read: one memory for all batches, because garbage would stop the road. */
  #memory = new SharedArrayBuffer(0);

  constructor(options: RollupOptions) {
    this.#options = options;
    this.#thread = new FoldThread({ lists: [], addresses: options.addresses });
  }

  /** Begins to fold in the background. */
  start(): void {
    this.#schedule(0);
  }

  /** Prices have changed: batches from now on are priced by the new ones. */
  reprice(): void {
    this.#repriced = false;
  }

  /** Ends the work in the background, after the transaction under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
    await this.#thread.close();
  }

  /** Folds one batch. Not while the background does. */
  async turn(): Promise<Turn> {
    await this.#prepare();
    const { db, kind } = this.#options.store;
    if (kind === 'sqlite') return await this.#fold(db, (work) => db.transaction().execute(work));
    return await db
      .transaction()
      .setIsolationLevel('read committed')
      .execute(async (tx) => ((await takeLock(tx)) ? await this.#fold(tx, (work) => work(tx)) : NOTHING));
  }

  /** Folds everything that there is to fold now. */
  async catchUp(): Promise<void> {
    while ((await this.turn()).more);
  }

  /** Deletes what is too old. */
  async retain(): Promise<void> {
    const { store, clock, retentionMs } = this.#options;
    await retain(store, clock.now(), retentionMs, () => this.#stopped);
  }

  #schedule(ms: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#work();
    }, ms);
  }

  async #work(): Promise<void> {
    const { clock, onError } = this.#options;
    let pause = LOOK_MS;
    try {
      const { more } = await this.turn();
      if (more) pause = BREATH_MS;
      if (clock.monotonic() >= this.#retainAt) {
        this.#retainAt = clock.monotonic() + RETAIN_MS;
        await this.retain();
      }
      this.#failures = 0;
    } catch (error) {
      pause = Math.min(LOOK_MS * 2 ** this.#failures++, LAST_RETRY_MS);
      if (!this.#stopped) onError(error);
    }
    this.#schedule(pause);
  }

  /** At the first turn, and after prices changed. */
  async #prepare(): Promise<void> {
    if (this.#repriced) return;
    const { lists, addresses, store } = this.#options;
    this.#repriced = true;
    try {
      this.#thread.reprice({ lists: await lists(), addresses });
      // This version may read what an older one could not.
      await store.db
        .updateTable('usage_unfolded')
        .set({ failed: null })
        .where('failed', 'is not', null)
        .execute();
    } catch (error) {
      this.#repriced = false;
      throw error;
    }
  }

  async #fold(db: Db | Tx, commit: (work: (tx: Tx) => Promise<void>) => Promise<void>): Promise<Turn> {
    const found = await nextUnfolded(db);
    const batch = firstBytes(found);
    if (batch.length === 0) return NOTHING;
    const segments: RawSegment[] = [];
    let at = 0;
    const memory = this.#room(batch);
    for (const segment of batch) {
      const payload = new Uint8Array(memory, at, segment.bytes);
      at += segment.bytes;
      await readPayload(db, segment, payload);
      segments.push({ ...segment, payload });
    }
    const answer = await this.#thread.fold(segments);
    await commit((tx) => this.#write(tx, batch, answer));
    for (const { seq, reason } of answer.failed)
      this.#options.onError(
        new Error(`Usage segment ${seq} cannot be read (${reason}): it is in no report.`),
      );
    this.folded += batch.length - answer.failed.length;
    return { segments: batch.length, more: batch.length < found.length || found.length === BATCH_SEGMENTS };
  }

  /** Memory for a batch; a single larger segment gets its own. */
  #room(batch: readonly Unfolded[]): SharedArrayBuffer {
    const bytes = batch.reduce((sum, segment) => sum + segment.bytes, 0);
    if (bytes <= this.#memory.byteLength) return this.#memory;
    const room = new SharedArrayBuffer(Math.max(bytes, FIRST_BYTES));
    if (bytes <= BATCH_BYTES) this.#memory = room;
    return room;
  }

  async #write(tx: Tx, batch: readonly Unfolded[], { sheet, failed }: FoldAnswer): Promise<void> {
    for (const { seq, reason } of failed)
      await tx.updateTable('usage_unfolded').set({ failed: reason }).where('seq', '=', seq).execute();
    const bad = new Set(failed.map(({ seq }) => seq));
    const good = batch.map(({ seq }) => seq).filter((seq) => !bad.has(seq));
    if (good.length === 0) return;
    const { numDeletedRows } = await tx
      .deleteFrom('usage_unfolded')
      .where('seq', 'in', good)
      .executeTakeFirst();
    if (Number(numDeletedRows) !== good.length) throw new Error('usage segments were folded by another');
    await addSheet(tx, this.#options.store.kind, sheet);
  }
}

async function takeLock(tx: Tx): Promise<boolean> {
  const { rows } = await sql<{ taken: boolean }>`
    select pg_try_advisory_xact_lock(${sql.lit(FOLD_LOCK)}, hashtext(current_schema())) as taken`.execute(tx);
  return rows[0]?.taken === true;
}

async function nextUnfolded(db: Db | Tx): Promise<Unfolded[]> {
  return await db
    .selectFrom('usage_unfolded as unfolded')
    .innerJoin('usage_segments as segment', 'segment.seq', 'unfolded.seq')
    .select(['segment.seq', 'segment.last_at', 'segment.format', 'segment.events', 'segment.crc'])
    .select(sql<number>`length(segment.payload)`.as('bytes'))
    .where('unfolded.failed', 'is', null)
    .orderBy('unfolded.seq')
    .limit(BATCH_SEGMENTS)
    .execute();
}

function firstBytes(found: readonly Unfolded[]): Unfolded[] {
  let bytes = 0;
  return found.filter((segment, at) => {
    bytes += segment.bytes;
    return at === 0 || bytes <= BATCH_BYTES;
  });
}

/** Piece by piece, because on PostgreSQL each is read from text on the main thread. */
async function readPayload(db: Db | Tx, { seq, last_at }: Unfolded, payload: Uint8Array): Promise<void> {
  for (let at = 0; at < payload.length; at += PIECE_BYTES) {
    const { piece } = await db
      .selectFrom('usage_segments')
      .select(sql<Uint8Array>`substr(payload, ${sql.lit(at + 1)}, ${sql.lit(PIECE_BYTES)})`.as('piece'))
      .where('seq', '=', seq)
      .where('last_at', '=', last_at)
      .executeTakeFirstOrThrow();
    payload.set(piece, at);
  }
}
