// What folding a million recorded events costs the road's callers: a server whose store holds them unfolded is driven at a
// steady rate from the moment it starts, and its p99 while it folds is compared with its p99 when it is done. The server has
// the whole machine, as it would have: its threads are not pinned to the road's core.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixedReply } from '../lib/nginx.mjs';
import { median } from '../lib/numbers.mjs';
import { freePort } from '../lib/processes.mjs';
import { json } from '../road/calls.mjs';
import { drive } from '../road/throughput.mjs';
import { ask, issueKeys, mintAdmin, startServer } from './server.mjs';

const WINDOW_SECONDS = 4;
const WARM_WINDOWS = 1;
const CONNECTIONS = 32;
const PAUSE_MS = 16;
const MOST_WINDOWS = 40;
const ALL_CORES = `0-${availableParallelism() - 1}`;

export async function measureFolding({ tools, core, generatorCore, events, rounds, say }) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-fold-'));
  const port = await freePort();
  const provider = await fixedReply({ program: tools.nginx, port, body: json.reply, core: generatorCore });
  try {
    const admin = mintAdmin();
    const data = join(folder, 'recorded');
    const first = await startServer({ name: 'keygate', provider: port, core, admin, data });
    const { keys } = await issueKeys(first, admin);
    const me = await ask(first.port, admin, 'GET', '/v1/keygate/whoami');
    await first.child.stop();
    say(`recording ${events} events`);
    const recorded = record(tools, data, events, me.organization_id);
    const windows = [];
    for (let round = 1; round <= rounds; round++) {
      const copy = join(folder, `round-${round}`);
      cpSync(data, copy, { recursive: true });
      const server = await startServer({
        name: 'keygate',
        provider: port,
        core: ALL_CORES,
        admin,
        data: copy,
      });
      server.keys = keys;
      try {
        windows.push(await oneRound(server, admin, { tools, core, generatorCore, events, say, round }));
      } finally {
        await server.child.stop();
        rmSync(copy, { recursive: true, force: true });
      }
    }
    return summary(recorded, windows);
  } finally {
    await provider.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function record(tools, data, events, organization) {
  const program = [process.execPath, 'bench/spend/record.ts', '--events', String(events)];
  const args = ['-c', ALL_CORES, ...program, '--into', data, '--organization', organization];
  const out = execFileSync(tools.taskset, args, {
    cwd: join(import.meta.dirname, '../..'),
    encoding: 'utf8',
  });
  return JSON.parse(out.trim().split('\n').at(-1)).recordedSeconds;
}

/** Windows of p99 until everything is folded, and as many afterwards. */
async function oneRound(server, admin, { tools, core, generatorCore, events, say, round }) {
  const began = performance.now();
  const load = { program: tools.wrk, connections: CONNECTIONS, pauseMs: PAUSE_MS, seconds: WINDOW_SECONDS };
  const window = () => drive(server, json, { ...load, core, generatorCore });
  const folding = [];
  while ((await counted(server, admin)) < events) {
    folding.push(await window());
    if (folding.length > MOST_WINDOWS) throw new Error('the events are not folded in time');
  }
  const foldedSeconds = (performance.now() - began) / 1000;
  const after = [];
  for (let i = 0; i < Math.max(folding.length, 3) + WARM_WINDOWS; i++) after.push(await window());
  // A window in which folding ended is of both kinds; the first one is the warm-up of the just-in-time compiler.
  const during = folding.slice(WARM_WINDOWS, -1);
  const p99 = (list) => median(list.map(({ p99Ms }) => p99Ms));
  const figures = {
    foldedSeconds,
    perSecond: median(after.map(({ perSecond }) => perSecond)),
    foldingP99Ms: p99(during.length > 0 ? during : folding),
    afterP99Ms: p99(after.slice(WARM_WINDOWS)),
    foldingWindows: folding.map(({ p99Ms }) => p99Ms),
    afterWindows: after.map(({ p99Ms }) => p99Ms),
  };
  say(
    `round ${round}: folded in ${foldedSeconds.toFixed(1)} s; p99 ${figures.foldingP99Ms} ms while folding, ` +
      `${figures.afterP99Ms} ms after`,
  );
  return figures;
}

async function counted({ port }, admin) {
  const since = Math.floor(Date.now() / 86_400_000) * 86_400;
  const path = `/v1/keygate/usage?start_time=${since - 86_400}&bucket_width=1d`;
  const { data } = await ask(port, admin, 'GET', path);
  return data.flatMap(({ results }) => results).reduce((sum, { num_requests: calls }) => sum + calls, 0);
}

function summary(recordedSeconds, rounds) {
  const of = (name) => median(rounds.map((round) => round[name]));
  return {
    recordedSeconds,
    foldedSeconds: of('foldedSeconds'),
    perSecond: of('perSecond'),
    foldingP99Ms: of('foldingP99Ms'),
    afterP99Ms: of('afterP99Ms'),
    ratio: median(rounds.map(({ foldingP99Ms, afterP99Ms }) => foldingP99Ms / afterP99Ms)),
    rounds,
  };
}
