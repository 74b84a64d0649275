import { describe, expect, test } from 'vitest';
import { type ReplayedEvent, simulate } from '../../src/limits/simulate.ts';
import { parseTables } from '../../src/limits/tables.ts';

const START = Date.UTC(2026, 0, 1);

function event(seconds: number, facts: Partial<ReplayedEvent> & { tokens?: number } = {}): ReplayedEvent {
  const { tokens = 100, ...rest } = facts;
  return {
    requestId: `req_${seconds}`,
    at: START + seconds * 1_000,
    organizationId: 'org-1',
    projectId: 'proj_1',
    keyId: 'key_1',
    ownerId: 'user-1',
    modelAsked: 'gpt-4o',
    usage: { input: tokens / 2, output: tokens / 2, images: 0, audioMs: 0 },
    ...rest,
  };
}

const threeAMinute = parseTables({ tiers: [{ name: 'free', limits: { '*': { requests_per_minute: 3 } } }] });

describe('a simulation', () => {
  test('says what a table would have refused, by project, by model and by limit', async () => {
    const events = [
      ...[0, 1, 2, 3].map((at) => event(at)),
      event(4, { projectId: 'proj_2', keyId: 'key_2', modelAsked: 'gpt-4.1' }),
      event(5, { projectId: 'proj_2', keyId: 'key_2' }),
      event(63),
    ];
    const result = await simulate(threeAMinute, events);
    expect(result).toMatchObject({ calls: 7, refused: 2, tokens: 700, refusedTokens: 200, outOfOrder: 0 });
    expect([result.from, result.to]).toEqual([START, START + 63_000]);
    expect(result.byProject).toEqual([
      { name: 'proj_1', calls: 5, refused: 1, tokens: 500, refusedTokens: 100 },
      { name: 'proj_2', calls: 2, refused: 1, tokens: 200, refusedTokens: 100 },
    ]);
    expect(result.byModel.map(({ name, calls, refused }) => [name, calls, refused])).toEqual([
      ['gpt-4o', 6, 2],
      ['gpt-4.1', 1, 0],
    ]);
    expect(result.byLimit).toEqual([
      {
        scope: 'organization',
        subject: 'org-1',
        cover: 'model',
        name: 'gpt-4o',
        dimension: 'requests_per_minute',
        limit: 3,
        refused: 2,
      },
    ]);
    expect(result.examples[0]).toMatchObject({ requestId: 'req_3' });
    expect(result.examples[0]?.message).toContain('Limit 3, Used 3, Requested 1. Please try again in 17s.');
  });

  test('gives the same result for the same events, whenever it runs, and reads them as they come', async () => {
    async function* stream() {
      for (let i = 0; i < 5_000; i++) yield event(i * 7, { keyId: `key_${i % 13}` });
    }
    const first = await simulate(threeAMinute, stream());
    expect(first.refused).toBeGreaterThan(1_000);
    expect(await simulate(threeAMinute, stream())).toEqual(first);
  });

  test('knows tiers, service accounts, long context and daily limits', async () => {
    const tables = parseTables({
      tiers: [
        { name: 'free', limits: { '*': { requests_per_day: 1 } } },
        {
          name: '1',
          paid_usd: 5,
          limits: { '*': { tokens_per_minute: 10_000 }, long: { tokens_per_minute: 500_000 } },
        },
      ],
      long_context: { long: { models: ['gpt-4.1'], above: 128_000 } },
      service_accounts: { '*': { all: { requests_per_minute: 1 } } },
    });
    const paid = (organizationId: string): string => (organizationId === 'org-paid' ? '1' : 'free');
    const result = await simulate(
      tables,
      [
        event(0, { organizationId: 'org-paid', modelAsked: 'gpt-4.1', tokens: 400_000 }),
        event(1, { organizationId: 'org-paid', modelAsked: 'gpt-4o', tokens: 12_000 }),
        event(2, { organizationId: 'org-free', keyId: 'key_f' }),
        event(3_600, { organizationId: 'org-free', keyId: 'key_f' }),
        event(7_200, { organizationId: 'org-paid', keyId: 'key_s', ownerId: 'svc_acct_1' }),
        event(7_201, { organizationId: 'org-paid', keyId: 'key_s', ownerId: 'svc_acct_1' }),
      ],
      paid,
    );
    expect(result.byLimit.map(({ scope, dimension }) => `${scope} ${dimension}`).sort()).toEqual([
      'organization requests_per_day',
      'organization tokens_per_minute',
      'service_account requests_per_minute',
    ]);
  });

  test('counts events that come out of order, and of none says so', async () => {
    expect((await simulate(threeAMinute, [event(10), event(5), event(11)])).outOfOrder).toBe(1);
    expect(await simulate(threeAMinute, [])).toMatchObject({ calls: 0, refused: 0, from: null, to: null });
  });
});
