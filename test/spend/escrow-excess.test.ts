import { describe, expect, test } from 'vitest';
import { ExcessWatch } from '../../src/spend/escrow/excess.ts';

describe('a bound that a provider went beyond', () => {
  test('is raised for that model from then on, and for no other', () => {
    const watch = new ExcessWatch();
    expect(watch.raised('a', 1000)).toBe(1000);
    watch.note('a', 1000, 1500);
    expect(watch.raised('a', 1000)).toBeGreaterThanOrEqual(1500);
    expect(watch.raised('a', 1000)).toBeLessThan(1700);
    expect(watch.raised('a', 7)).toBeGreaterThanOrEqual(11);
    expect(watch.raised('b', 1000)).toBe(1000);
    expect(watch.entries()).toEqual([{ model: 'a', factor: expect.closeTo(1.575, 2) }]);
  });

  test('only ever rises, and is not raised by calls within their bound', () => {
    const watch = new ExcessWatch();
    watch.note('a', 1000, 900);
    expect(watch.entries()).toEqual([]);
    watch.note('a', 1000, 2000);
    watch.note('a', 1000, 1100);
    expect(watch.raised('a', 1000)).toBeGreaterThanOrEqual(2000);
    expect(watch.raised('a', Number.MAX_SAFE_INTEGER)).toBe(Number.MAX_SAFE_INTEGER);
  });

  test('is remembered for a bounded number of models', () => {
    const watch = new ExcessWatch();
    for (let i = 0; i < 1500; i++) watch.note(`model-${i}`, 10, 20);
    expect(watch.entries()).toHaveLength(1000);
    expect(watch.raised('model-1499', 10)).toBeGreaterThan(10);
  });
});
