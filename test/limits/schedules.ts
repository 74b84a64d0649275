// Random schedules of calls against a limiter and the exact model side by side. One code for both limiters.

import fc from 'fast-check';
import { expect } from 'vitest';
import { rateOf } from '../../src/limits/bucket.ts';
import type { Admission, Levels, Limiter, Verdict } from '../../src/limits/limiter.ts';
import {
  type Amounts,
  type Demand,
  DIMENSIONS,
  type Dimension,
  lineOf,
  Pool,
  subjectOf,
} from '../../src/limits/model.ts';
import type { Clock } from '../../src/platform/clock.ts';
import { ExactLimits, minus } from './exact.ts';

/** A clock that can be set back as a whole, the monotonic reading too. */
export class SteppedClock implements Clock {
  time = 1_700_000_000_000;
  now(): number {
    return this.time;
  }
  monotonic(): number {
    return this.time;
  }
}

export interface Subject {
  readonly limiter: Limiter;
  readonly clock: SteppedClock;
  /** Waits until what was settled has arrived. */
  readonly settled: () => Promise<void> | undefined;
}

const POOLS: readonly { scope: 'organization' | 'project' | 'api_key'; dimension: Dimension }[] = [
  { scope: 'organization', dimension: 'requests_per_minute' },
  { scope: 'organization', dimension: 'requests_per_day' },
  { scope: 'organization', dimension: 'tokens_per_minute' },
  { scope: 'organization', dimension: 'tokens_per_day' },
  { scope: 'project', dimension: 'tokens_per_minute' },
  { scope: 'project', dimension: 'images_per_minute' },
  { scope: 'api_key', dimension: 'requests_per_minute' },
  { scope: 'organization', dimension: 'batch_tokens' },
];

const requestLimit = fc.constantFrom(1, 2, 3, 7, 60, 500, 1_000, 59_999);
const tokenLimit = fc.constantFrom(1, 10, 97, 1_000, 30_000, 1_000_003, 9_999_999_967, 10_000_000_000);
const dayLimit = fc.constantFrom(1, 24, 1_000, 86_401, 12_999_997);

function limitOf(dimension: Dimension): fc.Arbitrary<number> {
  if (DIMENSIONS[dimension].periodMs > 60_000) return dayLimit;
  return dimension.startsWith('tokens') || dimension === 'batch_tokens' ? tokenLimit : requestLimit;
}

type Step =
  | {
      readonly kind: 'call';
      readonly pools: number;
      readonly requests: number;
      readonly share: number;
      readonly images: number;
      readonly batch: number;
    }
  | { readonly kind: 'settle'; readonly which: number; readonly factor: number }
  | { readonly kind: 'release'; readonly which: number }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'back'; readonly ms: number }
  | { readonly kind: 'change'; readonly pool: number; readonly limit: number }
  | { readonly kind: 'refill'; readonly pool: number }
  | { readonly kind: 'hold'; readonly tokens: number };

const index = fc.nat({ max: 63 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('call' as const),
      pools: fc.integer({ min: 1, max: 2 ** POOLS.length - 1 }),
      requests: fc.constantFrom(1, 1, 1, 0, 2),
      share: fc.constantFrom(0, 1e-9, 0.01, 0.2, 0.5, 0.9, 1, 1.01),
      images: fc.constantFrom(0, 0, 1, 3),
      batch: fc.constantFrom(0, 0, 5, 900),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      which: index,
      factor: fc.constantFrom(0, 0.1, 0.5, 1, 1.5, 4),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), which: index }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.oneof(fc.nat({ max: 50 }), fc.nat({ max: 90_000 }), fc.constantFrom(3_600_000, 86_400_000)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('back' as const),
      ms: fc.constantFrom(1, 40, 5_000, 3_600_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('change' as const), pool: index, limit: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('refill' as const), pool: index }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('hold' as const), tokens: fc.nat({ max: 2_000 }) }) },
);

export interface Schedule {
  readonly limits: readonly number[];
  readonly steps: readonly Step[];
}

export const schedules: fc.Arbitrary<Schedule> = fc.record({
  limits: fc.tuple(...POOLS.map(({ dimension }) => limitOf(dimension))),
  steps: fc.array(step, { minLength: 1, maxLength: 24 }),
});

let organizations = 0;

/** Runs one schedule; every verdict, header and announced wait is compared with the model. */
export async function run({ limiter, clock, settled }: Subject, schedule: Schedule): Promise<void> {
  const organization = `org-${process.pid}-${++organizations}`;
  const exact = new ExactLimits();
  const pools = POOLS.map(({ scope, dimension }, i) => {
    const { periodMs } = DIMENSIONS[dimension];
    const subject = subjectOf(scope, `${organization}-${scope}`, organization);
    return new Pool(
      subject,
      lineOf(scope, 'model', 'm', dimension),
      rateOf(schedule.limits[i] ?? 1, periodMs),
    );
  });
  const under: Admission[] = [];
  let now = 0;

  const ask = async (chosen: readonly Pool[], amounts: Amounts): Promise<Verdict> => {
    const demand: Demand = {
      requestId: 'req',
      organizationId: organization,
      model: 'm',
      pools: chosen,
      amounts,
    };
    now = clock.time;
    const expected = exact.admit(chosen, amounts, now);
    const verdict = await admit(limiter, demand);
    expect(verdict.admitted, `call of ${amounts.join(' ')}`).toBe(expected);
    return verdict;
  };
  const giveBack = async (admission: Admission): Promise<void> => {
    exact.settle(admission.demand.pools, minus([0, 0, 0, 0, 0], admission.demand.amounts), clock.time);
    limiter.release(admission);
    await settled();
  };
  /** A call that passes, and leaves no trace. */
  const passes = async (chosen: readonly Pool[], amounts: Amounts): Promise<boolean> => {
    const verdict = await ask(chosen, amounts);
    if (verdict.admitted) await giveBack(verdict);
    return verdict.admitted;
  };

  for (const each of schedule.steps) {
    switch (each.kind) {
      case 'call': {
        const chosen = pools.filter((_, i) => (each.pools & (1 << i)) !== 0);
        const smallest = Math.min(
          ...chosen.filter((pool) => pool.quantity === 1).map((pool) => pool.rate.amount),
        );
        const tokens = Number.isFinite(smallest) ? Math.ceil(smallest * each.share) : 0;
        const amounts: Amounts = [each.requests, tokens, each.images, 0, each.batch];
        const verdict = await ask(chosen, amounts);
        await headersHold(verdict, chosen, exact, clock, passes);
        if (verdict.admitted) under.push(verdict);
        else await announcementHolds(verdict, chosen, amounts, clock, passes);
        break;
      }
      case 'settle': {
        const admission = under.splice(each.which % Math.max(1, under.length), 1)[0];
        if (admission === undefined) break;
        const { amounts } = admission.demand;
        const tokens = Math.ceil(amounts[1] * each.factor);
        const images = Math.ceil(amounts[2] * each.factor);
        const used: Amounts = [amounts[0], tokens, images, amounts[3], amounts[4]];
        exact.settle(admission.demand.pools, minus(used, amounts), clock.time);
        limiter.settle(admission, { tokens, images });
        // A second one changes nothing.
        limiter.settle(admission, { tokens: 0 });
        limiter.release(admission);
        await settled();
        break;
      }
      case 'release': {
        const admission = under.splice(each.which % Math.max(1, under.length), 1)[0];
        if (admission !== undefined) await giveBack(admission);
        break;
      }
      case 'wait':
        clock.time += each.ms;
        break;
      case 'back': {
        // A limiter may have dropped a bucket that was full; after the step back it would have been short of full again.
        const full = pools.filter((pool) => exact.resetMs(pool, clock.time) === 0);
        exact.refill(full);
        limiter.refill(full);
        await settled();
        clock.time -= each.ms;
        break;
      }
      case 'change': {
        const i = each.pool % pools.length;
        const pool = pools[i];
        const line = POOLS[i];
        if (pool === undefined || line === undefined) break;
        const choices = fc.sample(limitOf(line.dimension), { seed: each.limit, numRuns: 1 });
        pools[i] = new Pool(pool.subject, pool.line, rateOf(choices[0] ?? 1, pool.rate.periodMs));
        break;
      }
      case 'refill': {
        const pool = pools[each.pool % pools.length];
        if (pool === undefined) break;
        exact.refill([pool]);
        limiter.refill([pool]);
        await settled();
        break;
      }
      case 'hold': {
        const pool = pools.find((one) => one.quantity === 4);
        if (pool === undefined) break;
        exact.hold(pool, each.tokens, clock.time);
        limiter.hold([{ pool, tokens: each.tokens }]);
        await settled();
        break;
      }
    }
  }
  for (const level of (await levels(limiter, pools)) as Exclude<Levels, 'unknown'>) {
    expect(level.remaining).toBe(exact.remaining(level.pool, clock.time));
    expect(level.resetMs).toBe(exact.resetMs(level.pool, clock.time));
  }
}

type Passes = (chosen: readonly Pool[], amounts: Amounts) => Promise<boolean>;

/** The headers are the model's numbers, and what they promise is what the next call meets. */
async function headersHold(
  { standing }: Verdict,
  chosen: readonly Pool[],
  exact: ExactLimits,
  clock: SteppedClock,
  passes: Passes,
): Promise<void> {
  for (const [quantity, tightest] of [
    [0, standing.requests],
    [1, standing.tokens],
  ] as const) {
    const all = chosen.filter((pool) => pool.quantity === quantity);
    expect(tightest.pool === null).toBe(all.length === 0);
    if (tightest.pool === null) continue;
    const { remaining } = tightest;
    expect(remaining).toBe(Math.min(...all.map((pool) => exact.remaining(pool, clock.time))));
    expect(tightest.resetMs).toBe(exact.resetMs(tightest.pool, clock.time));
    expect(await passes(chosen, only(quantity, remaining))).toBe(true);
    expect(await passes(chosen, only(quantity, remaining + 1))).toBe(false);
  }
}

/** The same call passes after the announced wait, and not a millisecond before. */
async function announcementHolds(
  verdict: Exclude<Verdict, Admission>,
  chosen: readonly Pool[],
  amounts: Amounts,
  clock: SteppedClock,
  passes: Passes,
): Promise<void> {
  if (verdict.reason === 'too_large') {
    const never = chosen.some((pool) => amounts[pool.quantity] > pool.rate.amount);
    expect(never).toBe(true);
    return;
  }
  if (!Number.isFinite(verdict.waitMs)) return;
  expect(verdict.waitMs).toBeGreaterThan(0);
  if (
    verdict.refusedBy.some((level) => !Number.isFinite(level.pool.rate.waitMs(level.pool.rate.capacity, 1)))
  )
    return;
  clock.time += verdict.waitMs - 1;
  expect(await passes(chosen, amounts)).toBe(false);
  clock.time += 1;
  expect(await passes(chosen, amounts)).toBe(true);
}

function only(quantity: 0 | 1, amount: number): Amounts {
  return quantity === 0 ? [amount, 0, 0, 0, 0] : [0, amount, 0, 0, 0];
}

export function admit(limiter: Limiter, demand: Demand): Promise<Verdict> {
  return new Promise((resolve) => {
    const verdict = limiter.admit(demand, resolve);
    if (verdict !== undefined) resolve(verdict);
  });
}

export function levels(limiter: Limiter, pools: readonly Pool[]): Promise<Levels> {
  return new Promise((resolve) => {
    const known = limiter.levels(pools, resolve);
    if (known !== undefined) resolve(known);
  });
}
