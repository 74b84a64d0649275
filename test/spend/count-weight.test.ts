import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isBearable, MOST_DEPTH, MOST_VALUES } from '../../src/spend/count-weight.ts';

const bearable = (text: string) => isBearable(Buffer.from(text));

describe('the weight of a JSON text', () => {
  test('is bearable for any value of reasonable size, whatever its strings hold', () => {
    fc.assert(fc.property(fc.json(), (text) => bearable(text)));
    expect(bearable(JSON.stringify({ text: '[{,:'.repeat(MOST_VALUES) }))).toBe(true);
    expect(bearable(JSON.stringify({ text: '\\"[],'.repeat(MOST_VALUES) }))).toBe(true);
  });

  test('is too much with more values, or deeper, than the bound, wherever a string ends', () => {
    expect(bearable(`[${'0,'.repeat(MOST_VALUES - 1)}0]`)).toBe(true);
    expect(bearable(`[${'0,'.repeat(MOST_VALUES)}0]`)).toBe(false);
    expect(bearable('['.repeat(MOST_DEPTH))).toBe(true);
    expect(bearable('['.repeat(MOST_DEPTH + 1))).toBe(false);
    expect(bearable(`["\\\\",${'0,'.repeat(MOST_VALUES)}0]`)).toBe(false);
  });

  test('text that is no JSON is only weighed', () => {
    expect(bearable('"never closed')).toBe(true);
    expect(bearable('')).toBe(true);
  });
});
