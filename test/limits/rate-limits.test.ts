import { describe, expect, test } from 'vitest';
import type { Admission, Verdict } from '../../src/limits/limiter.ts';
import { MemoryLimiter } from '../../src/limits/memory.ts';
import type { LimitedCall } from '../../src/limits/model.ts';
import { RateLimits } from '../../src/limits/rate-limits.ts';
import { parseTables, type TableInput } from '../../src/limits/tables.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import { callOf, never } from './calls.ts';

function limitsOf(table: Partial<TableInput>, options: { plans?: number; tierOf?: () => string } = {}) {
  const clock = new ManualClock();
  const tables = parseTables({ tiers: [{ name: 'free', limits: {} }], ...table });
  const limits = new RateLimits({ tables, limiter: new MemoryLimiter({ clock }), clock, ...options });
  return { clock, limits };
}

function tier(limits: TableInput['tiers'][number]['limits']): TableInput['tiers'] {
  return [{ name: 'free', limits }];
}

function admitted(verdict: Verdict | undefined): Admission {
  if (verdict?.admitted !== true) throw new Error('the call was refused');
  return verdict;
}

function exactly(tokens: number): LimitedCall['prompt'] {
  return { low: tokens, likely: tokens, high: tokens };
}

describe('a call', () => {
  test('is charged its prompt and all the replies that it asks for, and gets back what it did not use', () => {
    const { limits } = limitsOf({ tiers: tier({ '*': { tokens_per_minute: 1_000 } }) });
    const call = callOf({ prompt: exactly(100), replyTokens: 200, choices: 3 });
    const admission = admitted(limits.admit(call, never));
    expect(admission.standing.tokens.remaining).toBe(300);
    limits.settle(admission, { tokens: 150 });
    expect(admitted(limits.admit(call, never)).standing.tokens.remaining).toBe(150);
  });

  test('without a bound on its reply is charged the table’s usual for its model', () => {
    const { limits } = limitsOf({
      tiers: tier({ '*': { tokens_per_minute: 10_000 } }),
      reply_tokens: { 'gpt-4o': 400, '*': 1_000 },
    });
    const ask = (model: string): number =>
      admitted(limits.admit(callOf({ model, prompt: exactly(100), replyTokens: null }), never)).standing
        .tokens.remaining;
    expect(ask('gpt-4o')).toBe(9_500);
    expect(ask('other')).toBe(8_900);
  });

  test('is charged the larger of the two where the table says so, as the platform does', () => {
    const { limits } = limitsOf({ tiers: tier({ '*': { tokens_per_minute: 1_000 } }), charge: 'larger' });
    const call = callOf({ prompt: exactly(100), replyTokens: 200 });
    expect(admitted(limits.admit(call, never)).standing.tokens.remaining).toBe(800);
  });

  test('that used more than it reserved overdraws its limit; the next ones wait until that is paid, and then pass', () => {
    const { limits, clock } = limitsOf({ tiers: tier({ '*': { tokens_per_minute: 600 } }) });
    limits.settle(admitted(limits.admit(callOf(), never)), { tokens: 1_200 });
    const refused = limits.admit(callOf({ prompt: exactly(10), replyTokens: 0 }), never);
    if (refused?.admitted !== false) throw new Error('the call was admitted');
    expect(refused.waitMs).toBe(61_000);
    expect(refused.standing.tokens.remaining).toBe(0);
    clock.advance(61_000);
    expect(limits.admit(callOf({ prompt: exactly(10), replyTokens: 0 }), never)?.admitted).toBe(true);
  });

  test('of nothing passes an overdrawn limit', () => {
    const { limits } = limitsOf({ tiers: tier({ '*': { tokens_per_minute: 600 } }) });
    limits.settle(admitted(limits.admit(callOf(), never)), { tokens: 5_000 });
    expect(limits.admit(callOf({ prompt: exactly(0), replyTokens: 0 }), never)?.admitted).toBe(true);
  });

  test('that fails at the provider keeps its request taken; one that is released gives that back too', () => {
    const { limits } = limitsOf({ tiers: tier({ '*': { requests_per_minute: 10 } }) });
    limits.settle(admitted(limits.admit(callOf(), never)), { tokens: 0 });
    const second = admitted(limits.admit(callOf(), never));
    expect(second.standing.requests.remaining).toBe(8);
    limits.release(second);
    limits.release(second);
    limits.settle(second, { tokens: 9_000 });
    expect(admitted(limits.admit(callOf(), never)).standing.requests.remaining).toBe(8);
  });

  test('takes all of its pools or none: a project without room leaves the organization’s untouched', () => {
    const { limits } = limitsOf({
      tiers: tier({ '*': { requests_per_minute: 10 } }),
      projects: { proj_1: { '*': { requests_per_minute: 1 } } },
    });
    for (let i = 0; i < 5; i++) limits.admit(callOf(), never);
    expect(
      admitted(limits.admit(callOf({ project: 'proj_2', key: 'key_2' }), never)).standing.requests.remaining,
    ).toBe(8);
  });

  test('of one model leaves another model’s limit alone, unless they share a group', () => {
    const { limits } = limitsOf({
      tiers: tier({ '*': { requests_per_minute: 2 }, twins: { requests_per_minute: 2 } }),
      groups: { twins: ['a', 'b'] },
    });
    const left = (model: string): number | undefined => {
      const verdict = limits.admit(callOf({ model }), never);
      return verdict?.admitted === true ? verdict.standing.requests.remaining : undefined;
    };
    expect([left('c'), left('d')]).toEqual([1, 1]);
    expect([left('a'), left('b'), left('a')]).toEqual([1, 0, undefined]);
  });

  test('of each end user has a limit of its own, in each project', () => {
    const { limits } = limitsOf({ end_users: { '*': { all: { requests_per_minute: 1 } } } });
    const passes = (endUser: string | null, project = 'proj_1', key = 'key_1'): boolean | undefined =>
      limits.admit(callOf({ endUser, project, key }), never)?.admitted;
    expect([passes('alice'), passes('bob'), passes('alice'), passes(null), passes(null)]).toEqual([
      true,
      true,
      false,
      true,
      true,
    ]);
    expect(passes('alice', 'proj_2', 'key_2')).toBe(true);
  });
});

describe('an exact count of the prompt', () => {
  const table = { tiers: tier({ '*': { tokens_per_minute: 1_000 } }) };
  const guess = { low: 100, likely: 900, high: 2_000 };

  test('is asked for when the guess is refused and the truth may pass, and then decides', () => {
    const { limits } = limitsOf(table);
    let counted = 0;
    const call = callOf({ prompt: guess, replyTokens: 200, countPrompt: (done) => done(300 + counted++) });
    const admission = admitted(limits.admit(call, never));
    expect(counted).toBe(1);
    expect(admission.standing.tokens.remaining).toBe(500);
  });

  test('may come later: the verdict does too, once', () => {
    const { limits } = limitsOf(table);
    let answer: ((tokens: number) => void) | undefined;
    const verdicts: Verdict[] = [];
    const call = callOf({
      prompt: guess,
      replyTokens: 200,
      countPrompt: (done) => {
        answer = done;
      },
    });
    expect(limits.admit(call, (verdict) => verdicts.push(verdict))).toBeUndefined();
    expect(verdicts).toHaveLength(0);
    answer?.(801);
    expect(verdicts.map((verdict) => verdict.admitted)).toEqual([false]);
  });

  test('is not asked for when the guess passes, or when even the lowest that it may be does not', () => {
    const { limits } = limitsOf(table);
    const countPrompt = (): never => {
      throw new Error('counted');
    };
    expect(limits.admit(callOf({ prompt: guess, replyTokens: 0, countPrompt }), never)?.admitted).toBe(true);
    expect(limits.admit(callOf({ prompt: guess, replyTokens: 950, countPrompt }), never)?.admitted).toBe(
      false,
    );
  });

  test('is not asked for when it is the requests that are used up', () => {
    const { limits } = limitsOf({
      tiers: tier({ '*': { requests_per_minute: 1, tokens_per_minute: 1_000 } }),
    });
    limits.admit(callOf(), never);
    const countPrompt = (): never => {
      throw new Error('counted');
    };
    expect(limits.admit(callOf({ prompt: guess, replyTokens: 500, countPrompt }), never)?.admitted).toBe(
      false,
    );
  });

  test('decides on which side of a long-context threshold a call lies', () => {
    const { limits } = limitsOf({
      tiers: tier({ '*': { tokens_per_minute: 30_000 }, long: { tokens_per_minute: 400_000 } }),
      long_context: { long: { models: ['gpt-4.1'], above: 128_000 } },
    });
    const ask = (tokens: number | null, prompt: LimitedCall['prompt']): Verdict | undefined =>
      limits.admit(
        callOf({
          model: 'gpt-4.1',
          prompt,
          replyTokens: 0,
          ...(tokens === null ? {} : { countPrompt: (done: (tokens: number) => void) => done(tokens) }),
        }),
        never,
      );
    const near = { low: 60_000, likely: 120_000, high: 300_000 };
    expect(ask(128_001, near)?.standing.tokens.pool?.line.name).toBe('long');
    const below = ask(128_000, near);
    expect(below?.admitted === false && below.reason).toBe('too_large');
    expect(ask(null, exactly(128_001))?.standing.tokens.pool?.line.name).toBe('long');
  });
});

describe('a changed table', () => {
  test('holds from the next call on, with what is used as the same fraction', () => {
    const { limits } = limitsOf({ tiers: tier({ '*': { requests_per_minute: 10 } }) });
    for (let i = 0; i < 4; i++) limits.admit(callOf(), never);
    limits.change(parseTables({ tiers: tier({ '*': { requests_per_minute: 100 } }) }));
    expect(admitted(limits.admit(callOf(), never)).standing.requests.remaining).toBe(59);
    limits.change(parseTables({ tiers: tier({ '*': { requests_per_minute: 10 } }) }));
    expect(admitted(limits.admit(callOf(), never)).standing.requests.remaining).toBe(4);
  });

  test('may be an organization’s tier', () => {
    let tierName = 'free';
    const { limits } = limitsOf(
      {
        tiers: [
          { name: 'free', limits: { '*': { requests_per_minute: 1 } } },
          { name: '1', paid_usd: 5, limits: { '*': { requests_per_minute: 100 } } },
        ],
      },
      { tierOf: () => tierName },
    );
    limits.admit(callOf({ model: 'a' }), never);
    tierName = '1';
    limits.change();
    expect(admitted(limits.admit(callOf({ model: 'b' }), never)).standing.requests.remaining).toBe(99);
  });

  test('settles calls that were reserved under the old one by the fraction that they took', () => {
    const { limits } = limitsOf({ tiers: tier({ '*': { tokens_per_minute: 1_000 } }) });
    const first = admitted(limits.admit(callOf({ prompt: exactly(500), replyTokens: 0 }), never));
    const second = admitted(limits.admit(callOf({ prompt: exactly(500), replyTokens: 0 }), never));
    limits.settle(second, { tokens: 500 });
    limits.change(parseTables({ tiers: tier({ '*': { tokens_per_minute: 100 } }) }));
    limits.settle(first, { tokens: 0 });
    const call = callOf({ prompt: exactly(0), replyTokens: 0 });
    expect(admitted(limits.admit(call, never)).standing.tokens.remaining).toBe(50);
  });
});

describe('the pools of callers', () => {
  test('are found again after many others were asked for, with their levels as they were', () => {
    const { limits } = limitsOf(
      {
        tiers: tier({ '*': { requests_per_day: 1_000_000 } }),
        api_keys: { '*': { '*': { requests_per_day: 5 } } },
      },
      { plans: 100 },
    );
    limits.admit(callOf({ key: 'key_first' }), never);
    for (let i = 0; i < 1_000; i++) limits.admit(callOf({ key: `key_${i}` }), never);
    for (let i = 0; i < 1_000; i++) limits.admit(callOf({ key: 'key_models', model: `m${i}` }), never);
    expect(admitted(limits.admit(callOf({ key: 'key_first' }), never)).standing.requests.remaining).toBe(3);
  });

  test('can be listed with their levels', () => {
    const { limits } = limitsOf({
      tiers: tier({ '*': { requests_per_minute: 6, tokens_per_minute: 3_000 } }),
    });
    limits.admit(callOf(), never);
    const levels = limits.levels(limits.poolsOf(callOf()), never);
    if (levels === undefined || levels === 'unknown') throw new Error('unknown levels');
    expect(
      levels.map(({ pool, limit, used, remaining, resetMs }) => [
        pool.line.dimension,
        limit,
        used,
        remaining,
        resetMs,
      ]),
    ).toEqual([
      ['requests_per_minute', 6, 1, 5, 10_000],
      ['tokens_per_minute', 3_000, 150, 2_850, 3_000],
    ]);
  });
});

describe('the queue of batches', () => {
  test('holds tokens for as long as the batch waits, not as long as a minute', () => {
    const { limits, clock } = limitsOf({ tiers: tier({ '*': { batch_tokens: 100 } }) });
    const batch = { requestId: 'req_1', caller: callOf(), tokens: 80 };
    const first = admitted(limits.admitBatch(batch, never));
    clock.advance(86_400_000);
    expect(limits.admitBatch(batch, never)?.admitted).toBe(false);
    limits.settle(first, { batchTokens: 10 });
    expect(limits.admitBatch(batch, never)?.admitted).toBe(true);
  });

  test('is set from the list of waiting batches, whatever it held before', () => {
    const { limits } = limitsOf({
      tiers: tier({ '*': { batch_tokens: 100 } }),
      projects: { proj_1: { '*': { batch_tokens: 50 } } },
    });
    const batch = (project: string, tokens: number) => ({
      requestId: 'req_1',
      caller: callOf({ project, key: project }),
      tokens,
    });
    limits.admitBatch(batch('proj_2', 90), never);
    limits.holdBatches([batch('proj_1', 20), batch('proj_2', 30)]);
    const levels = limits.levels(limits.poolsOf(callOf()), never);
    if (levels === undefined || levels === 'unknown') throw new Error('unknown levels');
    expect(levels.map((level) => level.used)).toEqual([50, 20]);
  });
});

describe('a recent verdict', () => {
  const table = {
    tiers: tier({ '*': { requests_per_minute: 1, tokens_per_minute: 1_000 } }),
    projects: { proj_1: { '*': { requests_per_minute: 5 } } },
  };

  test('is explained pool by pool: what was asked of each, and which one refused', () => {
    const { limits, clock } = limitsOf(table);
    const first = callOf();
    const second = callOf();
    limits.admit(first, never);
    clock.advance(15_000);
    limits.admit(second, never);
    expect(limits.explain(first.requestId)).toMatchObject({ outcome: 'admitted', waitMs: null });
    expect(limits.explain(second.requestId)).toEqual({
      requestId: second.requestId,
      at: clock.now(),
      organizationId: 'org-1',
      model: 'gpt-4o',
      outcome: 'limit',
      waitMs: 45_000,
      pools: [
        {
          scope: 'organization',
          subject: 'org-1',
          cover: 'model',
          name: 'gpt-4o',
          dimension: 'requests_per_minute',
          limit: 1,
          requested: 1,
          refused: true,
          used: 1,
        },
        {
          scope: 'organization',
          subject: 'org-1',
          cover: 'model',
          name: 'gpt-4o',
          dimension: 'tokens_per_minute',
          limit: 1_000,
          requested: 150,
          refused: false,
          used: null,
        },
        {
          scope: 'project',
          subject: 'proj_1',
          cover: 'model',
          name: 'gpt-4o',
          dimension: 'requests_per_minute',
          limit: 5,
          requested: 1,
          refused: false,
          used: null,
        },
      ],
    });
  });

  test('is forgotten when enough others came after it', () => {
    const clock = new ManualClock();
    const limits = new RateLimits({
      tables: parseTables({ tiers: tier({ '*': { requests_per_minute: 1_000 } }) }),
      limiter: new MemoryLimiter({ clock }),
      clock,
      decisions: 10,
    });
    const calls = Array.from({ length: 11 }, () => callOf());
    for (const call of calls) limits.admit(call, never);
    expect(limits.explain(calls[0]?.requestId ?? '')).toBeUndefined();
    expect(limits.explain(calls[1]?.requestId ?? '')?.outcome).toBe('admitted');
    expect(limits.explain('req_unknown')).toBeUndefined();
  });
});

describe('the memory limiter', () => {
  test('refuses with 503 when it holds as many buckets as it may, and takes calls again as they fill up', () => {
    const clock = new ManualClock();
    const limits = new RateLimits({
      tables: parseTables({ tiers: tier({}), api_keys: { '*': { '*': { requests_per_minute: 60 } } } }),
      limiter: new MemoryLimiter({ clock, maxPools: 1_000 }),
      clock,
    });
    const ask = (i: number): Verdict | undefined => limits.admit(callOf({ key: `key_${i}` }), never);
    for (let i = 0; i < 1_000; i++) expect(ask(i)?.admitted).toBe(true);
    const crowded = ask(1_000);
    if (crowded?.admitted !== false) throw new Error('the call was admitted');
    expect(crowded.reason).toBe('unavailable');
    expect(crowded.error().status).toBe(503);
    clock.advance(1_000);
    expect(ask(1_000)?.admitted).toBe(true);
  });

  test('is not moved by steps of the wall clock', () => {
    const { limits, clock } = limitsOf({ tiers: tier({ '*': { requests_per_minute: 1 } }) });
    limits.admit(callOf(), never);
    clock.step(86_400_000);
    expect(limits.admit(callOf(), never)?.admitted).toBe(false);
    clock.step(-2 * 86_400_000);
    clock.advance(60_000);
    expect(limits.admit(callOf(), never)?.admitted).toBe(true);
  });
});
