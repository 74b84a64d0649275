// Nonces for DPoP proofs (RFC 9449 section 8): the minute, and a MAC over it by a key that this process made. Nothing is
// stored; a nonce is good for two minutes at most, and on this node only.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../platform/clock.ts';

const STEP_MS = 60_000;

export class Nonces {
  readonly #clock: Clock;
  readonly #key = randomBytes(32);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  current(): string {
    return this.#at(this.#step());
  }

  accepts(nonce: unknown): boolean {
    if (typeof nonce !== 'string') return false;
    const step = this.#step();
    return equal(nonce, this.#at(step)) || equal(nonce, this.#at(step - 1));
  }

  #step(): number {
    return Math.floor(this.#clock.monotonic() / STEP_MS);
  }

  #at(step: number): string {
    return createHmac('sha256', this.#key).update(String(step)).digest('base64url');
  }
}

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
