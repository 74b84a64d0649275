// The Redis limiter: what a verdict costs beside the round trip that it cannot do without.

import { randomUUID } from 'node:crypto';
import { createClient } from '@redis/client';
import type { Verdict } from '../../src/limits/limiter.ts';
import { RateLimits } from '../../src/limits/rate-limits.ts';
import { RedisLimiter } from '../../src/limits/redis.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { callOf, eightPools } from './calls.ts';
import type { Row } from './row.ts';

export async function measureRedis(scale: number): Promise<Row[]> {
  const url = process.env['KEYGATE_TEST_REDIS_URL'] ?? 'redis://127.0.0.1:6379';
  const prefix = `kgbench:${randomUUID()}:`;
  const limiter = new RedisLimiter({
    url,
    prefix,
    whenAway: 'closed',
    node: 'bench',
    clock: systemClock,
    timeoutMs: 5_000,
  });
  if (!(await limiter.link.ready(3_000))) {
    await limiter.close();
    throw new Error(
      `There is no Valkey or Redis at ${url}: start one, name another in KEYGATE_TEST_REDIS_URL, or use --no-redis.`,
    );
  }
  const client = await createClient({ url }).connect();
  const limits = new RateLimits({ tables: eightPools, limiter, clock: systemClock });
  const call = callOf(1);
  const admitted = async (): Promise<void> => {
    const verdict = await new Promise<Verdict>((resolve) => {
      const known = limits.admit(call, resolve);
      if (known !== undefined) resolve(known);
    });
    if (!verdict.admitted) throw new Error('refused');
    limits.settle(verdict, { tokens: 700 });
  };
  const ping = async (): Promise<void> => {
    await client.ping();
  };

  const times = Math.round(5_000 * scale);
  await latencies(times / 5, admitted);
  const ofPing = await latencies(times, ping);
  const before = await evaluations(client);
  const ofAdmit = await latencies(times, admitted);
  const scripts = (await evaluations(client)) - before;
  const together = await throughput(64, times * 4, admitted);
  const pings = await throughput(64, times * 4, ping);
  const counters = { ...limiter.counters };
  await limiter.close();
  for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1_000 })) {
    if (keys.length > 0) await client.unlink(keys);
  }
  client.destroy();
  return [
    { what: 'redis: one PING, median', value: ofPing.median, unit: 'µs' },
    { what: 'redis: one admit of 8 pools, median', value: ofAdmit.median, unit: 'µs' },
    { what: 'redis: one admit of 8 pools, 99th of 100', value: ofAdmit.p99, unit: 'µs' },
    {
      what: 'redis: scripts a call (admit, and settle in the background)',
      value: scripts / times,
      unit: 'scripts',
      goal: '2',
    },
    { what: 'redis: admits a second, 64 at once', value: together, unit: '/s' },
    { what: 'redis: PINGs a second, 64 at once', value: pings, unit: '/s' },
    { what: 'redis: settles lost', value: counters.settlesLost, unit: '', goal: '0' },
  ];
}

async function latencies(times: number, act: () => Promise<void>): Promise<{ median: number; p99: number }> {
  const all: number[] = [];
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    await act();
    all.push((performance.now() - began) * 1000);
  }
  all.sort((a, b) => a - b);
  return { median: all[Math.floor(all.length / 2)] ?? 0, p99: all[Math.floor(all.length * 0.99)] ?? 0 };
}

async function throughput(clients: number, times: number, act: () => Promise<void>): Promise<number> {
  let left = times;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (left-- > 0) await act();
    }),
  );
  return (times * 1000) / (performance.now() - began);
}

async function evaluations(client: { info(section: string): Promise<string> }): Promise<number> {
  const stats = await client.info('commandstats');
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}
