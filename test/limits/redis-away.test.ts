// What happens when the shared store is away: bounded answers, the configured choice, and a return by itself.

import { afterEach, describe, expect, test } from 'vitest';
import { rateOf } from '../../src/limits/bucket.ts';
import type { Verdict } from '../../src/limits/limiter.ts';
import { type Demand, lineOf, Pool, subjectOf } from '../../src/limits/model.ts';
import type { RedisLimiterOptions } from '../../src/limits/redis.ts';
import type { LinkState } from '../../src/limits/redis-link.ts';
import { proxyTo, type TestProxy } from './proxy.ts';
import { connectRedis, REDIS_URL, type TestRedis } from './redis.ts';
import { admit, levels } from './schedules.ts';

const LINE = lineOf('organization', 'model', 'gpt-4o', 'requests_per_minute');
let organizations = 0;

function demandOf(limit: number, organization = `org-${++organizations}`): Demand {
  const pool = new Pool(subjectOf('organization', organization, organization), LINE, rateOf(limit, 60_000));
  return {
    requestId: 'req',
    organizationId: organization,
    model: 'gpt-4o',
    pools: [pool],
    amounts: [1, 0, 0, 0, 0],
  };
}

describe('when Redis is away', () => {
  const opened: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const each of opened.splice(0).reverse()) await each.close();
  });

  async function start(
    options: Partial<RedisLimiterOptions>,
  ): Promise<{ proxy: TestProxy; redis: TestRedis; states: LinkState[] }> {
    const proxy = await proxyTo(REDIS_URL);
    opened.push(proxy);
    const states: LinkState[] = [];
    const redis = await connectRedis({
      url: proxy.url,
      timeoutMs: 100,
      retryMs: 20,
      heartbeatMs: 50,
      onChange: (state) => states.push(state),
      ...options,
    });
    opened.push(redis);
    if (!(await redis.limiter.link.ready(5_000))) {
      throw new Error(`These tests need a Valkey or Redis server at ${REDIS_URL} (KEYGATE_TEST_REDIS_URL).`);
    }
    return { proxy, redis, states };
  }

  test('a call gets 503 that says so where the configuration says closed, and passes again when it is back', async () => {
    const { proxy, redis, states } = await start({ whenAway: 'closed' });
    expect((await admit(redis.limiter, demandOf(5))).admitted).toBe(true);
    proxy.cut();
    await until(() => !redis.limiter.link.up);
    const verdict = await admit(redis.limiter, demandOf(5));
    if (verdict.admitted) throw new Error('the call was admitted');
    expect(verdict.reason).toBe('unavailable');
    expect(verdict.error()).toMatchObject({ status: 503, code: 'service_unavailable' });
    expect(verdict.error().message).toContain('rate limits cannot be checked');
    expect(redis.limiter.counters.unavailable).toBe(1);
    proxy.restore();
    await until(() => redis.limiter.link.up);
    expect((await admit(redis.limiter, demandOf(5))).admitted).toBe(true);
    expect(states.map((state) => state.up)).toEqual([true, false, true]);
    expect(states[1]?.reason).not.toBe('');
  });

  test('a server that falls silent costs a call its time-out, and soon none: nothing hangs', async () => {
    const { proxy, redis } = await start({ whenAway: 'closed', heartbeatMs: 60_000 });
    proxy.silence();
    const took: number[] = [];
    for (let i = 0; i < 6; i++) {
      const began = performance.now();
      expect((await admit(redis.limiter, demandOf(5))).admitted).toBe(false);
      took.push(performance.now() - began);
    }
    expect(Math.max(...took)).toBeLessThan(1_000);
    expect(took.slice(3).every((ms) => ms < 50)).toBe(true);
    expect(redis.limiter.link.timeouts).toBe(3);
    expect(await levels(redis.limiter, demandOf(5).pools)).toBe('unknown');
    proxy.restore();
    await until(() => redis.limiter.link.up);
  });

  test('a connection that leaves the question unanswered is thrown away for a new one', async () => {
    const { proxy, redis } = await start({ whenAway: 'closed' });
    proxy.silence();
    await until(() => !redis.limiter.link.up);
    const accepted = proxy.accepted();
    await until(() => proxy.accepted() > accepted + 1);
    proxy.restore();
    await until(() => redis.limiter.link.up);
    expect((await admit(redis.limiter, demandOf(5))).admitted).toBe(true);
  });

  test('each of several nodes keeps its share of the limit where the configuration says open', async () => {
    const first = await start({ whenAway: 'open', node: 'a' });
    const { prefix } = first.redis;
    const second = await start({ whenAway: 'open', node: 'b', prefix });
    const third = await start({ whenAway: 'open', node: 'c', prefix });
    const all = [first, second, third];
    await until(() => all.every(({ redis }) => redis.limiter.link.nodes === 3));
    for (const { proxy } of all) proxy.cut();
    await until(() => all.every(({ redis }) => !redis.limiter.link.up));
    let admitted = 0;
    for (const { redis } of all) {
      for (let i = 0; i < 50; i++)
        if ((await admit(redis.limiter, demandOf(30, 'org-shared'))).admitted) admitted++;
    }
    expect(admitted).toBe(30);
    expect(first.redis.limiter.counters.local).toBe(50);
    const refused = await admit(first.redis.limiter, demandOf(30, 'org-shared'));
    expect(refused.admitted === false && refused.error().message).toContain(
      'Limit 10, Used 10, Requested 1.',
    );
  });

  test('what a share admitted is settled with the share, not with the store that is back', async () => {
    const { proxy, redis } = await start({ whenAway: 'open' });
    proxy.cut();
    await until(() => !redis.limiter.link.up);
    const demand = demandOf(5);
    const verdict = await admit(redis.limiter, demand);
    if (!verdict.admitted) throw new Error('the call was refused');
    proxy.restore();
    await until(() => redis.limiter.link.up);
    expect(verdict.by).not.toBe(redis.limiter);
    verdict.by.release(verdict);
    const known = await levels(redis.limiter, demand.pools);
    expect(known === 'unknown' ? [] : known.map((level) => level.remaining)).toEqual([5]);
  });

  test('a verdict that comes after its time-out is given back', async () => {
    const { proxy, redis } = await start({ whenAway: 'closed', heartbeatMs: 60_000, retryMs: 60_000 });
    const demand = demandOf(5);
    proxy.silence();
    expect((await admit(redis.limiter, demand)).admitted).toBe(false);
    proxy.restore();
    await until(() => redis.limiter.counters.lateReturned === 1);
    const known = await levels(redis.limiter, demand.pools);
    expect(known === 'unknown' ? [] : known.map((level) => level.remaining)).toEqual([5]);
  });

  test('a limiter that never found its server answers at once, and finds it when it comes', async () => {
    const proxy = await proxyTo(REDIS_URL);
    opened.push(proxy);
    proxy.cut();
    const redis = await connectRedis({ url: proxy.url, retryMs: 20, timeoutMs: 100 });
    opened.push(redis);
    const verdict: Verdict = await admit(redis.limiter, demandOf(5));
    expect(verdict.admitted).toBe(false);
    proxy.restore();
    expect(await redis.limiter.link.ready(10_000)).toBe(true);
    expect((await admit(redis.limiter, demandOf(5))).admitted).toBe(true);
  });
});

async function until(holds: () => boolean): Promise<void> {
  const last = performance.now() + 15_000;
  while (!holds()) {
    if (performance.now() > last) throw new Error('it did not happen within 15 seconds');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
