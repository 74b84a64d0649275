// One at a time, first come first served: whose turn it is to use the one connection that may write.

import { unavailable } from '../platform/errors.ts';

/** Longest wait for a turn, in milliseconds; beyond it the caller is told that the database is busy (503). */
export const TURN_WAIT_MS = 10_000;

export class Turn {
  #taken = false;
  readonly #waiting: Array<() => void> = [];

  /**
   * Resolves when it is the caller's turn, with the function that ends it (which may be called more than once).
   * Rejects with 503 after `waitMs`.
   */
  async take(waitMs = TURN_WAIT_MS): Promise<() => void> {
    if (this.#taken) await this.#wait(waitMs);
    this.#taken = true;
    let over = false;
    return () => {
      if (over) return;
      over = true;
      const next = this.#waiting.shift();
      // Handed over without ever being free, so that nobody who comes now gets in between.
      if (next) next();
      else this.#taken = false;
    };
  }

  #wait(waitMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(unavailable('The database is busy; try again.'));
      }, waitMs);
      this.#waiting.push(enter);
    });
  }
}

/** `promise`, or a rejection with `late()` after `ms` milliseconds; what `promise` does then is of no interest. */
export async function within<T>(ms: number, promise: Promise<T>, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
