// The contract of a limiter: memory.ts for one process and redis.ts for many keep it, and one suite tests both.
//
// A call first reserves: all of its pools have room and all are taken, or none is touched. After the call `settle`
// gives back what was reserved and not used, or takes what was used beyond it; that may overdraw a bucket, which
// delays later calls and fails none. A refusal takes nothing.

import type { ApiError } from '../platform/errors.ts';
import type { Demand, Pool, Quantity } from './model.ts';
import { IMAGES, REQUESTS, TOKENS } from './model.ts';

export interface Limiter {
  /**
   * Takes every pool of the demand, or none. The verdict is returned when it is known at once: the memory limiter
   * always does, so the road pays for no promise. Otherwise this returns undefined and `done` is called exactly once,
   * later and within the limiter's time-out; never both. It does not throw.
   */
  admit(demand: Demand, done: (verdict: Verdict) => void): Verdict | undefined;

  /**
   * What the call really used. A quantity left out stays as it was reserved. Counts once: settling or releasing an
   * admission again does nothing. It answers nothing, never throws and never waits.
   */
  settle(admission: Admission, used: Used): void;

  /** Gives back all that was reserved, the request too: for a call that was never sent to a provider. */
  release(admission: Admission): void;

  /**
   * Sets held pools (enqueued batch tokens) to exactly this, whatever they held: for the owner of the queue, who knows
   * the truth, at a start or after a failure.
   */
  hold(levels: readonly Held[]): void;

  /** Fills the bucket of each pool: an administrator's act. */
  refill(pools: readonly Pool[]): void;

  /** The level of each pool, in order; by return or by `done`, as `admit`. */
  levels(pools: readonly Pool[], done: (levels: Levels) => void): Levels | undefined;

  close(): Promise<void>;
}

export interface Held {
  readonly pool: Pool;
  readonly tokens: number;
}

export interface Used {
  readonly tokens?: number;
  readonly images?: number;
  readonly audioSeconds?: number;
  /** What stays held of the batch tokens. */
  readonly batchTokens?: number;
}

export type Verdict = Admission | Refusal;
/** `unknown`: the shared store cannot be asked at the moment. */
export type Levels = readonly Level[] | 'unknown';

export interface Level {
  readonly pool: Pool;
  readonly limit: number;
  /** Whole tokens used, rounded up; above the limit in an overdraft. */
  readonly used: number;
  readonly remaining: number;
  /** Milliseconds until it is full; Infinity for what is held until it is given back. */
  readonly resetMs: number;
}

export function levelOf(pool: Pool, used: number): Level {
  const { rate } = pool;
  return {
    pool,
    limit: rate.amount,
    used: rate.usedTokens(used),
    remaining: rate.remaining(used),
    resetMs: rate.resetMs(used),
  };
}

/** The tightest pool of one kind: the one that leaves the least room, and among equals the one full again last. */
export class Tightest {
  pool: Pool | null = null;
  /** Units used of that pool. */
  used = 0;
  remaining = 0;

  see(pool: Pool, used: number): void {
    const remaining = pool.rate.remaining(used);
    if (this.pool !== null) {
      if (remaining > this.remaining) return;
      if (remaining === this.remaining && pool.rate.resetMs(used) <= this.resetMs) return;
    }
    this.pool = pool;
    this.used = used;
    this.remaining = remaining;
  }

  get resetMs(): number {
    return this.pool === null ? 0 : this.pool.rate.resetMs(this.used);
  }
}

/** What the reply's headers say: the tightest pool of each kind, after the verdict. */
export class Standing {
  readonly requests: Tightest;
  readonly tokens: Tightest;
  readonly projectTokens: Tightest;
  readonly images: Tightest;

  constructor() {
    this.requests = new Tightest();
    this.tokens = new Tightest();
    this.projectTokens = new Tightest();
    this.images = new Tightest();
  }

  see(pool: Pool, used: number): void {
    const { quantity } = pool;
    if (quantity === REQUESTS) this.requests.see(pool, used);
    else if (quantity === TOKENS) {
      this.tokens.see(pool, used);
      if (pool.line.scope === 'project') this.projectTokens.see(pool, used);
    } else if (quantity === IMAGES) this.images.see(pool, used);
  }
}

/** Whether the headers tell about this quantity even when the call takes none of it. */
export function isShown(quantity: Quantity): boolean {
  return quantity === REQUESTS || quantity === TOKENS;
}

/** A call that may go on. Settle or release it exactly once. */
export class Admission {
  readonly admitted = true;
  readonly demand: Demand;
  readonly standing: Standing;
  /** The limiter that holds the reservation: it alone settles it. */
  readonly by: Limiter;
  settled = false;

  constructor(demand: Demand, standing: Standing, by: Limiter) {
    this.demand = demand;
    this.standing = standing;
    this.by = by;
  }
}

/** Why a call may not go on. */
export interface Refusal {
  readonly admitted: false;
  readonly demand: Demand;
  /** `limit`: wait and try again. `too_large`: it can never pass. `unavailable`: the limits could not be asked. */
  readonly reason: 'limit' | 'too_large' | 'unavailable';
  /** The pool that keeps the call longest; null when the limits could not be asked. */
  readonly pool: Pool | null;
  /** Milliseconds after which the same call passes, if nobody else takes any. */
  readonly waitMs: number;
  /** Every pool without room. */
  readonly refusedBy: readonly Level[];
  readonly standing: Standing;
  /** What the caller is told. */
  error(): ApiError;
}
