// One token bucket with continuous refill (GCRA, in the form that stores how much is used), in integers only.
//
// State: `used`, in units of 1/unit of a token, as it was at the instant `at`, in milliseconds. Every millisecond
// gives back `perMs` units, down to none used; `capacity` units used is an empty bucket. A call of n tokens passes
// when used + n × unit ≤ capacity. In GCRA's words `at + used / perMs` is the theoretical arrival time; storing its
// numerator keeps it exact where a time in milliseconds or nanoseconds would not be (10^10 tokens a minute are 6 ns
// each). A bucket with `used` 0 is full and need not be stored.
//
// Exactness. For a limit of L tokens in P ms let g = gcd(L, P). With unit = P/g, perMs = L/g is a whole number, so
// nothing is ever rounded: capacity = L × P/g. Doubles hold integers up to 2^53, hence the bounds:
//   - capacity ≤ MAX_CAPACITY = 2^50. Every limit per minute up to 1.8 × 10^10, and every limit per day up to
//     1.3 × 10^7 or with a larger g, is exact. Above that unit = floor(2^50 / L) and perMs = floor(L × unit / P): the
//     bucket refills slower than the limit says by less than 1 part in perMs, and perMs ≥ 2^50/P − L/P ≥ 10^7, so
//     by less than 1 in 10^7, and never faster.
//   - used ≤ MAX_USED = 2^52: an overdraft is kept up to at least three whole buckets, the rest is forgiven. So
//     used + n × unit ≤ 2^52 + 2^50 < 2^53.
//   - elapsed × perMs may pass 2^53 and be rounded, but rounding is monotone: it is then still above `used`, and the
//     answer, "full", is the right one.
//   - floor and ceil of a quotient a/b of integers below 2^53 are exact in doubles: the quotient is at least 1/b away
//     from the next integer k, and half the spacing of doubles at k is at most k × 2^-53 < 1/b.
//
// Clock. `now` is whole milliseconds. When it is before `at` the clock was set back: nothing is given back for the
// time that is lost, and the bucket goes on from the new now (`at` is moved), so it admits no more and starves nobody.
//
// A limit that changes leaves the theoretical arrival time where it is: a bucket that was 40 % empty is 40 % empty
// under the new limit and is full again at the same instant. So two nodes that still disagree about a limit cannot
// pump each other's bucket full, and lowering a limit never silences a caller for longer than its period.

export const MAX_AMOUNT = 10_000_000_000_000;
export const MAX_PERIOD_MS = 86_400_000;
export const MAX_CAPACITY = 2 ** 50;
export const MAX_USED = 2 ** 52;
const EXACT = Number.MAX_SAFE_INTEGER;

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/** A limit, ready for arithmetic. One object for all equal limits (`rateOf`), so that it can be named by its `id`. */
export class Rate {
  readonly id: number;
  /** Tokens in a full bucket, and given back in one period. */
  readonly amount: number;
  /** 0: nothing is given back by time; what is held stays held until it is returned. */
  readonly periodMs: number;
  /** The largest single call that can ever pass; above `amount` only for a node's share of a limit. */
  readonly largest: number;
  /** Units in a token. */
  readonly unit: number;
  /** Units given back a millisecond. */
  readonly perMs: number;
  readonly capacity: number;
  /** `amount` as text, for headers. */
  readonly text: string;

  constructor(id: number, amount: number, periodMs: number, largest: number) {
    const whole = Number.isSafeInteger(amount) && Number.isSafeInteger(periodMs);
    if (!whole || amount < 0 || amount > MAX_AMOUNT || periodMs < 0 || periodMs > MAX_PERIOD_MS) {
      throw new RangeError(
        `a limit is a whole number from 0 to ${MAX_AMOUNT} in a period of at most a day, not ${amount} in ${periodMs} ms`,
      );
    }
    this.id = id;
    this.amount = amount;
    this.periodMs = periodMs;
    this.largest = largest;
    this.text = String(amount);
    if (periodMs === 0 || amount === 0) {
      this.unit = 1;
      this.perMs = 0;
    } else {
      const shared = gcd(amount, periodMs);
      const exact = amount * (periodMs / shared) <= MAX_CAPACITY;
      this.unit = exact ? periodMs / shared : Math.floor(MAX_CAPACITY / amount);
      this.perMs = exact ? amount / shared : Math.floor((amount * this.unit) / periodMs);
    }
    this.capacity = amount * this.unit;
  }

  /** Whole tokens that a call may still ask for when `used` units are used. */
  remaining(used: number): number {
    return used >= this.capacity ? 0 : Math.floor((this.capacity - used) / this.unit);
  }

  /** Tokens used, rounded up, so that used + remaining is the limit while there is no overdraft. */
  usedTokens(used: number): number {
    return Math.ceil(used / this.unit);
  }

  /** The most that may be used already when a call of `tokens` arrives. Needs `tokens` ≤ `largest`. */
  room(tokens: number): number {
    const room = this.capacity - tokens * this.unit;
    return Math.max(room, 0);
  }

  /** Milliseconds until a call of `tokens` passes, if nobody else takes any; Infinity when time does not help. */
  waitMs(used: number, tokens: number): number {
    if (tokens > this.largest) return Number.POSITIVE_INFINITY;
    const over = used - this.room(tokens);
    if (over <= 0) return 0;
    return this.perMs === 0 ? Number.POSITIVE_INFINITY : Math.ceil(over / this.perMs);
  }

  /** Milliseconds until the bucket is full. */
  resetMs(used: number): number {
    if (used === 0) return 0;
    return this.perMs === 0 ? Number.POSITIVE_INFINITY : Math.ceil(used / this.perMs);
  }
}

const rates: Rate[] = [];
const byText = new Map<string, Rate>();

/** The limit of `amount` in `periodMs`. Kept for good: there is one for each distinct limit ever configured. */
export function rateOf(amount: number, periodMs: number, largest = amount): Rate {
  const text = `${amount}/${periodMs}/${largest}`;
  const known = byText.get(text);
  if (known !== undefined) return known;
  const rate = new Rate(rates.length, amount, periodMs, largest);
  rates.push(rate);
  byText.set(text, rate);
  return rate;
}

export function rateById(id: number): Rate {
  const rate = rates[id];
  if (rate === undefined) throw new RangeError(`no limit has the number ${id}`);
  return rate;
}

/**
 * One node's part of a limit that `nodes` nodes share without being able to talk. A call larger than the part, but not
 * than the whole, passes when the node's bucket is full, and is paid off afterwards.
 */
export function shareOf(rate: Rate, nodes: number): Rate {
  if (nodes <= 1 || rate.amount === 0) return rate;
  return rateOf(Math.max(1, Math.floor(rate.amount / nodes)), rate.periodMs, rate.amount);
}

/** What is still used at `now` of `used` units at `at`. */
export function usedAt(used: number, at: number, now: number, perMs: number): number {
  if (now <= at) return used;
  const left = used - (now - at) * perMs;
  return Math.max(left, 0);
}

/** `units` under a limit that gave back `from` units a millisecond, under one that gives back `to`; rounded up. */
export function convertUp(units: number, from: number, to: number): number {
  if (from === to || units === 0 || from === 0) return Math.min(units, MAX_USED);
  const rest = units % from;
  const product = rest * to;
  const part = product <= EXACT ? Math.ceil(product / from) : Math.ceil((rest / from) * to) + 1;
  const converted = ((units - rest) / from) * to + part;
  return Math.min(converted, MAX_USED);
}

/** As `convertUp`, rounded down: for what is given back. */
export function convertDown(units: number, from: number, to: number): number {
  if (from === to || units === 0 || from === 0) return units;
  const rest = units % from;
  const product = rest * to;
  const part =
    product <= EXACT ? Math.floor(product / from) : Math.max(0, Math.floor((rest / from) * to) - 1);
  return ((units - rest) / from) * to + part;
}

/** `used` after `delta` units more (or fewer) are used; never below 0 nor above MAX_USED. */
export function shifted(used: number, delta: number): number {
  const sum = used + delta;
  if (sum <= 0) return 0;
  return Math.min(sum, MAX_USED);
}
