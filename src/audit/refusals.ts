// Refused administration calls in the audit log, bounded so that a flood cannot fill the store: on one node at most
// 10 at once and then one every 10 seconds, so at most 8,650 entries a day. Refusals beyond that are counted, and the
// next entry says how many were left out before it.

import type { Principal } from '../keys/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Store } from '../store/store.ts';
import { append } from './chain.ts';
import type { Attribution } from './model.ts';

const BURST = 10;
const REFILL_MS = 10_000;

export class RefusalLog {
  readonly #store: Store;
  readonly #clock: Clock;
  #room = BURST;
  #filledAt: number;
  #leftOut = 0;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#filledAt = clock.monotonic();
  }

  /**
   * Writes that `principal` was refused `operation` (method and path pattern, nothing that the caller made up), if
   * there is room. Rejects if the store does; the refusal is then counted as left out.
   */
  async record(by: Attribution, principal: Principal, operation: string): Promise<void> {
    if (!this.#take()) {
      this.#leftOut += 1;
      return;
    }
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    try {
      await this.#store.write((tx) =>
        append(tx, {
          by,
          projectId: principal.project?.id ?? null,
          type: 'administration.refused',
          payload: { id: principal.keyId, data: { operation, left_out_before: leftOut } },
        }),
      );
    } catch (error) {
      this.#leftOut += leftOut + 1;
      throw error;
    }
  }

  #take(): boolean {
    const now = this.#clock.monotonic();
    const refilled = Math.floor((now - this.#filledAt) / REFILL_MS);
    this.#room = Math.min(BURST, this.#room + refilled);
    this.#filledAt += refilled * REFILL_MS;
    if (this.#room === 0) return false;
    this.#room -= 1;
    return true;
  }
}
