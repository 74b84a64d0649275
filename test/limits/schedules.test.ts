// The promise of both limiters, in random schedules of calls, sizes, settles, aborts, clock steps and changed limits.

import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, describe, test } from 'vitest';
import { MemoryLimiter } from '../../src/limits/memory.ts';
import { connectRedis, type TestRedis } from './redis.ts';
import { run, SteppedClock, schedules } from './schedules.ts';

// KEYGATE_TEST_SCHEDULES asks for more; the Redis limiter pays a round trip for each step.
const MEMORY_RUNS = Number(process.env['KEYGATE_TEST_SCHEDULES'] ?? 20_000);
const REDIS_RUNS = Number(process.env['KEYGATE_TEST_SCHEDULES'] ?? 1_000);

describe('the memory limiter', () => {
  test('admits exactly what the limits allow, never starves a call, and keeps its headers’ promises', async () => {
    const clock = new SteppedClock();
    const limiter = new MemoryLimiter({ clock });
    await fc.assert(
      fc.asyncProperty(schedules, (schedule) => run({ limiter, clock, settled: () => undefined }, schedule)),
      { numRuns: MEMORY_RUNS },
    );
  }, 600_000);
});

describe('the Redis limiter', () => {
  const open: TestRedis[] = [];
  afterAll(async () => {
    for (const each of open) await each.close();
  });

  test('admits exactly what the limits allow, never starves a call, and keeps its headers’ promises', async () => {
    const clock = new SteppedClock();
    const redis = await connectRedis({ clock, testNow: () => clock.time, prefix: `kgtest:${randomUUID()}:` });
    open.push(redis);
    const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    await fc.assert(
      fc.asyncProperty(schedules, (schedule) => run({ limiter: redis.limiter, clock, settled }, schedule)),
      { numRuns: REDIS_RUNS },
    );
  }, 600_000);
});
