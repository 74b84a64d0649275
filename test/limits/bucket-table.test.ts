import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { rateOf } from '../../src/limits/bucket.ts';
import { BucketTable } from '../../src/limits/bucket-table.ts';
import { fingerprint } from '../../src/limits/fingerprint.ts';
import { type Dimension, lineOf, Pool, subjectOf } from '../../src/limits/model.ts';

const minute = rateOf(60, 60_000);

function pool(subject: string, dimension: Dimension = 'requests_per_minute', model = 'm'): Pool {
  return new Pool(
    subjectOf('api_key', subject, 'org-1'),
    lineOf('api_key', 'model', model, dimension),
    minute,
  );
}

describe('a table of buckets', () => {
  test('holds what a map would, through growth, removal and the sweep', () => {
    const names = Array.from({ length: 400 }, (_, i) =>
      pool(`key_${i % 100}`, 'requests_per_minute', `m${i % 7}`),
    );
    const step = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), at: fc.nat({ max: 399 }), tokens: fc.nat({ max: 60 }) }),
      fc.record({
        kind: fc.constant('shift' as const),
        at: fc.nat({ max: 399 }),
        tokens: fc.integer({ min: -60, max: 60 }),
      }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.nat({ max: 20_000 }) }),
      fc.record({ kind: fc.constant('sweep' as const), slots: fc.nat({ max: 3_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = new BucketTable();
        const model = new Map<Pool, { used: number; at: number }>();
        let now = 1_000;
        const used = (one: Pool): number => {
          const state = model.get(one);
          return state === undefined ? 0 : Math.max(0, state.used - (now - state.at) * one.rate.perMs);
        };
        for (const each of steps) {
          if (each.kind === 'wait') now += each.ms;
          else if (each.kind === 'sweep') table.sweep(each.slots, now);
          else {
            const one = names[each.at];
            if (one === undefined) continue;
            const units = each.tokens * one.rate.unit;
            const next = each.kind === 'set' ? units : Math.max(0, used(one) + units);
            if (each.kind === 'set') table.set(one, units, now);
            else table.shift(one, units, now);
            model.set(one, { used: next, at: now });
          }
        }
        for (const one of names) expect(table.used(one, now)).toBe(used(one));
      }),
      { numRuns: 300 },
    );
  });

  test('lets go of buckets that are full again, within a few calls for each', () => {
    const table = new BucketTable();
    for (let i = 0; i < 50_000; i++) table.set(pool(`key_${i}`), minute.capacity, 0);
    expect(table.size).toBe(50_000);
    const peak = table.bytes;
    let swept = 0;
    while (table.size > 0) {
      table.sweep(8, 60_000);
      swept += 8;
    }
    expect(swept).toBeLessThan(50_000 * 6);
    // The last slots are passed once more, and the shards shrink behind the hand.
    for (let i = 0; i < 50_000; i++) table.sweep(8, 60_000);
    expect(table.bytes).toBeLessThan(peak / 10);
  });

  test('does not grow for buckets that come and go', () => {
    const table = new BucketTable();
    let largest = 0;
    for (let i = 0; i < 300_000; i++) {
      // One new caller a millisecond, each full again after a second: a thousand at once.
      table.set(pool(`key_${i}`), minute.unit, i);
      table.sweep(6, i);
      largest = Math.max(largest, table.size);
    }
    expect(largest).toBeLessThan(20_000);
    expect(table.bytes).toBeLessThan(4 * 2 ** 20);
  });

  test('takes less than a hundred bytes for a bucket once there are many', () => {
    const table = new BucketTable();
    for (let i = 0; i < 200_000; i++) table.set(pool(`key_${i}`), minute.capacity, 0);
    expect(table.bytes / table.size).toBeLessThan(100);
  });
});

describe('a fingerprint', () => {
  test('tells a million names apart, and is the same for the same name', () => {
    const seen = new Set<string>();
    for (let i = 0; i < 1_000_000; i++) seen.add(fingerprint(`end_user:proj_1:user-${i}`).join());
    expect(seen.size).toBe(1_000_000);
    expect(fingerprint('a\u0000b')).toEqual(fingerprint('a\u0000b'));
    expect(
      new Set(['', '\u0000', '\u0000\u0000', 'a', 'a\u0000'].map((name) => fingerprint(name).join())).size,
    ).toBe(5);
  });

  test('changes about half of its bits with one bit of the name', () => {
    let changed = 0;
    for (let i = 0; i < 2_000; i++) {
      const [h1, l1] = fingerprint(`user-${i}-a`);
      const [h2, l2] = fingerprint(`user-${i}-c`);
      changed += bits(h1 ^ h2) + bits(l1 ^ l2);
    }
    expect(changed / 2_000 / 64).toBeGreaterThan(0.48);
    expect(changed / 2_000 / 64).toBeLessThan(0.52);
  });
});

function bits(word: number): number {
  return (word >>> 0).toString(2).replaceAll('0', '').length;
}
