import { describe, expect, test } from 'vitest';
import { DEFAULT_TABLE } from '../../src/limits/default-table.ts';
import { load, refusal } from './loading.ts';

const TIERS = `
limits:
  tiers:
    - name: only
      limits:
        '*': { requests_per_minute: 60 }
`;

describe('the table of limits in keygate.yaml', () => {
  test('takes the place of the default one field by field; what it leaves out stays', () => {
    const { limits } = load({
      yaml: `${TIERS}  projects: { proj_1: { gpt-4o: { requests_per_minute: 5 } } }\n  when_redis_is_away: open`,
    }).config;
    expect(limits.whenRedisIsAway).toBe('open');
    expect(limits.table.tiers).toEqual([
      { name: 'only', paid_usd: 0, days: 0, limits: { '*': { requests_per_minute: 60 } } },
    ]);
    expect(limits.table.projects).toEqual({ proj_1: { 'gpt-4o': { requests_per_minute: 5 } } });
    expect(limits.table.long_context).toEqual(DEFAULT_TABLE.long_context);
  });

  test('is the default one where the file has none, or an empty one', () => {
    for (const yaml of ['', 'limits:', 'limits: {}', 'limits: { tiers: }']) {
      const { limits } = load({ yaml }).config;
      expect(limits.table.tiers).toEqual(DEFAULT_TABLE.tiers);
      expect(limits.whenRedisIsAway).toBe('closed');
    }
  });

  test('is frozen all the way down', () => {
    const { table } = load({ yaml: TIERS }).config.limits;
    expect(Object.isFrozen(table.tiers[0]?.limits['*'])).toBe(true);
  });

  test.each([
    [
      "limits: { tiers: [{ name: free, limits: { '*': { rpm: 1, requests_per_day: 1 } } }] }",
      'In keygate.yaml, limits.tiers.0.limits.*: Unrecognized key: "rpm".',
    ],
    [
      'limits: { tiers: [{ name: free, limits: { gpt-4o: { tokens_per_minute: -1 } } }] }',
      'In keygate.yaml, limits.tiers.0.limits.gpt-4o.tokens_per_minute: a limit is not negative; 0 lets nothing through.',
    ],
    [
      'limits: { organizations: { org-1: { tier: gold } } }',
      'In keygate.yaml, limits.organizations.org-1.tier: there is no tier gold; use one of free, 1, 2, 3, 4, 5.',
    ],
    ['limits: { teirs: [] }', 'In keygate.yaml, limits has no setting "teirs" (did you mean tiers?).'],
    ['limits: 5', 'In keygate.yaml, limits must be a group of settings.'],
    [
      'limits: { when_redis_is_away: perhaps }',
      'In keygate.yaml, limits.when_redis_is_away must be one of closed and open; it is "perhaps".',
    ],
  ])('is refused with the place of what is wrong: %s', (yaml, message) => {
    expect(refusal({ yaml })).toBe(message);
  });

  test('tells every mistake at once, beside those of other settings', () => {
    const said = refusal({ yaml: 'port: x\nlimits: { charge: half, reply_tokens: { "*": -1 } }' });
    expect(said.split('\n')).toHaveLength(3);
    expect(said).toContain('In keygate.yaml, limits.charge:');
    expect(said).toContain('In keygate.yaml, limits.reply_tokens.*:');
  });
});

describe('the Redis server', () => {
  test('is named in the environment, in a file, or by a reference', () => {
    expect(load({ env: { KEYGATE_REDIS_URL: 'redis://cache:6379/3' } }).config.redisUrl?.reveal()).toBe(
      'redis://cache:6379/3',
    );
    const files = { '/run/redis': 'rediss://u:p@cache\n' };
    expect(load({ env: { KEYGATE_REDIS_URL_FILE: '/run/redis' }, files }).config.redisUrl?.reveal()).toBe(
      'rediss://u:p@cache',
    );
    expect(load().config.redisUrl).toBeNull();
  });

  test.each(['http://cache', 'redis://', 'cache:6379', 'redis://cache/first'])(
    'an address that is none is refused: %s',
    (url) => {
      expect(refusal({ env: { KEYGATE_REDIS_URL: url } })).toMatch(
        /^KEYGATE_REDIS_URL must lead to the address of a Valkey or Redis server/,
      );
    },
  );

  test('its absence is told to whoever shares a database among nodes', () => {
    const env = { KEYGATE_DATABASE_URL: 'postgres://u:p@db/keygate' };
    expect(load({ env }).notices.join()).toContain('set redis_url');
    expect(load({ env: { ...env, KEYGATE_REDIS_URL: 'redis://cache' } }).notices).toEqual([]);
  });
});
