// The cost of rate limits: `node bench/limits/run.ts`. Prints a table, then the same as JSON on the last line.
//
//   --quick      a tenth of everything, for a look
//   --no-redis   without the part that needs a server (KEYGATE_TEST_REDIS_URL, default redis://127.0.0.1:6379)

import { parseArgs } from 'node:util';
import { measureCalls } from './calls.ts';
import { measurePools } from './pools.ts';
import { measureRedis } from './redis.ts';
import type { Row } from './row.ts';

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, 'no-redis': { type: 'boolean', default: false } },
});
const scale = values.quick ? 0.1 : 1;

const rows: Row[] = [...measureCalls(scale), ...measurePools(scale)];
if (!values['no-redis']) rows.push(...(await measureRedis(scale)));

for (const { what, value, unit, goal } of rows) {
  const figure = value.toLocaleString('en-US', { maximumFractionDigits: 2 });
  console.log(`${what.padEnd(72)} ${figure.padStart(14)} ${unit.padEnd(12)} ${goal ?? ''}`);
}
console.log(JSON.stringify({ bench: 'limits', node: process.version, rows }));
