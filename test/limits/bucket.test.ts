import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  convertDown,
  convertUp,
  MAX_AMOUNT,
  MAX_CAPACITY,
  MAX_USED,
  rateOf,
  shareOf,
  shifted,
  usedAt,
} from '../../src/limits/bucket.ts';

const MINUTE = 60_000;
const DAY = 86_400_000;
const period = fc.constantFrom(MINUTE, DAY);
const amount = fc.oneof(
  fc.integer({ min: 1, max: 1_000 }),
  fc.integer({ min: 1, max: 20_000_000_000 }),
  fc.integer({ min: 1, max: MAX_AMOUNT }),
  fc.constantFrom(1, 10_000_000_000, 9_999_999_967, MAX_AMOUNT),
);

describe('a limit in integers', () => {
  test('refills exactly, for every limit a minute up to ten thousand million and every small one a day', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.tuple(fc.integer({ min: 1, max: 10_000_000_000 }), fc.constant(MINUTE)),
          fc.tuple(fc.integer({ min: 1, max: 13_000_000 }), fc.constant(DAY)),
          fc.constantFrom([9_999_999_967, MINUTE], [10_000_000_000, MINUTE], [1, DAY]),
        ),
        ([limit, ms]) => {
          const rate = rateOf(Number(limit), Number(ms));
          // units given back a millisecond / units in a token = limit / period, as integers
          expect(BigInt(rate.perMs) * BigInt(ms ?? 0)).toBe(BigInt(rate.unit) * BigInt(limit ?? 0));
          expect(rate.resetMs(rate.capacity)).toBe(ms);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test('is never faster than it says, and slower by less than one part in ten million, for every limit', () => {
    fc.assert(
      fc.property(amount, period, (limit, ms) => {
        const rate = rateOf(limit, ms);
        const given = BigInt(rate.perMs) * BigInt(ms);
        const stated = BigInt(rate.unit) * BigInt(limit);
        expect(given <= stated).toBe(true);
        expect((stated - given) * 10_000_000n < stated).toBe(true);
        expect(rate.capacity).toBeLessThanOrEqual(MAX_CAPACITY);
        expect(Number.isSafeInteger(rate.capacity + MAX_USED)).toBe(true);
        expect(BigInt(rate.capacity)).toBe(BigInt(limit) * BigInt(rate.unit));
      }),
      { numRuns: 20_000 },
    );
  });

  test('says what remains, how long to wait and when it is full as rational arithmetic does', () => {
    fc.assert(
      fc.property(
        amount,
        period,
        fc.double({ min: 0, max: 3, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (limit, ms, fill, share) => {
          const rate = rateOf(limit, ms);
          const used = Math.min(MAX_USED, Math.floor(rate.capacity * fill));
          const asked = Math.max(1, Math.floor(limit * share));
          const exactUsed = BigInt(used);
          const room = BigInt(rate.capacity) - exactUsed;
          const unit = BigInt(rate.unit);
          const perMs = BigInt(rate.perMs);
          expect(BigInt(rate.remaining(used))).toBe(room > 0n ? room / unit : 0n);
          expect(BigInt(rate.usedTokens(used))).toBe((exactUsed + unit - 1n) / unit);
          const over = BigInt(asked) * unit - room;
          expect(BigInt(rate.waitMs(used, asked))).toBe(over > 0n ? (over + perMs - 1n) / perMs : 0n);
          expect(BigInt(rate.resetMs(used))).toBe((exactUsed + perMs - 1n) / perMs);
        },
      ),
      { numRuns: 20_000 },
    );
  });

  test('gives back what the elapsed time is worth, after however long a pause, and nothing when the clock is set back', () => {
    fc.assert(
      fc.property(
        amount,
        period,
        fc.double({ min: 0, max: 4, noNaN: true }),
        fc.integer({ min: -1_000_000, max: 2 ** 45 }),
        (limit, ms, fill, elapsed) => {
          const rate = rateOf(limit, ms);
          const used = Math.min(MAX_USED, Math.floor(rate.capacity * fill));
          const exact = BigInt(used) - BigInt(Math.max(0, elapsed)) * BigInt(rate.perMs);
          const at = 1_700_000_000_000;
          expect(BigInt(usedAt(used, at, at + elapsed, rate.perMs))).toBe(exact > 0n ? exact : 0n);
        },
      ),
      { numRuns: 20_000 },
    );
  });

  test('that changes keeps its fraction: rounded against the caller, by less than three units', () => {
    fc.assert(
      fc.property(
        amount,
        amount,
        period,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (from, to, ms, fill) => {
          const [old, next] = [rateOf(from, ms), rateOf(to, ms)];
          const units = Math.floor(old.capacity * fill);
          const up = BigInt(convertUp(units, old.perMs, next.perMs));
          const down = BigInt(convertDown(units, old.perMs, next.perMs));
          const numerator = BigInt(units) * BigInt(next.perMs);
          const perMs = BigInt(old.perMs);
          expect(up * perMs >= numerator || up === BigInt(MAX_USED)).toBe(true);
          expect(down * perMs <= numerator).toBe(true);
          expect((up - 3n) * perMs < numerator).toBe(true);
          expect((down + 3n) * perMs > numerator).toBe(true);
        },
      ),
      { numRuns: 20_000 },
    );
  });

  test('keeps an overdraft of at least three buckets and forgives the rest', () => {
    expect(shifted(0, Number.MAX_VALUE)).toBe(MAX_USED);
    expect(MAX_USED / MAX_CAPACITY).toBeGreaterThanOrEqual(4);
    expect(shifted(5, -10)).toBe(0);
  });

  test('of one a day lets the next call through after a day, and of three a minute after twenty seconds', () => {
    const day = rateOf(1, DAY);
    expect(day.waitMs(day.capacity, 1)).toBe(DAY);
    const three = rateOf(3, MINUTE);
    expect(three.waitMs(three.capacity, 1)).toBe(20_000);
    expect(rateOf(1_000, DAY).waitMs(rateOf(1_000, DAY).capacity, 1)).toBe(86_400);
  });

  test('gives the waits that the platform was seen to announce', () => {
    const tpm = rateOf(30_000, MINUTE);
    expect(tpm.waitMs(28_039 * tpm.unit, 3_906)).toBe(3_890);
    expect(tpm.waitMs(14_567 * tpm.unit, 24_754)).toBe(18_642);
    expect(tpm.waitMs(29_937 * tpm.unit, 385)).toBe(644);
  });

  test('of zero lets nothing through, ever', () => {
    const zero = rateOf(0, MINUTE);
    expect(zero.remaining(0)).toBe(0);
    expect(zero.waitMs(0, 1)).toBe(Number.POSITIVE_INFINITY);
  });

  test.each([-1, 1.5, Number.NaN, MAX_AMOUNT + 1, Number.POSITIVE_INFINITY])('cannot be %s', (wrong) => {
    expect(() => rateOf(wrong, MINUTE)).toThrow(/whole number from 0/);
  });

  test('is one object for equal limits', () => {
    expect(rateOf(77, MINUTE)).toBe(rateOf(77, MINUTE));
    expect(rateOf(77, MINUTE)).not.toBe(rateOf(77, DAY));
  });
});

describe('one node’s share of a limit', () => {
  test('adds up to no more than the limit, but is at least one', () => {
    fc.assert(
      fc.property(amount, period, fc.integer({ min: 1, max: 100 }), (limit, ms, nodes) => {
        const part = shareOf(rateOf(limit, ms), nodes);
        expect(part.amount).toBeGreaterThanOrEqual(1);
        expect(part.amount * nodes <= limit || part.amount === 1).toBe(true);
        expect(part.largest).toBe(limit);
      }),
    );
  });

  test('lets a call larger than it through when it is full, and pays it off at the share’s rate', () => {
    const part = shareOf(rateOf(30_000, MINUTE), 3);
    expect(part.waitMs(0, 30_000)).toBe(0);
    expect(part.waitMs(1, 30_000)).toBe(1);
    // 30,000 tokens at 10,000 a minute: three minutes until the next such call.
    expect(part.waitMs(30_000 * part.unit, 30_000)).toBe(3 * MINUTE);
    expect(part.waitMs(0, 30_001)).toBe(Number.POSITIVE_INFINITY);
  });
});
