// The calls under way, in an array from which a call is taken by putting the last one in its place.
//
// It is no Set, for the sake of the garbage collector: each addition to a Set takes a new slot of its table, and the
// tables that it outgrows keep pointing at what was in them and at each other. Once one of them is old, all the calls
// of all later ones grow old with it (measured: four times the cost of collecting, and 70 MB).

import type { Call } from './call.ts';

export class Underway {
  readonly #calls: Call[] = [];

  get size(): number {
    return this.#calls.length;
  }

  enter(call: Call): void {
    call.place = this.#calls.length;
    this.#calls.push(call);
  }

  /** Does nothing for a call that is not here. */
  leave(call: Call): void {
    if (call.place < 0) return;
    const last = this.#calls.pop();
    if (last !== undefined && last !== call) {
      this.#calls[call.place] = last;
      last.place = call.place;
    }
    call.place = -1;
  }

  /** Those that are here now; whoever goes through them may end them meanwhile. */
  calls(): readonly Call[] {
    return this.#calls.slice();
  }
}
