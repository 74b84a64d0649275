// Rests in the middle of long work on a thread that nobody waits for, so that whoever wants its processor gets it within a
// fraction of a millisecond. A scheduler lets a busy thread go on for milliseconds, and a call, which wakes one program after
// the other, would wait for that at each turn. A lower priority is no help with it (measured: niceness 10 changed nothing).

import type { Clock } from './clock.ts';

export class Breath {
  readonly #clock: Clock;
  readonly #workMs: number;
  readonly #restMs: number;
  readonly #cell = new Int32Array(new SharedArrayBuffer(4));
  #since = 0;
  /** How long was rested in all, in milliseconds. */
  rested = 0;

  /**
   * @param workMs how long is worked before a rest, in milliseconds
   * @param restMs how long the thread then sleeps, in milliseconds; the system may make it a tenth of one more
   */
  constructor(clock: Clock, workMs: number, restMs: number) {
    this.#clock = clock;
    this.#workMs = workMs;
    this.#restMs = restMs;
  }

  /** To be called between small steps of the work: reads the clock, and rests when it is time. */
  readonly take = (): void => {
    const now = this.#clock.monotonic();
    if (now - this.#since < this.#workMs) return;
    Atomics.wait(this.#cell, 0, 0, this.#restMs);
    this.#since = this.#clock.monotonic();
    this.rested += this.#since - now;
  };
}
