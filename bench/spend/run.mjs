// What money costs: the goals that are stated in docs/benchmarks.md, each measured on the built server or the embedded store.
//
//   road     calls a second with four levels of hard budgets against none
//   record   a million events recorded and folded, nothing else running
//   fold     the road's p99 while a million events are folded against afterwards
//   report   reports of 30 days over ten million events
//
// Prints a table, then the same as JSON on the last line.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, findTools, pinSelf } from '../lib/machine.mjs';
import { table } from '../lib/numbers.mjs';
import { buildKeygate } from '../road/keygate.mjs';
import { measureFolding } from './fold.mjs';
import { measureRoad } from './road.mjs';

const PARTS = ['road', 'record', 'fold', 'report'];
const HELP = `npm run bench:spend -- [options]

  --parts LIST    ${PARTS.join(', ')} (default: all)
  --rounds N      rounds of alternation (default 5)
  --seconds N     seconds a server a round (default 6)
  --events N      events to record and fold (default 1000000)
  --json FILE     write everything that was measured to FILE
  --no-build      measure the build that is there
  --check         exit 1 when a goal is not met
`;

const { values: given } = parseArgs({
  options: {
    parts: { type: 'string', default: PARTS.join(',') },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '6' },
    events: { type: 'string', default: '1000000' },
    json: { type: 'string' },
    'no-build': { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const ROOT = join(import.meta.dirname, '../..');
const say = (line) => process.stderr.write(`${line}\n`);

/** A piece that is a program of its own; its last line is JSON. */
function run(script, ...args) {
  say(`running ${script}`);
  const out = execFileSync(process.execPath, [`bench/spend/${script}`, ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(out.trim().split('\n').at(-1));
}

function rowsOf({ road, record, fold, report }) {
  const rows = [];
  const add = (what, found, unit, goal, met) =>
    rows.push({
      what,
      found,
      unit,
      goal,
      met,
      shown: found.toLocaleString('en-US', { maximumFractionDigits: 2 }),
    });
  if (road) {
    add('road, budgets off', road.offPerSecond, 'calls/s', '', null);
    add('road, four levels of budgets on', road.onPerSecond, 'calls/s', '', null);
    add('road, lost with budgets on', (1 - road.ratio) * 100, '%', 'at most 5', road.ratio >= 0.95);
  }
  if (record) {
    add('a usage event on disk', record.bytesAnEvent, 'bytes', 'about 200', null);
    const seconds = record.foldedSeconds * (1e6 / record.events);
    add('a million events recorded', record.recordedSeconds * (1e6 / record.events), 's', '', null);
    add('a million events recorded and in the reports', seconds, 's', 'under 60', seconds < 60);
  }
  if (fold) {
    const both = fold.recordedSeconds + fold.foldedSeconds;
    add('recorded, then folded beside calls', both, 's', 'under 60', both < 60);
    add('p99 of calls while folding', fold.foldingP99Ms, 'ms', '', null);
    add('p99 of calls when folded', fold.afterP99Ms, 'ms', '', null);
    add('p99, slower while folding', (fold.ratio - 1) * 100, '%', 'at most 20', fold.ratio <= 1.2);
  }
  for (const { path, p50Ms, worstMs, results } of report?.reports ?? []) {
    const isCost = path.startsWith('costs');
    add(
      `${path}: ${results} results, p50`,
      p50Ms,
      'ms',
      isCost ? 'under 100' : '',
      isCost ? p50Ms < 100 : null,
    );
    add('  worst of 20', worstMs, 'ms', '', null);
  }
  return rows;
}

async function main() {
  if (given.help) return process.stdout.write(HELP);
  const parts = given.parts.split(',');
  const unknown = parts.filter((part) => !PARTS.includes(part));
  if (unknown.length > 0) throw new Error(`--parts knows ${PARTS.join(', ')}; not ${unknown.join(', ')}`);
  const tools = findTools(say);
  const machine = describeMachine(tools);
  if (!given['no-build'] && (parts.includes('road') || parts.includes('fold'))) buildKeygate(say);
  const shared = { tools, core: 0, generatorCore: 1, say };
  const [rounds, seconds, events] = [given.rounds, given.seconds, given.events].map(Number);
  const found = {};
  if (parts.includes('record')) found.record = run('record.ts', '--events', given.events);
  if (parts.includes('report')) found.report = run('report.ts');
  // From here on this program shares the load generator's core.
  pinSelf(tools.taskset, shared.generatorCore);
  if (parts.includes('road')) found.road = await measureRoad({ ...shared, rounds, seconds });
  if (parts.includes('fold'))
    found.fold = await measureFolding({ ...shared, events, rounds: Math.min(rounds, 3) });
  const rows = rowsOf(found);
  const lines = rows.map(({ what, shown, unit, goal, met }) => [
    what,
    `${shown} ${unit}`,
    goal,
    met === null ? '' : met ? 'met' : 'NOT MET',
  ]);
  process.stdout.write(`${table(['', 'found', 'goal', ''], lines)}\n`);
  const report = { bench: 'spend', machine, rows, ...found };
  process.stdout.write(`${JSON.stringify(report)}\n`);
  if (given.json !== undefined) writeFileSync(given.json, `${JSON.stringify(report, null, 2)}\n`);
  if (given.check && rows.some(({ met }) => met === false)) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
