// Folding where PostgreSQL is the store. Reading, pricing and summing happen on a thread of their own; the main thread
// reads segments from the database for it, in pieces of at most PIECE_BYTES, and writes what it answers.
//
// One node folds at a time, by a lock that ends with its transaction, so that any other can take over at once. Exactly
// once: that transaction adds the sums and takes away the notes of their segments.

import { sql } from 'kysely';
import type { Store, Tx } from '../../store/store.ts';
import type { FoldAnswer, Folded, NumberedSegment, Pricing } from './messages.ts';
import { FoldThread } from './thread.ts';
import { addSheet } from './write.ts';

/** A batch: what one transaction adds. One larger segment goes alone. */
const BATCH_SEGMENTS = 128;
const BATCH_BYTES = 8 << 20;
const PIECE_BYTES = 512 << 10;
const FIRST_BYTES = 1 << 20;
/** With the schema's own number, the advisory lock of the one that folds. */
const FOLD_LOCK = 0x6b676675;

const NOTHING: Folded = { segments: 0, more: false, failed: [], ms: 0 };

interface Unfolded extends Omit<NumberedSegment, 'payload'> {
  /** Which partition it lies in. */
  readonly last_at: number;
  readonly bytes: number;
}

export class ThreadFold {
  readonly #store: Pick<Store, 'db'>;
  readonly #thread: FoldThread;
  /** Where payloads are put for the thread to read: one memory for all batches, because garbage would stop the road. */
  #memory = new SharedArrayBuffer(0);

  constructor(store: Pick<Store, 'db'>) {
    this.#store = store;
    this.#thread = new FoldThread({ lists: [], addresses: {} });
  }

  reprice(pricing: Pricing): void {
    this.#thread.reprice(pricing);
  }

  /** Folds one batch. */
  async turn(): Promise<Folded> {
    return await this.#store.db
      .transaction()
      .setIsolationLevel('read committed')
      .execute(async (tx) => ((await takeLock(tx)) ? await this.#fold(tx) : NOTHING));
  }

  async close(): Promise<void> {
    await this.#thread.close();
  }

  async #fold(tx: Tx): Promise<Folded> {
    const found = await nextUnfolded(tx);
    const batch = firstBytes(found);
    if (batch.length === 0) return NOTHING;
    const segments: NumberedSegment[] = [];
    let at = 0;
    const memory = this.#room(batch);
    for (const segment of batch) {
      const payload = new Uint8Array(memory, at, segment.bytes);
      at += segment.bytes;
      await readPayload(tx, segment, payload);
      segments.push({ ...segment, payload });
    }
    const { sheet, failed } = await this.#thread.fold(segments);
    await write(tx, batch, { sheet, failed });
    const more = batch.length < found.length || found.length === BATCH_SEGMENTS;
    return { segments: batch.length - failed.length, more, failed, ms: 0 };
  }

  /** Memory for a batch; a single larger segment gets its own. */
  #room(batch: readonly Unfolded[]): SharedArrayBuffer {
    const bytes = batch.reduce((sum, segment) => sum + segment.bytes, 0);
    if (bytes <= this.#memory.byteLength) return this.#memory;
    const room = new SharedArrayBuffer(Math.max(bytes, FIRST_BYTES));
    if (bytes <= BATCH_BYTES) this.#memory = room;
    return room;
  }
}

async function write(tx: Tx, batch: readonly Unfolded[], { sheet, failed }: FoldAnswer): Promise<void> {
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
  await addSheet(tx, sheet);
}

async function takeLock(tx: Tx): Promise<boolean> {
  const { rows } = await sql<{ taken: boolean }>`
    select pg_try_advisory_xact_lock(${sql.lit(FOLD_LOCK)}, hashtext(current_schema())) as taken`.execute(tx);
  return rows[0]?.taken === true;
}

async function nextUnfolded(tx: Tx): Promise<Unfolded[]> {
  return await tx
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
async function readPayload(tx: Tx, { seq, last_at }: Unfolded, payload: Uint8Array): Promise<void> {
  for (let at = 0; at < payload.length; at += PIECE_BYTES) {
    const { piece } = await tx
      .selectFrom('usage_segments')
      .select(sql<Uint8Array>`substr(payload, ${sql.lit(at + 1)}, ${sql.lit(PIECE_BYTES)})`.as('piece'))
      .where('seq', '=', seq)
      .where('last_at', '=', last_at)
      .executeTakeFirstOrThrow();
    payload.set(piece, at);
  }
}
