// `kill -9` under load, again and again: what was acknowledged is there, and what was revoked stays revoked.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { mintKey } from '../../src/keys/format.ts';
import { readEvents } from '../harness/server.ts';
import { completion, sendJson, startUpstream } from '../harness/upstream.ts';

const ROUNDS = 20;
const CALLERS = 8;
const folder = mkdtempSync(join(tmpdir(), 'keygate-kill-'));
const dataDir = join(folder, 'data');
const adminKey = mintKey('admin');

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Server {
  readonly url: string;
  kill(): Promise<void>;
}

async function start(config: string): Promise<Server> {
  const command = fileURLToPath(new URL('../../src/cli/keygate.ts', import.meta.url));
  const child = spawn(
    process.execPath,
    [command, 'serve', '--port', '0', '--data', dataDir, '--config', config],
    {
      env: { PATH: process.env['PATH'] ?? '', KEYGATE_BOOTSTRAP_ADMIN_KEY: adminKey, KEYGATE_ENGINE: '1' },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  const url = await listening(child);
  return {
    url,
    kill: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGKILL');
      }),
  };
}

/** The address that the server logs when it listens. */
function listening(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let log = '';
    child.stderr?.on('data', (data: Buffer) => {
      log += data.toString();
      const url = /"url":"([^"]+)"/.exec(log)?.[1];
      if (url !== undefined) resolve(url);
    });
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${log}`)));
  });
}

interface Made {
  readonly id: string;
  readonly value: string;
}

async function api(
  url: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<Record<string, unknown> | null> {
  const reply = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const value = (await reply.json()) as Record<string, unknown>;
  return reply.ok ? value : null;
}

async function recordedNow(url: string): Promise<number> {
  const reply = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminKey}` } });
  return Number(/^keygate_usage_events_recorded_total (\d+)/m.exec(await reply.text())?.[1] ?? 0);
}

describe('kill -9 under load', () => {
  it(`loses nothing that was acknowledged, ${ROUNDS} times in a row`, async () => {
    const upstream = await startUpstream((_asked, response) => sendJson(response, 200, completion('x')));
    const config = join(folder, 'keygate.yaml');
    writeFileSync(
      config,
      `providers: {mock: {base_url: "${upstream.url}", credential: none, allow_private: true, models: ["*"]}}\nspend: {account: postpaid}\n`,
    );
    const alive: Made[] = [];
    const revoked: Made[] = [];
    let recorded = 0;
    let projectId = '';
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const server = await start(config);
        if (projectId === '') {
          const projects = await api(server.url, 'GET', '/v1/organization/projects');
          const list = projects?.['data'] as { id: string }[];
          projectId = list[0]?.id ?? '';
        }
        await checkKeys(server.url, alive, revoked);
        const keys = `/v1/keygate/projects/${projectId}/api_keys`;
        const first = (await api(server.url, 'POST', keys, { name: 'load' })) as unknown as Made;
        alive.push(first);
        let over = false;
        const call = async (): Promise<void> => {
          while (!over) {
            await fetch(`${server.url}/v1/chat/completions`, {
              method: 'POST',
              headers: { authorization: `Bearer ${first.value}`, 'content-type': 'application/json' },
              body: JSON.stringify({ model: `round-${round}`, messages: [{ role: 'user', content: 'hi' }] }),
            }).then(
              (reply) => reply.arrayBuffer(),
              () => {},
            );
          }
        };
        // Keys are made and revoked all the while: what is pushed here was acknowledged.
        const manage = async (): Promise<void> => {
          while (!over) {
            const made = (await api(server.url, 'POST', keys, { name: `r${round}` }).catch(
              () => null,
            )) as Made | null;
            if (made === null) continue;
            alive.push(made);
            if (alive.length % 2 === 0) continue;
            const gone = await api(
              server.url,
              'DELETE',
              `/v1/organization/projects/${projectId}/api_keys/${made.id}`,
            ).catch(() => null);
            // A revocation whose answer was lost may or may not have happened: then nothing is said about this key.
            alive.splice(alive.indexOf(made), 1);
            if (gone !== null) revoked.push(made);
          }
        };
        const work = [...Array.from({ length: CALLERS }, call), manage()];
        const goal = 20 + ((round * 37) % 160);
        let seen = 0;
        while (seen < goal) seen = await recordedNow(server.url);
        recorded += seen;
        over = true;
        await server.kill();
        await Promise.all(work);
      }
      const last = await start(config);
      await checkKeys(last.url, alive, revoked);
      await last.kill();
    } finally {
      await upstream.close();
    }
    const events = await readEvents(dataDir);
    expect(events.length).toBeGreaterThanOrEqual(recorded);
    expect(events.length).toBeLessThanOrEqual(upstream.asked.length);
    expect(new Set(events.map((event) => event.requestId)).size).toBe(events.length);
    expect(revoked.length).toBeGreaterThan(ROUNDS / 2);
  }, 240_000);
});

async function checkKeys(url: string, alive: readonly Made[], revoked: readonly Made[]): Promise<void> {
  const status = async (key: Made): Promise<number> =>
    (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key.value}` } })).status;
  for (const key of alive) expect(await status(key)).toBe(200);
  for (const key of revoked) expect(await status(key)).toBe(401);
}
