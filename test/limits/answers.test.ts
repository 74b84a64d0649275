// What a caller is told: headers, refusals and durations, in the published words.

import { describe, expect, test } from 'vitest';
import { goDuration } from '../../src/limits/duration.ts';
import { rateLimitHeaders } from '../../src/limits/headers.ts';
import type { Verdict } from '../../src/limits/limiter.ts';
import { MemoryLimiter } from '../../src/limits/memory.ts';
import { RateLimits } from '../../src/limits/rate-limits.ts';
import { parseTables, type TableInput } from '../../src/limits/tables.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import { callOf, never } from './calls.ts';

function limitsOf(entries: TableInput['tiers'][number]['limits'], extra: Partial<TableInput> = {}) {
  const clock = new ManualClock();
  const tables = parseTables({ tiers: [{ name: 'free', limits: entries }], ...extra });
  const limits = new RateLimits({ tables, limiter: new MemoryLimiter({ clock }), clock });
  return { clock, limits };
}

function told(verdict: Verdict | undefined) {
  if (verdict === undefined || verdict.admitted) throw new Error('the call was admitted');
  const error = verdict.error();
  const headers = new Map<string, string>();
  for (let i = 0; i < error.headers.length; i += 2)
    headers.set(error.headers[i] ?? '', error.headers[i + 1] ?? '');
  return { status: error.status, ...error.body().error, headers };
}

function headersOf(verdict: Verdict | undefined): Record<string, string | undefined> {
  const flat = verdict === undefined ? [] : rateLimitHeaders(verdict.standing);
  return Object.fromEntries(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1]]] : [])));
}

describe('a duration', () => {
  test.each([
    [0, '0s'],
    [17, '17ms'],
    [644, '644ms'],
    [1_000, '1s'],
    [3_890, '3.89s'],
    [18_642, '18.642s'],
    [20_000, '20s'],
    [60_000, '1m0s'],
    [86_400, '1m26.4s'],
    [360_000, '6m0s'],
    [3_600_000, '1h0m0s'],
    [86_400_000, '24h0m0s'],
    [90_061_001, '25h1m1.001s'],
  ])('of %i ms reads %s, as the platform prints it', (ms, text) => {
    expect(goDuration(ms)).toBe(text);
  });
});

describe('the headers of a reply', () => {
  test('tell limit, remaining and reset of requests and tokens after the call', () => {
    const { limits } = limitsOf({ '*': { requests_per_minute: 60, tokens_per_minute: 30_000 } });
    expect(headersOf(limits.admit(callOf(), never))).toEqual({
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '59',
      'x-ratelimit-reset-requests': '1s',
      'x-ratelimit-limit-tokens': '30000',
      'x-ratelimit-remaining-tokens': '29850',
      'x-ratelimit-reset-tokens': '300ms',
    });
  });

  test('tell the tightest pool: the day’s when the day has less left than the minute', () => {
    const { limits } = limitsOf({ '*': { requests_per_minute: 500, requests_per_day: 3 } });
    const headers = headersOf(limits.admit(callOf(), never));
    expect(headers['x-ratelimit-limit-requests']).toBe('3');
    expect(headers['x-ratelimit-remaining-requests']).toBe('2');
    expect(headers['x-ratelimit-reset-requests']).toBe('8h0m0s');
  });

  test('tell the project’s tokens too where the project has a token limit of its own', () => {
    const { limits } = limitsOf(
      { '*': { tokens_per_minute: 30_000 } },
      { projects: { proj_1: { '*': { tokens_per_minute: 3_000 } } } },
    );
    const headers = headersOf(limits.admit(callOf(), never));
    expect(headers['x-ratelimit-limit-project-tokens']).toBe('3000');
    expect(headers['x-ratelimit-remaining-project-tokens']).toBe('2850');
    expect(headers['x-ratelimit-reset-project-tokens']).toBe('3s');
    expect(headers['x-ratelimit-limit-tokens']).toBe('3000');
  });

  test('tell images only on calls that make images', () => {
    const { limits } = limitsOf({ '*': { requests_per_minute: 60, images_per_minute: 5 } });
    expect(headersOf(limits.admit(callOf({ images: 2 }), never))).toMatchObject({
      'x-ratelimit-limit-images': '5',
      'x-ratelimit-remaining-images': '3',
      'x-ratelimit-reset-images': '24s',
    });
    expect(headersOf(limits.admit(callOf(), never))).not.toHaveProperty('x-ratelimit-limit-images');
  });

  test('are none where there is no limit', () => {
    const { limits } = limitsOf({ '*': { images_per_minute: 5 } });
    expect(headersOf(limits.admit(callOf(), never))).toEqual({});
  });
});

describe('a refusal', () => {
  test('is the published 429 on requests, with everything that a client needs to wait', () => {
    const { limits } = limitsOf({ '*': { requests_per_minute: 3 } });
    for (let i = 0; i < 3; i++) limits.admit(callOf(), never);
    const error = told(limits.admit(callOf(), never));
    expect(error).toMatchObject({
      status: 429,
      type: 'requests',
      code: 'rate_limit_exceeded',
      param: null,
      message:
        'Rate limit reached for gpt-4o in organization org-1 on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.',
    });
    expect(Object.fromEntries(error.headers)).toEqual({
      'x-ratelimit-limit-requests': '3',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '1m0s',
      'retry-after': '20',
      'retry-after-ms': '20000',
    });
  });

  test('on tokens says type tokens; a wait below a second is a Retry-After of one', () => {
    const { limits } = limitsOf({ '*': { tokens_per_minute: 30_000 } });
    limits.admit(callOf({ prompt: { low: 0, likely: 29_937, high: 29_937 }, replyTokens: 0 }), never);
    const error = told(
      limits.admit(callOf({ prompt: { low: 385, likely: 385, high: 385 }, replyTokens: 0 }), never),
    );
    expect(error.type).toBe('tokens');
    expect(error.message).toBe(
      'Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Used 29937, Requested 385. Please try again in 644ms.',
    );
    expect(error.headers.get('retry-after')).toBe('1');
    expect(error.headers.get('retry-after-ms')).toBe('644');
  });

  test('on requests per day waits by the continuous refill of the day', () => {
    const { limits } = limitsOf({ '*': { requests_per_day: 1_000 } });
    for (let i = 0; i < 1_000; i++) limits.admit(callOf(), never);
    expect(told(limits.admit(callOf(), never)).message).toContain(
      'requests per day (RPD): Limit 1000, Used 1000, Requested 1. Please try again in 1m26.4s.',
    );
  });

  test('of a call larger than the whole limit says so, and tells the client not to try again', () => {
    const { limits } = limitsOf({ '*': { tokens_per_minute: 30_000, requests_per_minute: 1 } });
    const large = callOf({ prompt: { low: 601, likely: 601, high: 601 }, replyTokens: 30_000 });
    const error = told(limits.admit(large, never));
    expect(error.message).toBe(
      'Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 30601. The input or output tokens must be reduced in order to run successfully.',
    );
    expect(error).toMatchObject({ status: 429, type: 'tokens', code: 'rate_limit_exceeded' });
    expect(error.headers.get('x-should-retry')).toBe('false');
    expect(error.headers.has('retry-after')).toBe(false);
  });

  test.each([
    [
      'project',
      { projects: { proj_1: { '*': { requests_per_minute: 1 } } } },
      'organization org-1 (project proj_1) on',
    ],
    [
      'key',
      { api_keys: { key_1: { '*': { requests_per_minute: 1 } } } },
      'organization org-1 (API key key_1) on',
    ],
    [
      'key over all models',
      { api_keys: { key_1: { all: { requests_per_minute: 1 } } } },
      'organization org-1 (API key key_1, all models together) on',
    ],
    [
      'end user',
      { end_users: { '*': { all: { requests_per_minute: 1 } } } },
      'organization org-1 (end user, all models together) on',
    ],
    [
      'group',
      {
        groups: { minis: ['gpt-4o'] },
        organizations: { 'org-1': { limits: { minis: { requests_per_minute: 1 } } } },
      },
      'organization org-1 (shared limit minis) on',
    ],
  ])('names the %s whose limit it was', (_, extra, words) => {
    const { limits } = limitsOf({ '*': { requests_per_minute: 1_000 } }, extra);
    limits.admit(callOf({ endUser: 'alice@example.com' }), never);
    const error = told(limits.admit(callOf({ endUser: 'alice@example.com' }), never));
    expect(error.message).toContain(words);
    expect(error.message).not.toContain('alice');
  });

  test('of a batch that does not fit into the queue is the published one, and names no time', () => {
    const { limits } = limitsOf({ '*': { batch_tokens: 2_000_000 } });
    const batch = { requestId: 'req_1', caller: callOf({ model: 'gpt-4o-mini' }), tokens: 1_500_000 };
    const first = limits.admitBatch(batch, never);
    const error = told(limits.admitBatch(batch, never));
    expect(error.code).toBe('token_limit_exceeded');
    expect(error.message).toBe(
      'Enqueued token limit reached for gpt-4o-mini in organization org-1. Limit: 2,000,000 enqueued tokens. Please try again once some in_progress batches have been completed.',
    );
    if (first?.admitted !== true) throw new Error('the first batch fits');
    limits.release(first);
    expect(limits.admitBatch(batch, never)?.admitted).toBe(true);
  });

  test('takes nothing: the same call passes the moment that was announced', () => {
    const { limits, clock } = limitsOf({ '*': { requests_per_minute: 3, tokens_per_minute: 400 } });
    for (let i = 0; i < 2; i++) limits.admit(callOf(), never);
    for (let i = 0; i < 50; i++) expect(limits.admit(callOf(), never)?.admitted).toBe(false);
    const wait = Number(told(limits.admit(callOf(), never)).headers.get('retry-after-ms'));
    clock.advance(wait);
    expect(limits.admit(callOf(), never)?.admitted).toBe(true);
  });
});
