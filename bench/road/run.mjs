// The road's benchmark: keygate beside nginx as a plain reverse proxy, beside Portkey's gateway, and beside the least
// that Node can do, in front of the same provider on the same machine in the same minutes. See docs/benchmarks.md.

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeMachine, findTools, pinSelf } from '../lib/machine.mjs';
import { fixedReply, fixedStream } from '../lib/nginx.mjs';
import { comeFirst, freePort } from '../lib/processes.mjs';
import { CHUNKS, json, stream } from './calls.mjs';
import { firstByte } from './first-byte.mjs';
import { buildKeygate } from './keygate.mjs';
import { caveats, goalTable, judge, latencyTable, ratios, throughputTable } from './report.mjs';
import { curve, soak } from './soak.mjs';
import { TARGETS } from './targets.mjs';
import { alternate, checkReply, drive } from './throughput.mjs';

const HELP = `npm run bench:road -- [options]

  --scenarios LIST    json, stream, paced (default: all three)
  --targets LIST      ${Object.keys(TARGETS).join(', ')} (default: all)
  --rounds N          rounds of alternation (default 3)
  --seconds N         seconds a target a round (default 8)
  --connections N     connections of the load generator (default 64)
  --samples N         single calls a target for the latency tables (default 300)
  --soak CALLS        instead: memory of keygate (or of --targets) over so many calls
  --patience SECONDS  wait so long in all for moments in which the core is free, and do disturbed rounds again
  --first             as root, on a machine that does other things: what is measured comes before those
  --rest SECONDS      pause before each round of a target, so that the others get their turn
  --json FILE         write everything that was measured to FILE
  --no-build          measure the build that is there
  --check             exit 1 when a goal is not met
  --help
`;

/** The core of what is measured, and the core of everything else: provider, load generator, this program. */
const CORE = 0;
const GENERATOR_CORE = 1;
const WARMUP_SECONDS = 4;
/** Between the chunks of a paced stream, and how many of those run at once. */
const GAP_MS = 10;
const PACED_CONNECTIONS = 256;
const SPACING_MS = 4;

const { values: given } = parseArgs({
  options: {
    scenarios: { type: 'string', default: 'json,stream,paced' },
    targets: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '8' },
    connections: { type: 'string', default: '64' },
    samples: { type: 'string', default: '300' },
    soak: { type: 'string' },
    patience: { type: 'string' },
    first: { type: 'boolean', default: false },
    rest: { type: 'string' },
    json: { type: 'string' },
    'no-build': { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function whole(name) {
  const value = Number(given[name]);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} takes a whole number from 1 on`);
  return value;
}

function among(name, list, known) {
  const wanted = list.split(',').map((part) => part.trim());
  const unknown = wanted.filter((part) => !known.includes(part));
  if (unknown.length > 0) throw new Error(`--${name} knows ${known.join(', ')}; not ${unknown.join(', ')}`);
  return known.filter((part) => wanted.includes(part));
}

const say = (line) => process.stderr.write(`${line}\n`);

/** Starts the provider and the targets before it, does the work, and stops them whatever happened. */
async function withTargets(names, startProvider, work) {
  const port = await freePort();
  const provider = await startProvider(port);
  const targets = [];
  try {
    for (const name of names) {
      say(`starting ${name}`);
      targets.push({ name, calls: 0, ...(await TARGETS[name]({ tools, provider: port, core: CORE, say })) });
    }
    const result = await work(targets, {
      name: 'direct',
      calls: 0,
      child: provider,
      port,
      keys: [''],
      headers: {},
    });
    for (const target of targets) await target.check?.(target.calls);
    return result;
  } finally {
    for (const target of targets) await target.child.stop();
    await provider.stop();
  }
}

const SCENARIOS = {
  json: {
    title: 'Small chat completions, whole JSON replies',
    call: json,
    each: 1,
    saturated: true,
    latency: true,
    provider: (port) => fixedReply({ program: tools.nginx, port, body: json.reply, core: GENERATOR_CORE }),
  },
  stream: {
    title: `Streamed chat completions, ${CHUNKS} chunks as fast as they go`,
    call: stream,
    each: CHUNKS,
    saturated: true,
    latency: true,
    provider: (port) => streamProvider(port, 0),
  },
  paced: {
    title: `Streamed chat completions, ${PACED_CONNECTIONS} at once, ${GAP_MS} ms between chunks`,
    call: stream,
    each: CHUNKS,
    saturated: false,
    latency: false,
    connections: PACED_CONNECTIONS,
    provider: (port) => streamProvider(port, GAP_MS),
  },
};

function streamProvider(port, gapMs) {
  const { nginx: program, echoModule } = tools;
  return fixedStream({ program, echoModule, port, events: stream.reply, gapMs, core: GENERATOR_CORE });
}

async function measure(name, targets, options) {
  const { call, provider, saturated, latency, connections = options.connections } = SCENARIOS[name];
  const load = { ...options, connections };
  return await withTargets(targets, provider, async (started, direct) => {
    const alone = await drive(direct, call, load);
    const results = await alternate(started, call, load, say);
    if (latency) say(`${name}: single calls`);
    const latencies = latency
      ? await firstByte([direct, ...started], call, { samples: options.samples, spacingMs: SPACING_MS })
      : undefined;
    return { direct: alone.perSecond, saturated, results, ratios: ratios(results), latencies };
  });
}

async function measureSoak(names, calls, options) {
  const results = {};
  for (const name of names) {
    results[name] = await withTargets([name], SCENARIOS.json.provider, async ([target], provider) => {
      await checkReply(target, json);
      return await soak(target, provider, json, calls, options, say);
    });
  }
  return results;
}

function print(report) {
  const out = [];
  const { machine } = report;
  out.push(
    `${machine.cpu}, ${machine.cores} cores; Linux ${machine.kernel}; Node ${machine.node}; nginx ${machine.nginx}`,
  );
  for (const [name, { title, each }] of Object.entries(SCENARIOS)) {
    const scenario = report[name];
    if (scenario === undefined) continue;
    out.push('', `## ${title}`, '', throughputTable(scenario.results, each));
    out.push('', `Provider alone: ${Math.round(scenario.direct * each)}/s`);
    if (scenario.latencies !== undefined)
      out.push('', 'One call at a time:', '', latencyTable(scenario.latencies));
    const said = caveats(name, scenario);
    if (said.length > 0) out.push('', ...said);
  }
  for (const [name, one] of Object.entries(report.soak ?? {})) {
    out.push('', `## Memory of ${name} over ${one.calls} calls`, '', curve(one.samples), '');
    out.push(
      `start ${one.startRssMb.toFixed(0)} MB, peak ${one.peakRssMb.toFixed(0)} MB, end ${one.endRssMb.toFixed(0)} MB, ` +
        `at rest ${one.restRssMb.toFixed(0)} MB (PSS ${one.restPssMb.toFixed(0)}); ` +
        `second half ${one.slopeMbPerMillion.toFixed(1)} MB a million calls`,
    );
  }
  if (report.goals.length > 0) out.push('', '## Goals', '', goalTable(report.goals));
  process.stdout.write(`${out.join('\n')}\n`);
}

let tools;

async function main() {
  if (given.help) {
    process.stdout.write(HELP);
    return;
  }
  const scenarios = among('scenarios', given.scenarios, Object.keys(SCENARIOS));
  const fallback = given.soak === undefined ? Object.keys(TARGETS).join(',') : 'keygate';
  const targets = among('targets', given.targets ?? fallback, Object.keys(TARGETS));
  const options = {
    rounds: whole('rounds'),
    seconds: whole('seconds'),
    connections: whole('connections'),
    samples: whole('samples'),
    warmup: WARMUP_SECONDS,
    patienceMs: given.patience === undefined ? 0 : whole('patience') * 1000,
    restMs: given.rest === undefined ? 0 : whole('rest') * 1000,
    core: CORE,
    generatorCore: GENERATOR_CORE,
  };
  const calls = given.soak === undefined ? undefined : whole('soak');
  tools = findTools(say);
  options.program = tools.wrk;
  if (targets.includes('keygate') && !given['no-build']) buildKeygate(say);
  const report = { machine: describeMachine(tools), began: new Date().toISOString(), options };
  pinSelf(tools.taskset, GENERATOR_CORE);
  if (given.first) comeFirst();
  if (calls !== undefined) report.soak = await measureSoak(targets, calls, options);
  else for (const name of scenarios) report[name] = await measure(name, targets, options);
  report.goals = judge(report);
  print(report);
  if (given.json !== undefined) writeFileSync(given.json, `${JSON.stringify(report, null, 2)}\n`);
  if (given.check && report.goals.some(({ met }) => !met)) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
