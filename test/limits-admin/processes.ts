// Gateways as processes of their own, as people run them, on one PostgreSQL and one Redis.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createClient } from '@redis/client';
import { vi } from 'vitest';
import { mintKey } from '../../src/keys/format.ts';
import { REDIS_URL } from '../limits/redis.ts';
import { freshPostgres } from '../store/stores.ts';

export interface Gateways {
  readonly urls: readonly string[];
  readonly organizationId: string;
  readonly projectId: string;
  readonly projectKey: string;
  admin(node: number, method: string, path: string, body?: unknown): Promise<Record<string, unknown>>;
  close(): Promise<void>;
}

const COMMAND = fileURLToPath(new URL('../../src/cli/keygate.ts', import.meta.url));

export async function startGateways(count: number, yaml: string): Promise<Gateways> {
  const place = await freshPostgres();
  const folder = mkdtempSync(join(tmpdir(), 'keygate-nodes-'));
  const file = join(folder, 'keygate.yaml');
  writeFileSync(file, yaml);
  const adminKey = mintKey('admin');
  const children: ChildProcess[] = [];
  const env = {
    ...process.env,
    KEYGATE_DATABASE_URL: place.databaseUrl?.reveal() ?? '',
    KEYGATE_REDIS_URL: REDIS_URL,
    KEYGATE_BOOTSTRAP_ADMIN_KEY: adminKey,
    // A machine that runs other tests beside these must not look like a Redis that is away.
    KEYGATE_LIMITS_REDIS_TIMEOUT: '10s',
    MOCK_KEY: 'provider-secret-1234567890',
    KEYGATE_SPEND_ACCOUNT: 'postpaid',
  };
  const urls: string[] = [];
  for (let node = 0; node < count; node++) {
    const args = [COMMAND, 'serve', '--config', file, '--port', '0', '--data', folder];
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(child);
    urls.push(await urlOf(child));
  }
  const admin: Gateways['admin'] = async (node, method, path, body) => {
    const reply = await fetch(`${urls[node]}${path}`, {
      method,
      headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const parsed = (await reply.json()) as Record<string, unknown>;
    if (reply.status !== 200) throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(parsed)}`);
    return parsed;
  };
  const projects = (await admin(0, 'GET', '/v1/organization/projects'))['data'] as { id: string }[];
  const projectId = projects[0]?.id ?? '';
  const made = await admin(0, 'POST', `/v1/keygate/projects/${projectId}/api_keys`, { name: 'load' });
  const projectKey = String(made['value']);
  for (const url of urls) {
    await vi.waitFor(async () => {
      const reply = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${projectKey}` } });
      if (reply.status !== 200) throw new Error(`${url} does not know the key`);
    });
  }
  const whoami = await admin(0, 'GET', '/v1/keygate/whoami');
  const organizationId = String(whoami['organization_id']);
  return {
    urls,
    organizationId,
    projectId,
    projectKey,
    admin,
    async close() {
      for (const child of children) {
        const ended = once(child, 'exit');
        child.kill('SIGTERM');
        await ended;
      }
      await removePools(organizationId);
      await place.remove();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function urlOf(child: ChildProcess): Promise<string> {
  let said = '';
  return await new Promise((resolve, reject) => {
    const listen = (text: Buffer): void => {
      said += text.toString();
      const url = /listens on (http:\/\/[\d.:]+)/.exec(said)?.[1];
      if (url !== undefined) resolve(url);
    };
    child.stdout?.on('data', listen);
    child.stderr?.on('data', listen);
    child.on('exit', (code) => reject(new Error(`the gateway ended with ${code}:\n${said}`)));
  });
}

async function removePools(organizationId: string): Promise<void> {
  const client = await createClient({ url: REDIS_URL }).connect();
  for await (const keys of client.scanIterator({
    MATCH: `keygate:limits:{${organizationId}}*`,
    COUNT: 1_000,
  })) {
    if (keys.length > 0) await client.unlink(keys);
  }
  client.destroy();
}
