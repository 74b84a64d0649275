// keygate as a process under measurement, with prices for its provider and, where wanted, four levels of hard budgets above
// every call: organization, project, each API key, each end user. None of them is ever reached.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, listening, start } from '../lib/processes.mjs';
import { KEYS } from '../road/calls.mjs';

const ROOT = join(import.meta.dirname, '../..');
const PROGRAM = join(ROOT, 'dist/cli/keygate.js');
/** A million dollars, in cents. */
const LIMIT = 100_000_000;

const configuration = (provider) => `providers:
  bench:
    base_url: http://127.0.0.1:${provider}/v1
    credential: none
    allow_private: true
    models: ["*"]
spend: {account: postpaid}
prices:
  - {provider: bench, models: ["*"], input: "0.15", cached_input: "0.075", output: "0.60"}
limits:
  tiers:
    - name: wide
      limits:
        "*": {requests_per_minute: 1000000000, tokens_per_minute: 1000000000000}
`;

export const mintAdmin = () =>
  /sk-\S+/.exec(
    execFileSync(process.execPath, [PROGRAM, 'keys', 'mint', '--type', 'admin'], { encoding: 'utf8' }),
  )[0];

export async function ask(port, key, method, path, body) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (response.status >= 300)
    throw new Error(`keygate answered ${response.status} to ${method} ${path}: ${text.slice(0, 500)}`);
  return JSON.parse(text);
}

/** Starts keygate on `data`, a folder of its own if none is given, which is then removed at its end. */
export async function startServer({ name, provider, core, admin, data }) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-keygate-'));
  const file = join(folder, 'keygate.yaml');
  writeFileSync(file, configuration(provider));
  const port = await freePort();
  const at = ['--host', '127.0.0.1', '--port', String(port)];
  const args = [PROGRAM, 'serve', ...at, '--data', data ?? join(folder, 'data'), '--config', file];
  const child = start(name, process.execPath, args, {
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
  return { name, child, port, headers: {}, calls: 0, keys: [] };
}

/** The first project, and keys in it for the clients. */
export async function issueKeys({ port }, admin) {
  const project = (await ask(port, admin, 'GET', '/v1/organization/projects')).data[0].id;
  const keys = [];
  for (let i = 0; i < KEYS; i++)
    keys.push(
      (await ask(port, admin, 'POST', `/v1/keygate/projects/${project}/api_keys`, { name: `bench ${i}` }))
        .value,
    );
  return { project, keys };
}

export async function setBudgets({ port }, admin, project) {
  for (const owner of [
    { scope: 'organization' },
    { scope: 'project', project_id: project, scope_id: project },
    { scope: 'api_key', project_id: project, scope_id: '*' },
    { scope: 'end_user', project_id: project, scope_id: '*' },
  ])
    await ask(port, admin, 'POST', '/v1/keygate/budgets', { ...owner, threshold_amount: LIMIT });
}

/** What the budgets have settled so far, in dollars: proof that they were on. */
export async function settled({ port }, admin) {
  const { data } = await ask(port, admin, 'GET', '/v1/keygate/budgets');
  return Math.max(0, ...data.map(({ current }) => Number(current?.spent ?? 0)));
}
