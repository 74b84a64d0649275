// Admit: is there room for one more call? What is bounded here is this process: the calls under way at once. Room is
// taken before the call is forwarded and given back when it is settled.

import type { Bounds } from '../config/model.ts';
import { unavailable } from '../platform/errors.ts';
import type { Call } from './call.ts';
import type { Verdict } from './verdict.ts';

export class Admission {
  /** Calls that were admitted and are not settled yet. */
  underway = 0;
  /** Calls that found no room, since this process began. */
  refused = 0;
  readonly #most: number;

  constructor(bounds: Bounds) {
    this.#most = bounds.inFlight;
  }

  admit(call: Call): Verdict {
    if (this.underway >= this.#most) {
      this.refused++;
      return unavailable(
        `This server is at its limit of ${this.#most} calls at once. Please try again in a moment.`,
      );
    }
    this.underway++;
    call.admitted = true;
    return null;
  }

  release(call: Call): void {
    if (!call.admitted) return;
    call.admitted = false;
    this.underway--;
  }
}
