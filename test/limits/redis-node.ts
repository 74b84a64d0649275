// One gateway's share of a test with several: clients in a closed loop against one Redis. Started as a process.
//
// Arguments: the server, the prefix, milliseconds to run, clients, and the instant to begin. Prints what was admitted.

import { rateOf } from '../../src/limits/bucket.ts';
import type { Verdict } from '../../src/limits/limiter.ts';
import {
  type Amounts,
  type Demand,
  DIMENSIONS,
  type Dimension,
  lineOf,
  Pool,
  subjectOf,
} from '../../src/limits/model.ts';
import { RedisLimiter } from '../../src/limits/redis.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { LOADS } from './redis-loads.ts';

const [url = '', prefix = '', runMs = '0', clients = '0', begin = '0'] = process.argv.slice(2);
const limiter = new RedisLimiter({
  url,
  prefix,
  whenAway: 'closed',
  node: `node-${process.pid}`,
  clock: systemClock,
  timeoutMs: 10_000,
});
if (!(await limiter.link.ready(10_000))) throw new Error('no Redis');

const admitted: Record<string, number> = {};
await pause(Number(begin) - Date.now());
const end = performance.now() + Number(runMs);
const all = Object.entries(LOADS).flatMap(([dimension, { limit, amount }]) =>
  Array.from({ length: Number(clients) }, () => client(dimension as Dimension, limit, amount)),
);
await Promise.all(all);
await limiter.close();
process.stdout.write(JSON.stringify({ admitted, lost: limiter.counters.settlesLost }));

async function client(dimension: Dimension, limit: number, amount: number): Promise<void> {
  const { quantity, periodMs } = DIMENSIONS[dimension];
  const pool = new Pool(
    subjectOf('organization', `org-${dimension}`, `org-${dimension}`),
    lineOf('organization', 'model', 'm', dimension),
    rateOf(limit, periodMs),
  );
  const amounts = [0, 0, 0, 0, 0].map((_, i) => (i === quantity ? amount : 0)) as unknown as Amounts;
  const demand: Demand = {
    requestId: 'r',
    organizationId: `org-${dimension}`,
    model: 'm',
    pools: [pool],
    amounts,
  };
  while (performance.now() < end) {
    const verdict = await new Promise<Verdict>((resolve) => {
      const known = limiter.admit(demand, resolve);
      if (known !== undefined) resolve(known);
    });
    if (verdict.admitted) {
      admitted[dimension] = (admitted[dimension] ?? 0) + amount;
      limiter.settle(verdict, {});
    } else if (verdict.reason !== 'limit') throw new Error(`the call was refused: ${verdict.reason}`);
    else await pause(Math.min(verdict.waitMs, end - performance.now()));
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
