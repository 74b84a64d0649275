// Puts recorded calls into the order in which they arrived. A record is written when its call ends, so a long call
// stands among later ones. What may still be preceded by a call that was not seen yet is held back in a heap.
//
// Bounded: at most `most` calls are held. Beyond that the earliest goes on, and one that comes after all is out of
// order, which the simulation counts.

import type { ReplayedEvent } from './simulate.ts';

export class Arrivals {
  private readonly heap: ReplayedEvent[] = [];
  private readonly most: number;

  /** @param most calls held back, about 300 bytes each */
  constructor(most = 200_000) {
    this.most = most;
  }

  get size(): number {
    return this.heap.length;
  }

  add(event: ReplayedEvent): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || parent.at <= event.at) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
  }

  /** Takes out, in order, what arrived before `at`, and what is too much to be held. */
  *before(at: number): Generator<ReplayedEvent> {
    for (;;) {
      const [first] = this.heap;
      if (first === undefined || (first.at >= at && this.heap.length <= this.most)) return;
      yield first;
      this.removeFirst();
    }
  }

  private removeFirst(): void {
    const { heap } = this;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const a = heap[left];
      const b = heap[left + 1];
      const down = b !== undefined && a !== undefined && b.at < a.at ? left + 1 : left;
      const child = heap[down];
      if (child === undefined || child.at >= last.at) break;
      heap[at] = child;
      at = down;
    }
    heap[at] = last;
  }
}
