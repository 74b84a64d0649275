// What a million keys cost: `node bench/keys/run.mjs [--keys 1000000] [--json file]`.
//
// Makes an embedded store with that many keys of 500 projects in a temporary folder, then loads it in a process of
// its own, as a server does at its start, and measures there: seconds from an open store to the last key in the
// registry, resident memory of the whole process (all threads, database included) before, at its peak and after,
// and look-ups a second (format, checksum, SHA-256 and map; keys that exist and well-formed keys that do not).
// Exits 1 if the load takes 5 s or more, or resident memory after it is 400 MB or more. The load uses two cores; on a
// machine that is busy with other things it takes longer, and `machineLoad` says so.

import { spawn } from 'node:child_process';
import { createWriteStream, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bootstrap } from '../../src/access/bootstrap.ts';
import { createProject } from '../../src/access/store.ts';
import { digestBytes, digestKey, mintKey, parseKey, redact } from '../../src/keys/format.ts';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { newId } from '../../src/platform/ids.ts';
import { openStore } from '../../src/store/open.ts';
import { table } from '../lib/numbers.mjs';

const BOUND = { seconds: 5, megabytes: 400 };
const PROJECTS = 500;
const ROWS = 500;
/** How many plaintexts are kept aside for the look-ups. */
const SAMPLE = 100_000;

const { values } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000000' },
    json: { type: 'string' },
    load: { type: 'string' },
  },
});

if (values.load !== undefined) await load(values.load);
else await main(Number(values.keys));

async function main(keys) {
  const folder = await mkdtemp(join(tmpdir(), 'keygate-bench-keys-'));
  try {
    const filled = await fill(folder, keys);
    const measured = await inOwnProcess(folder);
    const report = {
      keys,
      fillSeconds: filled,
      ...measured,
      node: process.version,
      machineLoad: loadavg()[0],
    };
    console.log(
      table(
        ['', 'measured', 'bound'],
        [
          ['keys', measured.size, ''],
          ['load, s', measured.loadSeconds.toFixed(2), `< ${BOUND.seconds}`],
          ['load, s of CPU on all threads', measured.loadCpuSeconds.toFixed(2), ''],
          ['resident after load, MB', measured.afterMegabytes.toFixed(0), `< ${BOUND.megabytes}`],
          ['resident at the peak, MB', measured.peakMegabytes.toFixed(0), ''],
          ['resident before, MB', measured.beforeMegabytes.toFixed(0), ''],
          ['a key, bytes', measured.bytesPerKey.toFixed(0), ''],
          ['look-ups a second, found', Math.round(measured.foundPerSecond), ''],
          ['look-ups a second, unknown', Math.round(measured.unknownPerSecond), ''],
          ['refused a second, mistyped', Math.round(measured.mistypedPerSecond), ''],
        ],
      ),
    );
    const json = `${JSON.stringify(report, null, 2)}\n`;
    if (values.json === undefined) console.log(`\n${json}`);
    else writeFileSync(values.json, json);
    const within = measured.loadSeconds < BOUND.seconds && measured.afterMegabytes < BOUND.megabytes;
    if (keys >= 1_000_000 && !within) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function openAt(dataDir) {
  return openStore({
    dataDir,
    databaseUrl: null,
    clock: systemClock,
    onError: (error) => console.error(error),
  });
}

/** Fills the store in bulk, past the audit log: what is measured is the loading. Returns the seconds it took. */
async function fill(folder, keys) {
  const started = performance.now();
  const store = await openAt(folder);
  const made = await bootstrap({ store, clock: systemClock, adminKey: null });
  const by = { organizationId: made.organizationId, actor: { type: 'setup' }, at: systemClock.now() };
  const owner = await store.db.selectFrom('users').select('id').executeTakeFirstOrThrow();
  const projects = await store.write(async (tx) => {
    const ids = [];
    for (let n = 0; n < PROJECTS; n++) ids.push((await createProject(store, tx, by, { name: `p${n}` })).id);
    return ids;
  });
  const sample = createWriteStream(join(folder, 'sample.txt'));
  const every = Math.max(1, Math.floor(keys / SAMPLE));
  for (let done = 2; done < keys; ) {
    await store.write(async (tx) => {
      for (let group = 0; group < 40 && done < keys; group++) {
        const rows = Array.from({ length: Math.min(ROWS, keys - done) }, (_, n) => {
          const key = row(done + n, projects, owner.id, by);
          if ((done + n) % every === 0) sample.write(`${key.value}\n`);
          return key.row;
        });
        await tx.insertInto('api_keys').values(rows).execute();
        done += rows.length;
      }
    });
    process.stderr.write(`\rfilling: ${done} of ${keys} keys`);
  }
  process.stderr.write('\n');
  await new Promise((resolve) => sample.end(resolve));
  await store.close();
  return (performance.now() - started) / 1000;
}

/** One in ten with an account of its own; a few different lists of scopes, models and addresses, as people have. */
function row(n, projects, userId, by) {
  const ofAccount = n % 10 === 0;
  const type = ofAccount ? 'service_account' : 'project';
  const value = mintKey(type);
  const row = {
    id: newId('key_'),
    organization_id: by.organizationId,
    project_id: projects[n % PROJECTS],
    type,
    digest: digestBytes(digestKey(value)),
    redacted: redact(value),
    name: `key ${n}`,
    owner_type: ofAccount ? 'service_account' : 'user',
    owner_id: ofAccount ? newId('svc_acct_') : userId,
    scopes: n % 5 === 0 ? '["api.all.read"]' : '[]',
    models: n % 7 === 0 ? `["gpt-6-luna","model-${n % 20}"]` : null,
    addresses: n % 11 === 0 ? `["10.${n % 200}.0.0/16"]` : null,
    created_at: by.at,
    expires_at: n % 3 === 0 ? by.at + 31_536_000_000 : null,
    last_used_at: null,
    revoked_at: null,
  };
  return { row, value };
}

async function inOwnProcess(folder) {
  const child = spawn(
    process.execPath,
    [...process.execArgv, fileURLToPath(import.meta.url), '--load', folder],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  const code = child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve)));
  if (code !== 0) throw new Error(`The measuring process ended with ${code}.`);
  return JSON.parse(text);
}

async function load(folder) {
  const megabytes = () => process.memoryUsage.rss() / 1e6;
  const store = await openAt(folder);
  const beforeMegabytes = megabytes();
  const registry = new KeyRegistry({ clock: systemClock });
  const started = performance.now();
  const cpu = process.cpuUsage();
  await registry.load(store);
  const loadSeconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const atOnce = megabytes();
  const stop = registry.follow(store);
  // A few seconds of idling, as a server has: what loading left behind is collected or it is not.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const afterMegabytes = megabytes();
  const peakMegabytes = process.resourceUsage().maxRSS / 1e3;
  const known = (await readFile(join(folder, 'sample.txt'), 'utf8')).trimEnd().split('\n');
  const unknown = known.map(() => mintKey('project'));
  const mistyped = known.map((key) => key.slice(0, -1) + (key.endsWith('0') ? '1' : '0'));
  const rate = (presented, found) => {
    let best = 0;
    for (let round = 0; round < 5; round++) {
      const start = performance.now();
      let count = 0;
      for (const key of presented) if (parseKey(key).ok && registry.find(key) !== undefined) count += 1;
      if (count !== (found ? presented.length : 0)) throw new Error(`${count} of ${presented.length} found`);
      best = Math.max(best, presented.length / ((performance.now() - start) / 1000));
    }
    return best;
  };
  const report = {
    size: registry.size,
    loadSeconds,
    loadCpuSeconds: (user + system) / 1e6,
    beforeMegabytes,
    atOnceMegabytes: atOnce,
    afterMegabytes,
    peakMegabytes,
    bytesPerKey: ((afterMegabytes - beforeMegabytes) * 1e6) / registry.size,
    foundPerSecond: rate(known, true),
    unknownPerSecond: rate(unknown, false),
    mistypedPerSecond: rate(mistyped, false),
  };
  await stop();
  await store.close();
  process.stdout.write(JSON.stringify(report));
}
