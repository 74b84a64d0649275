import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { DEFAULT_TABLE, defaultTables } from '../../src/limits/default-table.ts';
import { DAY_MS } from '../../src/limits/model.ts';
import { coveringSet, parseTables, usualReply } from '../../src/limits/tables.ts';
import { tierFor } from '../../src/limits/tiers.ts';
import { SetupError } from '../../src/platform/errors.ts';

const NANO = 1_000_000_000n;

describe('a table of limits', () => {
  test('is read from YAML with every field that the documentation names', () => {
    const tables = parseTables(
      parse(`
        tiers:
          - name: free
            limits:
              '*': { requests_per_minute: 3, tokens_per_minute: 40000 }
          - name: '1'
            paid_usd: 5
            days: 7
            limits:
              'gpt-4o': { requests_per_minute: 500, requests_per_day: 10000, tokens_per_day: 1000000 }
              'fast': { tokens_per_minute: 2000000 }
              'long': { tokens_per_minute: 200000 }
              'all': { images_per_minute: 5, audio_seconds_per_minute: 600, batch_tokens: 90000 }
        groups:
          fast: ['gpt-4o-mini*', 'gpt-4.1-nano']
        long_context:
          long: { models: ['gpt-4.1'], above: 128000 }
        organizations:
          org-1: { tier: '1', limits: { 'gpt-4o': { requests_per_minute: 900 } } }
        projects:
          proj_1: { 'gpt-4o': { requests_per_minute: 100 } }
        service_accounts:
          svc_acct_1: { 'all': { requests_per_minute: 10 } }
        api_keys:
          '*': { 'all': { tokens_per_minute: 10000 } }
        end_users:
          proj_1: { 'all': { requests_per_minute: 2 } }
        reply_tokens: { 'gpt-4o*': 2048, '*': 512 }
        charge: larger
      `),
    );
    expect(tables.tiers.map(({ name, paid, days }) => [name, paid, days])).toEqual([
      ['free', 0n, 0],
      ['1', 5n * NANO, 7],
    ]);
    expect(tables.organizations.get('org-1')?.tier).toBe('1');
    expect(tables.charge).toBe('larger');
    expect([usualReply(tables, 'gpt-4o-2024'), usualReply(tables, 'other')]).toEqual([2048, 512]);
    expect(coveringSet(tables.groups, 'gpt-4o-mini-2024')?.name).toBe('fast');
    expect(coveringSet(tables.groups, 'gpt-4o')).toBeNull();
  });

  test.each([
    ['tiers: []', /limits\.tiers/],
    [
      "tiers: [{ name: free, limits: { '*': {} } }]",
      /limits\.tiers\.0\.limits\.\*: name at least one of requests_per_minute/,
    ],
    ["tiers: [{ name: free, limits: { '*': { requests_per_minute: 1.5 } } }]", /a limit is a whole number/],
    ["tiers: [{ name: free, limits: { '*': { tokens_per_minute: -1 } } }]", /not negative/],
    [
      "tiers: [{ name: free, limits: { '*': { tokens_per_minute: 20000000000000 } } }]",
      /at most 10000000000000/,
    ],
    ["tiers: [{ name: free, limits: { '*': { rpm: 1 } } }]", /rpm/],
    ['tiers: [{ name: free, paid_usd: 5, limits: {} }]', /first tier, free, must ask nothing/],
    ['tiers: [{ name: a, limits: {} }, { name: a, limits: {} }]', /two tiers named a/],
    [
      'tiers: [{ name: a, limits: {} }, { name: b, paid_usd: 9, limits: {} }, { name: c, paid_usd: 8, limits: {} }]',
      /c asks less than b/,
    ],
    ['{ tiers: [{ name: a, limits: {} }], groups: { all: [m] } }', /groups\.all: this name is reserved/],
    ['{ tiers: [{ name: a, limits: {} }], groups: { g: [m], h: [m] } }', /m is already in g/],
    [
      '{ tiers: [{ name: a, limits: {} }], groups: { g: [m] }, long_context: { g: { models: [m], above: 9 } } }',
      /already has this name/,
    ],
    [
      '{ tiers: [{ name: a, limits: {} }], organizations: { org-1: { tier: z } } }',
      /there is no tier z; use one of a/,
    ],
    ['{ tiers: [{ name: a, limits: {} }], colour: blue }', /colour/],
    ['just text', /limits/],
  ])('that cannot be used is refused, and the message says where: %s', (yaml, message) => {
    expect(() => parseTables(parse(yaml))).toThrow(SetupError);
    expect(() => parseTables(parse(yaml))).toThrow(message);
  });

  test('is there by default: six tiers, each wider than the one before, starting where a company works all day and a loop is stopped', () => {
    expect(defaultTables.tiers.map((tier) => tier.name)).toEqual(['free', '1', '2', '3', '4', '5']);
    const rpm = DEFAULT_TABLE.tiers.map((tier) => tier.limits['*']?.requests_per_minute ?? 0);
    const tpm = DEFAULT_TABLE.tiers.map((tier) => tier.limits['*']?.tokens_per_minute ?? 0);
    expect(rpm).toEqual([...rpm].sort((a, b) => a - b));
    expect(tpm).toEqual([...tpm].sort((a, b) => a - b));
    expect([rpm[0], tpm[0]]).toEqual([10_000, 20_000_000]);
  });
});

describe('the tier of an organization', () => {
  const { tiers } = defaultTables;
  const now = Date.UTC(2026, 6, 1);
  const name = (paidTotal: bigint, days: number | null, pinned: string | null = null): string =>
    tierFor(tiers, { paidTotal, firstPaymentAt: days === null ? null : now - days * DAY_MS, pinned }, now)
      .name;

  test('rises when both what it paid and the days since its first payment reach the thresholds', () => {
    expect(name(0n, null)).toBe('free');
    expect(name(5n * NANO, 0)).toBe('1');
    expect(name(5n * NANO - 1n, 0)).toBe('free');
    expect(name(1_000n * NANO, 6)).toBe('1');
    expect(name(1_000n * NANO, 7)).toBe('3');
    expect(name(50n * NANO, 365)).toBe('2');
    expect(name(1_000n * NANO, 29)).toBe('4');
    expect(name(1_000n * NANO, 30)).toBe('5');
  });

  test('does not rise by money alone when it has never paid, or by a clock that is behind', () => {
    expect(name(1_000n * NANO, null)).toBe('1');
    expect(name(1_000n * NANO, -400)).toBe('1');
  });

  test('stays where an administrator pinned it, up or down, unless the table has no such tier any more', () => {
    expect(name(0n, null, '5')).toBe('5');
    expect(name(1_000n * NANO, 400, 'free')).toBe('free');
    expect(name(0n, null, 'gone')).toBe('free');
  });
});
