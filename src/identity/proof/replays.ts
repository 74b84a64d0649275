// Proofs that were seen, for as long as they could be shown again. Two generations: the older one is dropped whole when
// its proofs are all too old. Its room is bounded; when it is full, proofs are refused as "try again" rather than taken
// unremembered.
//
// This is one node's memory. A proof that was caught in the moment of its use could be shown once more to another node,
// for the same method, address and key; a nonce, which only the node that gave it takes, closes that too (dpop.nonce).

import type { Clock } from '../../platform/clock.ts';

const GENERATION_MAX = 250_000;

export type Seen = 'new' | 'seen' | 'full';

export class Replays {
  readonly #clock: Clock;
  readonly #spanMs: number;
  #young = new Set<string>();
  #old = new Set<string>();
  #turnedAt: number;

  /** @param spanMs how long a proof can be shown at all */
  constructor(clock: Clock, spanMs: number) {
    this.#clock = clock;
    this.#spanMs = spanMs;
    this.#turnedAt = clock.monotonic();
  }

  note(proof: string): Seen {
    const now = this.#clock.monotonic();
    const turns = Math.floor((now - this.#turnedAt) / this.#spanMs);
    if (turns > 0) {
      this.#old = turns === 1 ? this.#young : new Set();
      this.#young = new Set();
      this.#turnedAt += turns * this.#spanMs;
    }
    if (this.#young.has(proof) || this.#old.has(proof)) return 'seen';
    if (this.#young.size >= GENERATION_MAX) return 'full';
    this.#young.add(proof);
    return 'new';
  }
}
