// How often one address may fail at a door: twenty times at once and then once every three seconds. Who succeeds is
// never slowed. Addresses are forgotten when there are too many of them, the longest known first.

import type { Clock } from '../platform/clock.ts';

const BURST = 20;
const REFILL_MS = 3_000;
const ADDRESSES_MAX = 20_000;

export class Failures {
  readonly #clock: Clock;
  readonly #addresses = new Map<string, { left: number; filledAt: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Seconds until this address may try again; 0: now. */
  wait(address: string): number {
    const known = this.#filled(address);
    if (known === undefined || known.left > 0) return 0;
    return Math.max(1, Math.ceil((known.filledAt + REFILL_MS - this.#clock.monotonic()) / 1000));
  }

  note(address: string): void {
    const known = this.#filled(address);
    if (known !== undefined) {
      known.left = Math.max(0, known.left - 1);
      return;
    }
    if (this.#addresses.size >= ADDRESSES_MAX) {
      for (const oldest of this.#addresses.keys()) {
        this.#addresses.delete(oldest);
        break;
      }
    }
    this.#addresses.set(address, { left: BURST - 1, filledAt: this.#clock.monotonic() });
  }

  #filled(address: string) {
    const known = this.#addresses.get(address);
    if (known === undefined) return undefined;
    const refilled = Math.floor((this.#clock.monotonic() - known.filledAt) / REFILL_MS);
    known.left = Math.min(BURST, known.left + refilled);
    known.filledAt += refilled * REFILL_MS;
    return known;
  }
}
