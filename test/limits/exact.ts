// The exact model of a set of buckets: rational numbers as BigInt, no bound on size, no thought for speed.
//
// `used` is tokens times the period, so that a millisecond gives back `limit` and nothing is ever rounded; except where
// a limit changes, which rounds up to the finest step of the new limit, as bucket.ts says.

import type { Amounts, Pool } from '../../src/limits/model.ts';

interface State {
  used: bigint;
  at: number;
  limit: bigint;
}

const ZERO: Amounts = [0, 0, 0, 0, 0];

export class ExactLimits {
  private readonly states = new Map<string, State>();

  /** Whether a call passes at `now`; takes it if so. */
  admit(pools: readonly Pool[], amounts: Amounts, now: number): boolean {
    const touched = pools.filter((pool) => amounts[pool.quantity] > 0 || pool.quantity < 2);
    for (const pool of touched) this.turnBack(pool, now);
    const passes = touched.every((pool) => {
      const amount = BigInt(amounts[pool.quantity]);
      if (amount === 0n) return true;
      const { capacity, period, limit } = facts(pool);
      return amount <= limit && this.used(pool, now) + amount * period <= capacity;
    });
    if (!passes) return false;
    for (const pool of touched) {
      const amount = BigInt(amounts[pool.quantity]);
      if (amount === 0n) continue;
      const { limit, period } = facts(pool);
      this.states.set(nameOf(pool), { used: this.used(pool, now) + amount * period, at: now, limit });
    }
    return true;
  }

  /** Takes `change` more of each pool, or gives it back when negative. */
  settle(pools: readonly Pool[], change: Amounts, now: number): void {
    for (const pool of pools) {
      const tokens = BigInt(change[pool.quantity]);
      if (tokens === 0n) continue;
      const { limit, period } = facts(pool);
      const state = this.states.get(nameOf(pool));
      const used = state === undefined ? 0n : left(state, period, now);
      const stored = state === undefined || used === 0n ? limit : state.limit;
      const units = tokens * period;
      const moved =
        units > 0n
          ? scaled(units, limit, stored, period, 'up')
          : -scaled(-units, limit, stored, period, 'down');
      const sum = used + moved;
      this.states.set(nameOf(pool), { used: sum > 0n ? sum : 0n, at: now, limit: stored });
    }
  }

  refill(pools: readonly Pool[]): void {
    for (const pool of pools) this.states.delete(nameOf(pool));
  }

  hold(pool: Pool, tokens: number, now: number): void {
    const { limit, period } = facts(pool);
    this.states.set(nameOf(pool), { used: BigInt(tokens) * period, at: now, limit });
  }

  /** Whole tokens that may still be asked for. */
  remaining(pool: Pool, now: number): number {
    const { capacity, period } = facts(pool);
    const room = capacity - this.used(pool, now);
    return room <= 0n ? 0 : Number(room / period);
  }

  /** Milliseconds until the pool is full. */
  resetMs(pool: Pool, now: number): number {
    const used = this.used(pool, now);
    if (used === 0n) return 0;
    const { limit, refills } = facts(pool);
    return refills && limit > 0n ? Number((used + limit - 1n) / limit) : Number.POSITIVE_INFINITY;
  }

  /** Tokens used, times the period, under the pool's limit. */
  private used(pool: Pool, now: number): bigint {
    const state = this.states.get(nameOf(pool));
    if (state === undefined) return 0n;
    const { limit, period } = facts(pool);
    return scaled(left(state, period, now), state.limit, limit, period, 'up');
  }

  private turnBack(pool: Pool, now: number): void {
    const state = this.states.get(nameOf(pool));
    if (state !== undefined && state.at > now) state.at = now;
  }
}

export function minus(a: Amounts, b: Amounts): Amounts {
  return ZERO.map((_, i) => (a[i] ?? 0) - (b[i] ?? 0)) as unknown as Amounts;
}

function nameOf(pool: Pool): string {
  return `${pool.subject.scope}:${pool.subject.id}:${pool.line.text}`;
}

function facts(pool: Pool) {
  const refills = pool.rate.periodMs > 0;
  const limit = BigInt(pool.rate.amount);
  const period = refills && limit > 0n ? BigInt(pool.rate.periodMs) : 1n;
  return { refills, limit, period, capacity: limit * period };
}

/** What is still used. A held pool has period 1 and gives nothing back. */
function left({ used, at, limit }: State, period: bigint, now: number): bigint {
  if (now <= at || period === 1n) return used;
  const rest = used - BigInt(now - at) * limit;
  return rest > 0n ? rest : 0n;
}

/** The same fraction of another limit, in its finest steps. */
function scaled(used: bigint, from: bigint, to: bigint, period: bigint, way: 'up' | 'down'): bigint {
  if (from === to || used === 0n || period === 1n) return used;
  const step = gcd(to, period);
  const over = from * step;
  return ((used * to + (way === 'up' ? over - 1n : 0n)) / over) * step;
}

function gcd(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}
