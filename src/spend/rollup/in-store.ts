// Folding where the usage lies: on the thread of the embedded database, over its own connection. Nothing that is read
// leaves the thread; the main thread only asks for the next slice.
//
// Bounded: journal and budgets wait for this thread too, so a slice reads and sums segments until SLICE_MS are over, or
// writes. While there is more to read, sums are gathered over several slices, because a row costs the same for one
// event as for a thousand. They are written when nothing is left or when they are many.
//
// The processor is the road's: while it reads the thread rests every fraction of a millisecond (breath.ts). It does not
// while it writes, because a call may wait for the transaction to end.
//
// Exactly once: one transaction adds the sums and takes away the notes of their segments. What is gathered is only
// memory: after an error, a change of prices or the end of the thread it is read again.

import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { Breath } from '../../platform/breath.ts';
import type { Clock } from '../../platform/clock.ts';
import { reasonOf, scanSegment } from '../segment/scan.ts';
import { Folder } from './fold.ts';
import type { Folded, NumberedSegment, Pricing, Unreadable } from './messages.ts';
import { type Prices, pricesOf } from './price.ts';
import { SumsWriter } from './sums-writer.ts';

/** When a slice begins nothing further, in milliseconds. */
const SLICE_MS = 20;
/** While it reads, how long is worked before the processor is left to others, and for how long, in milliseconds. */
const WORK_MS = 0.2;
const REST_MS = 0.6;
/** What is gathered at most: it bounds the memory, the time of a write, and how far behind reports are meanwhile. */
const GATHERED_EVENTS = 65_536;
const GATHERED_SEGMENTS = 4_096;
const GATHERED_SIZE = 16_384;

/** What was read and is not written. */
interface Gathered {
  readonly folder: Folder;
  /** Their numbers. */
  readonly segments: number[];
  /** The last segment that was looked at. */
  last: number;
  /** Nothing is left to read. */
  whole: boolean;
}

export class StoreFold {
  readonly #db: DatabaseSync;
  readonly #clock: Clock;
  readonly #writer: SumsWriter;
  readonly #breath: Breath;
  readonly #next;
  readonly #setAside;
  readonly #take;
  #prices: Prices;
  #gathered: Gathered;

  /** @param db with the tables of this version */
  constructor(db: DatabaseSync, clock: Clock, pricing: Pricing) {
    this.#db = db;
    this.#clock = clock;
    this.#writer = new SumsWriter(db);
    this.#breath = new Breath(clock, WORK_MS, REST_MS);
    this.#next = db.prepare(`
      select segment.seq, segment.format, segment.events, segment.crc, segment.payload
      from usage_unfolded as unfolded cross join usage_segments as segment on segment.seq = unfolded.seq
      where unfolded.seq > ? and unfolded.failed is null order by unfolded.seq limit 1`);
    this.#setAside = db.prepare('update usage_unfolded set failed = ? where seq = ?');
    this.#take = db.prepare('delete from usage_unfolded where seq = ?');
    this.#prices = pricesOf(pricing);
    this.#gathered = this.#begin();
  }

  /** Prices for what is written from now on. */
  reprice(pricing: Pricing): void {
    this.#prices = pricesOf(pricing);
    this.#gathered = this.#begin();
  }

  /** Not within a transaction. */
  slice(): Folded {
    const began = this.#clock.monotonic();
    const ms = () => this.#clock.monotonic() - began;
    this.#breath.rested = 0;
    const worked = () => ms() - this.#breath.rested;
    const failed: Unreadable[] = [];
    try {
      while (!isDue(this.#gathered) && ms() < SLICE_MS) this.#readNext(failed);
      if (!isDue(this.#gathered) || ms() >= SLICE_MS)
        return { segments: 0, more: true, failed, ms: worked() };
      const { segments, whole } = this.#gathered;
      this.#write(this.#gathered);
      this.#gathered = this.#begin();
      return { segments: segments.length, more: !whole, failed, ms: worked() };
    } catch (error) {
      this.#gathered = this.#begin();
      this.#writer.forget();
      throw error;
    }
  }

  #begin(): Gathered {
    return { folder: new Folder(this.#prices), segments: [], last: 0, whole: false };
  }

  #readNext(failed: Unreadable[]): void {
    const gathered = this.#gathered;
    const segment = segmentIn(this.#next.get(gathered.last));
    if (segment === null) {
      gathered.whole = true;
      return;
    }
    gathered.last = segment.seq;
    const before = gathered.folder.events;
    try {
      scanSegment(segment, gathered.folder, this.#breath.take);
      gathered.segments.push(segment.seq);
    } catch (error) {
      const reason = reasonOf(error);
      this.#setAside.run(reason, segment.seq);
      failed.push({ seq: segment.seq, reason });
      // A segment counts as a whole or not at all: with a part of it in the sums, all of them are read again.
      if (gathered.folder.events > before) this.#gathered = this.#begin();
    }
  }

  #write({ folder, segments }: Gathered): void {
    if (segments.length === 0) return;
    this.#db.exec('begin immediate');
    try {
      for (const seq of segments)
        if (Number(this.#take.run(seq).changes) !== 1)
          throw new Error('usage segments were folded by another');
      this.#writer.write(folder);
      this.#db.exec('commit');
    } catch (error) {
      // SQLite itself may have rolled back, after a full disk for one.
      if (this.#db.isTransaction) this.#db.exec('rollback');
      throw error;
    }
  }
}

function isDue({ folder, segments, whole }: Gathered): boolean {
  return (
    whole ||
    folder.events >= GATHERED_EVENTS ||
    segments.length >= GATHERED_SEGMENTS ||
    folder.size >= GATHERED_SIZE
  );
}

function segmentIn(row: ReturnType<StatementSync['get']>): NumberedSegment | null {
  if (row === undefined) return null;
  const { seq, format, events, crc, payload } = row;
  if (
    typeof seq !== 'number' ||
    typeof format !== 'number' ||
    typeof events !== 'number' ||
    typeof crc !== 'number' ||
    !(payload instanceof Uint8Array)
  )
    throw new TypeError('a segment is not of the table that it is read from');
  return { seq, format, events, crc, payload };
}
