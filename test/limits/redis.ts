// A Redis limiter for a test, under a prefix of its own, and the end of its keys.

import { randomUUID } from 'node:crypto';
import { createClient } from '@redis/client';
import { RedisLimiter, type RedisLimiterOptions } from '../../src/limits/redis.ts';
import { systemClock } from '../../src/platform/clock.ts';

export const REDIS_URL = process.env['KEYGATE_TEST_REDIS_URL'] ?? 'redis://127.0.0.1:6379';

export interface TestRedis {
  readonly limiter: RedisLimiter;
  readonly prefix: string;
  readonly close: () => Promise<void>;
}

export async function connectRedis(options: Partial<RedisLimiterOptions> = {}): Promise<TestRedis> {
  const prefix = options.prefix ?? `kgtest:${randomUUID()}:`;
  const limiter = new RedisLimiter({
    url: REDIS_URL,
    whenAway: 'closed',
    node: 'test',
    clock: systemClock,
    timeoutMs: 10_000,
    ...options,
    prefix,
  });
  if (options.url === undefined && !(await limiter.link.ready(5_000))) {
    await limiter.close();
    throw new Error(
      `These tests need a Valkey or Redis server at ${REDIS_URL}: start one, or name another in KEYGATE_TEST_REDIS_URL.`,
    );
  }
  return {
    limiter,
    prefix,
    close: async () => {
      await limiter.close();
      await removeKeys(prefix);
    },
  };
}

async function removeKeys(prefix: string): Promise<void> {
  const client = await createClient({ url: REDIS_URL }).connect();
  for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1_000 })) {
    if (keys.length > 0) await client.unlink(keys);
  }
  client.destroy();
}
