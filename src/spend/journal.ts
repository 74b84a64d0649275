// The journal of usage events: from the road's memory to the store, in groups, off the road.
//
// Guarantee: once an event counts as `recorded` it is durable (fsync or commit) and survives kill -9. Between the
// end of a call and that moment it waits here, for LINGER_MS and one commit at the most while the store keeps up.
// How many wait is bounded and counted: a call takes a place before it is forwarded, and where no place is free it
// is refused with 503, because a call that cannot be metered must not be made.
//
// Failure: a group that the store refuses is kept and offered again, with a growing pause; nothing is dropped. On
// close the journal writes what it has before it lets go.
//
// A group becomes a segment: segment/layout.ts.

import type { NewSegment, Store } from '../store/store.ts';
import { Recurring, SegmentWriter } from './segment/write.ts';
import type { UsageEvent } from './usage.ts';

const LINGER_MS = 50;
const GROUP_EVENTS = 4096;
const FIRST_BYTES = 256 * 1024;
const KEPT_BYTES = 4 * 1024 * 1024;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 5_000;

export class Journal {
  /** Events that are durable, since this process began. */
  recorded = 0;
  /** Groups that the store refused and that were offered again. */
  refusals = 0;

  readonly #store: Pick<Store, 'appendSegment'>;
  readonly #node: string;
  readonly #places: number;
  readonly #complain: (error: unknown) => void;
  #taken = 0;
  /** Events of the group that is being written. */
  #group = 0;
  /**
   * Events that wait, as bytes: strings that live past a young collection would be copied by it again and again. Two
   * buffers take turns, one filled while the other is written, in memory that the store's thread can read where it
   * is: a new buffer a group would be garbage of megabytes a second on both threads.
   */
  #waiting: SegmentWriter;
  #other: SegmentWriter;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> | null = null;
  #closed = false;

  /** @param places how many events may be under way or waiting at once */
  constructor(
    store: Pick<Store, 'appendSegment'>,
    node: string,
    places: number,
    complain: (error: unknown) => void,
  ) {
    this.#store = store;
    this.#node = node;
    this.#places = places;
    this.#complain = complain;
    const recurring = new Recurring();
    this.#waiting = new SegmentWriter(recurring, FIRST_BYTES, shared);
    this.#other = new SegmentWriter(recurring, FIRST_BYTES, shared);
  }

  /** Events that have a place and are not durable yet, calls under way included. */
  get pending(): number {
    return this.#taken;
  }

  /** Events that were handed over and are not durable yet. */
  get unwritten(): number {
    return this.#waiting.events + this.#group;
  }

  /** Takes a place for one event. False: none is free, and the call must be refused. */
  take(): boolean {
    if (this.#taken >= this.#places || this.#closed) return false;
    this.#taken++;
    return true;
  }

  /** Gives a place back that no event will come for. */
  release(): void {
    this.#taken--;
  }

  /** Hands an event over; its place is given back when it is durable. */
  append(event: UsageEvent): void {
    this.#waiting.add(event);
    if (this.#writing !== null) return;
    if (this.#waiting.events >= GROUP_EVENTS) this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), LINGER_MS);
  }

  /** Resolves when everything handed over so far is durable. */
  async flush(): Promise<void> {
    while (this.#waiting.events > 0 || this.#writing !== null) {
      if (this.#writing === null) this.#write();
      await this.#writing;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
  }

  #write(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const written = this.#waiting;
    const { events } = written;
    if (events === 0 || this.#writing !== null) return;
    const segment = written.finish(this.#node);
    this.#waiting = this.#other;
    this.#group = events;
    this.#writing = this.#persist(segment).finally(() => {
      this.#writing = null;
      written.clear(KEPT_BYTES);
      this.#other = written;
      this.#group = 0;
      this.recorded += events;
      this.#taken -= events;
      if (this.#waiting.events > 0) this.#timer ??= setTimeout(() => this.#write(), LINGER_MS);
    });
  }

  async #persist(segment: NewSegment): Promise<void> {
    for (let pause = FIRST_RETRY_MS; ; pause = Math.min(pause * 2, LAST_RETRY_MS)) {
      try {
        await this.#store.appendSegment(segment);
        return;
      } catch (error) {
        this.refusals++;
        this.#complain(error);
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }
}

function shared(bytes: number): Buffer {
  return Buffer.from(new SharedArrayBuffer(bytes));
}
