// Appending usage segments in groups. A durable commit costs one sync of the disk (or one round trip), however many
// rows it holds, so what arrives while a commit is under way waits and goes together into the next one.
//
// Guarantee: an append resolves after the commit that holds it, never before; segments of one process are
// committed in the order in which they were handed over. If a commit fails, every append in it is refused.
// Bounds: one transaction holds at most 128 segments or 8 MiB (a single larger one goes alone); at most 64 MiB
// wait, and beyond that an append is refused with 503.

import { unavailable } from '../platform/errors.ts';
import type { NewSegment } from './store.ts';

const GROUP_SEGMENTS = 128;
const GROUP_BYTES = 8 << 20;
const WAITING_BYTES = 64 << 20;

/** Writes one group durably. It calls `collect` once, as late as it can, to learn what is in the group. */
export type AppendGroup = (collect: () => readonly NewSegment[]) => Promise<void>;

interface Waiting {
  readonly segment: NewSegment;
  resolve(): void;
  reject(error: unknown): void;
}

export class SegmentQueue {
  readonly #append: AppendGroup;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #running: Promise<void> | null = null;

  constructor(append: AppendGroup) {
    this.#append = append;
  }

  add(segment: NewSegment): Promise<void> {
    if (this.#waitingBytes + segment.payload.byteLength > WAITING_BYTES && this.#waiting.length > 0) {
      return Promise.reject(unavailable('The database does not keep up with usage records; try again.'));
    }
    this.#waitingBytes += segment.payload.byteLength;
    const appended = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ segment, resolve, reject });
    });
    this.#running ??= this.#run();
    return appended;
  }

  /** Resolves when nothing waits any more. */
  async drained(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    // Whatever is handed over in the same turn of the event loop is one group from the start.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      let group: Waiting[] = [];
      const collect = () => {
        group = this.#take();
        return group.map((waiting) => waiting.segment);
      };
      try {
        await this.#append(collect);
        for (const waiting of group) waiting.resolve();
      } catch (error) {
        if (group.length === 0) group = this.#take();
        for (const waiting of group) waiting.reject(error);
      }
    }
    this.#running = null;
  }

  #take(): Waiting[] {
    let count = 0;
    let bytes = 0;
    for (const { segment } of this.#waiting) {
      if (count === GROUP_SEGMENTS || (count > 0 && bytes + segment.payload.byteLength > GROUP_BYTES)) break;
      count += 1;
      bytes += segment.payload.byteLength;
    }
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }
}
