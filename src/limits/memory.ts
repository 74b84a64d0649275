// The limiter of one process: buckets in memory, verdicts at once.
//
// Guarantees: all pools of a call or none; never more than the limit plus what time gave back; a full bucket takes no
// memory for longer than the sweep needs to come round. It reads the monotonic clock, which the wall clock's steps do
// not touch. State is lost with the process: after a restart every bucket is full.
//
// Memory is bounded by `maxPools`. When so many buckets are in use and none is full, a call that needs a new one is
// refused with 503: letting it pass unlimited would be the way round every limit.

import type { Clock } from '../platform/clock.ts';
import { shifted } from './bucket.ts';
import { BucketTable } from './bucket-table.ts';
import {
  Admission,
  type Held,
  isShown,
  type Level,
  type Limiter,
  levelOf,
  type Refusal,
  Standing,
  type Used,
  type Verdict,
} from './limiter.ts';
import { AUDIO_SECONDS, BATCH_TOKENS, type Demand, IMAGES, type Pool, REQUESTS, TOKENS } from './model.ts';
import { LimitRefusal, UnavailableRefusal } from './refusal.ts';

export interface MemoryLimiterOptions {
  readonly clock: Clock;
  /** Buckets at most, 32 bytes each in arrays that are three eighths to three quarters full. Default 20 million. */
  readonly maxPools?: number;
}

/** Slots examined at each call, and for each new bucket: more than a call can fill. */
const SWEPT_A_CALL = 2;
const SWEPT_A_BUCKET = 4;
const SWEPT_WHEN_CROWDED = 4096;

export class MemoryLimiter implements Limiter {
  private readonly clock: Clock;
  private readonly maxPools: number;
  private readonly table = new BucketTable();
  /** Scratch of `admit`: units used of each pool of the demand. Never kept over a call. */
  private readonly looked: number[] = [];

  constructor(options: MemoryLimiterOptions) {
    this.clock = options.clock;
    this.maxPools = options.maxPools ?? 20_000_000;
  }

  /** Buckets held, and the bytes of the arrays they live in. */
  get pools(): number {
    return this.table.size;
  }

  get bytes(): number {
    return this.table.bytes;
  }

  admit(demand: Demand): Verdict {
    const now = this.now();
    const { pools, amounts } = demand;
    const { looked } = this;
    for (let i = 0; i < pools.length; i++) {
      const pool = pools[i];
      if (pool === undefined) break;
      const { quantity } = pool;
      const amount = amounts[quantity];
      if (amount === 0 && !isShown(quantity)) continue;
      const used = this.table.used(pool, now);
      if (hasNoRoom(pool, amount, used)) return this.refuse(demand, now);
      looked[i] = used;
    }
    if (this.table.size + pools.length > this.maxPools) {
      this.table.sweep(SWEPT_WHEN_CROWDED, now);
      if (this.table.size + pools.length > this.maxPools) return crowded(demand);
    }
    const standing = new Standing();
    let added = 0;
    for (let i = 0; i < pools.length; i++) {
      const pool = pools[i];
      if (pool === undefined) break;
      const { quantity } = pool;
      const amount = amounts[quantity];
      if (amount === 0 && !isShown(quantity)) continue;
      const used = (looked[i] ?? 0) + amount * pool.rate.unit;
      if (amount > 0 && this.table.set(pool, used, now)) added++;
      standing.see(pool, used);
    }
    this.table.sweep(SWEPT_A_CALL + SWEPT_A_BUCKET * added, now);
    return new Admission(demand, standing, this);
  }

  settle(admission: Admission, used: Used): void {
    if (admission.settled) return;
    admission.settled = true;
    const { amounts } = admission.demand;
    this.shift(admission, TOKENS, delta(used.tokens, amounts[TOKENS]));
    this.shift(admission, IMAGES, delta(used.images, amounts[IMAGES]));
    this.shift(admission, AUDIO_SECONDS, delta(used.audioSeconds, amounts[AUDIO_SECONDS]));
    this.shift(admission, BATCH_TOKENS, delta(used.batchTokens, amounts[BATCH_TOKENS]));
  }

  release(admission: Admission): void {
    if (admission.settled) return;
    this.settle(admission, { tokens: 0, images: 0, audioSeconds: 0, batchTokens: 0 });
    this.shift(admission, REQUESTS, -admission.demand.amounts[REQUESTS]);
  }

  hold(levels: readonly Held[]): void {
    const now = this.now();
    for (const { pool, tokens } of levels) this.table.set(pool, shifted(0, tokens * pool.rate.unit), now);
  }

  refill(pools: readonly Pool[]): void {
    const now = this.now();
    for (const pool of pools) this.table.set(pool, 0, now);
  }

  levels(pools: readonly Pool[]): readonly Level[] {
    const now = this.now();
    return pools.map((pool) => levelOf(pool, this.table.used(pool, now)));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private now(): number {
    return Math.floor(this.clock.monotonic());
  }

  private refuse(demand: Demand, now: number): Refusal {
    const standing = new Standing();
    const refusal = new LimitRefusal(demand, standing);
    for (const pool of demand.pools) {
      const { quantity } = pool;
      const amount = demand.amounts[quantity];
      if (amount === 0 && !isShown(quantity)) continue;
      const used = this.table.used(pool, now);
      standing.see(pool, used);
      if (hasNoRoom(pool, amount, used)) refusal.add(pool, used);
    }
    this.table.sweep(SWEPT_A_CALL, now);
    return refusal;
  }

  /** Takes `tokens` more of every pool that counts `quantity`, or gives them back when negative. */
  private shift(admission: Admission, quantity: number, tokens: number): void {
    if (tokens === 0) return;
    const now = this.now();
    for (const pool of admission.demand.pools) {
      if (pool.quantity === quantity) this.table.shift(pool, tokens * pool.rate.unit, now);
    }
  }
}

/** A call that takes none of a pool passes it, even an overdrawn one. */
function hasNoRoom({ rate }: Pool, amount: number, used: number): boolean {
  return amount > 0 && (amount > rate.largest || used > rate.room(amount));
}

function delta(used: number | undefined, reserved: number): number {
  return used === undefined ? 0 : used - reserved;
}

function crowded(demand: Demand): Refusal {
  return new UnavailableRefusal(
    demand,
    'This server keeps as many rate limits as it can. Try again shortly.',
    1000,
  );
}
