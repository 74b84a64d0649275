// keygate as the program under measurement: built from this tree, with a store of its own in a temporary folder,
// one provider, rate limits that are kept and never reached, and the project keys that the clients use. Authentication,
// authorization and metering are on, because they cannot be turned off; `check` proves it on the server that was measured.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort, listening, start } from '../lib/processes.mjs';
import { KEYS } from './calls.mjs';

const ROOT = join(import.meta.dirname, '../..');
const PROGRAM = join(ROOT, 'dist/cli/keygate.js');

/** Builds the tree, so that what is measured is what stands in it. */
export function buildKeygate(say) {
  say('building keygate');
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
}

const mint = (type) =>
  /sk-\S+/.exec(
    execFileSync(process.execPath, [PROGRAM, 'keys', 'mint', '--type', type], { encoding: 'utf8' }),
  )?.[0];

async function call(port, key, method, path, body) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, text };
}

async function must(port, key, method, path, body) {
  const { status, text } = await call(port, key, method, path, body);
  if (status >= 300)
    throw new Error(`keygate answered ${status} to ${method} ${path}: ${text.slice(0, 500)}`);
  return text;
}

/** Calls whose usage is durable, once the recorder has caught up with `expected` or ten seconds have gone by. */
async function recorded(port, admin, expected) {
  let found = 0;
  for (let i = 0; i < 50 && found < expected; i++) {
    if (i > 0) await delay(200);
    const text = await must(port, admin, 'GET', '/metrics');
    found = Number(/^keygate_usage_events_recorded_total (\d+)/m.exec(text)?.[1]);
  }
  return found;
}

export async function startKeygate({ provider, core }) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-keygate-'));
  const file = join(folder, 'keygate.yaml');
  writeFileSync(
    file,
    `providers:
  bench:
    base_url: http://127.0.0.1:${provider}/v1
    credential: none
    allow_private: true
    models: ["*"]
spend: {account: postpaid}
limits:
  tiers:
    - name: wide
      limits:
        "*": {requests_per_minute: 1000000000, tokens_per_minute: 1000000000000}
`,
  );
  const admin = mint('admin');
  const port = await freePort();
  const args = [
    PROGRAM,
    'serve',
    '--host',
    '127.0.0.1',
    '--port',
    String(port),
    '--data',
    join(folder, 'data'),
    '--config',
    file,
  ];
  const child = start('keygate', process.execPath, args, {
    core,
    cwd: folder,
    env: { KEYGATE_BOOTSTRAP_ADMIN_KEY: admin, NODE_ENV: 'production' },
  });
  const stop = child.stop;
  child.stop = async () => {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  };
  await listening(port, child);
  const projects = JSON.parse(await must(port, admin, 'GET', '/v1/organization/projects'));
  const project = projects.data[0].id;
  const issuing = `/v1/keygate/projects/${project}/api_keys`;
  const keys = [];
  for (let i = 0; i < KEYS; i++) {
    keys.push(JSON.parse(await must(port, admin, 'POST', issuing, { name: `bench ${i}` })).value);
  }

  /** Throws unless the server refuses a key that it did not issue, and has recorded the calls that were made. */
  const check = async (calls) => {
    const stranger = await call(port, mint('project'), 'POST', '/v1/chat/completions', {
      model: 'x',
      messages: [],
    });
    if (stranger.status !== 401)
      throw new Error(`keygate answered ${stranger.status} to a key that it never issued`);
    const found = await recorded(port, admin, calls);
    // wrk leaves off in the middle of calls, which keygate records too: there may be more, never fewer.
    if (!(found >= calls)) throw new Error(`keygate recorded ${found} of ${calls} calls`);
  };
  return { child, port, keys, headers: {}, check };
}
