// The memory limiter, full: bytes of a bucket, how long a new one takes, and how many are left when they are full again.

import { rateOf } from '../../src/limits/bucket.ts';
import { MemoryLimiter } from '../../src/limits/memory.ts';
import { type Demand, lineOf, Pool, subjectOf } from '../../src/limits/model.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import type { Row } from './row.ts';

export function measurePools(scale: number): Row[] {
  const wanted = Math.round(10_000_000 * scale);
  const clock = new ManualClock();
  const limiter = new MemoryLimiter({ clock });
  const line = lineOf('end_user', 'all', 'all', 'requests_per_day');
  const rate = rateOf(1_000, 86_400_000);
  const took = new Float32Array(wanted);
  const before = memory();
  const began = performance.now();
  for (let i = 0; i < wanted; i++) {
    const start = performance.now();
    limiter.admit(demandOf(new Pool(subjectOf('end_user', `proj_1:user-${i}`, 'org-1'), line, rate)));
    took[i] = performance.now() - start;
  }
  const each = ((performance.now() - began) * 1000) / wanted;
  const held = limiter.pools;
  const after = memory();
  const rss = after.rss - before.rss;
  const arrays = after.arrays - before.arrays;

  // A day later all of them are full: calls of one caller let go of them as they pass.
  clock.advance(86_400_000);
  const one = new Pool(subjectOf('end_user', 'proj_1:one', 'org-1'), line, rateOf(1_000_000_000, 86_400_000));
  let calls = 0;
  while (limiter.pools > 1_000 && calls < wanted * 4) {
    limiter.admit(demandOf(one));
    calls++;
  }
  return [
    {
      what: `memory: buckets held (of ${wanted.toLocaleString('en-US')} callers with one each)`,
      value: held,
      unit: 'buckets',
    },
    { what: 'memory: arrays a bucket', value: arrays / held, unit: 'bytes' },
    { what: 'memory: resident memory a bucket', value: rss / held, unit: 'bytes' },
    { what: 'memory: resident memory of all', value: rss / 2 ** 20, unit: 'MiB' },
    { what: 'memory: a call that makes a new bucket', value: each, unit: 'µs' },
    {
      what: 'memory: such a call, 99.99th of 100 (one in 900 makes a shard grow)',
      value: (took.sort()[Math.floor(wanted * 0.9999)] ?? 0) * 1000,
      unit: 'µs',
    },
    { what: 'memory: calls until full buckets are gone, a bucket', value: calls / held, unit: 'calls' },
    { what: 'memory: arrays left then', value: limiter.bytes / 2 ** 20, unit: 'MiB' },
  ];
}

function demandOf(pool: Pool): Demand {
  return { requestId: '', organizationId: 'org-1', model: null, pools: [pool], amounts: [1, 0, 0, 0, 0] };
}

function memory(): { rss: number; arrays: number } {
  const { rss, arrayBuffers } = process.memoryUsage();
  return { rss, arrays: arrayBuffers };
}
