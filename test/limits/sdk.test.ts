// The official SDK's own retry, against our refusals: it waits as long as the headers say, and no longer.

import OpenAI, { RateLimitError } from 'openai';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { rateLimitHeaders } from '../../src/limits/headers.ts';
import { MemoryLimiter } from '../../src/limits/memory.ts';
import { RateLimits } from '../../src/limits/rate-limits.ts';
import { parseTables } from '../../src/limits/tables.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import { callOf, never } from './calls.ts';

describe('the openai package with retries', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function start(limits: { requests_per_minute?: number; tokens_per_minute?: number }) {
    const clock = new ManualClock(Date.now());
    const began = Date.now();
    const rates = new RateLimits({
      tables: parseTables({ tiers: [{ name: 'free', limits: { '*': limits } }] }),
      limiter: new MemoryLimiter({ clock }),
      clock,
    });
    const tries: number[] = [];
    const client = new OpenAI({
      apiKey: 'sk-test',
      maxRetries: 5,
      fetch: async () => {
        const at = Date.now() - began;
        clock.advance(at - (tries.at(-1) ?? 0));
        tries.push(at);
        const verdict = rates.admit(callOf(), never);
        if (verdict === undefined) throw new Error('no verdict');
        if (verdict.admitted) {
          const headers = Object.fromEntries(pairs(rateLimitHeaders(verdict.standing)));
          return Response.json({ id: 'chatcmpl-1', object: 'chat.completion', choices: [] }, { headers });
        }
        const error = verdict.error();
        return Response.json(error.body(), {
          status: error.status,
          headers: Object.fromEntries(pairs(error.headers)),
        });
      },
    });
    const call = () =>
      client.chat.completions.create({ model: 'gpt-4o', messages: [{ role: 'user', content: 'hi' }] });
    return { call, tries };
  }

  test('waits exactly as long as it was told, and then passes', async () => {
    const { call, tries } = start({ requests_per_minute: 3 });
    for (let i = 0; i < 3; i++) await call();
    const fourth = call();
    await vi.runAllTimersAsync();
    await fourth;
    expect(tries).toEqual([0, 0, 0, 0, 20_000]);
  });

  test('does not try again what can never pass', async () => {
    const { call, tries } = start({ tokens_per_minute: 100 });
    const failed = call().catch((error: unknown) => error);
    await vi.runAllTimersAsync();
    const error = await failed;
    expect(error).toBeInstanceOf(RateLimitError);
    expect(error).toMatchObject({ status: 429, code: 'rate_limit_exceeded', type: 'tokens' });
    expect(tries).toHaveLength(1);
  });
});

function pairs(flat: readonly string[]): [string, string][] {
  return flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? ''] as [string, string]] : []));
}
