// A whole keygate for tests: the real server, on a free port, with a store in a fresh folder.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/model.ts';
import { runServer } from '../../src/main.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { readSegment } from '../../src/spend/segment/read.ts';
import type { UsageEvent } from '../../src/spend/usage.ts';
import { openStore } from '../../src/store/open.ts';

export interface TestServer {
  readonly url: string;
  readonly adminUrl: string;
  readonly adminKey: string;
  readonly projectKey: string;
  readonly organizationId: string;
  readonly projectId: string;
  readonly dataDir: string;
  /** What was logged, one JSON object a line. */
  readonly log: string[];
  readonly client: OpenAI;
  request(path: string, init?: RequestInit & { key?: string | null }): Promise<Response>;
  /** Makes a key by the Administration API. */
  createKey(body: Record<string, unknown>): Promise<{ id: string; value: string }>;
  admin(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: Record<string, unknown> }>;
  metric(name: string): Promise<number>;
  /** Stops the server; its folder stays until `remove`. */
  stop(): Promise<void>;
  /** Stops the server and gives every usage event that is in its store. */
  stopAndReadEvents(): Promise<UsageEvent[]>;
  remove(): void;
}

export interface TestServerOptions {
  /** The configuration file, as YAML text. */
  readonly yaml?: string;
  readonly flags?: Record<string, string>;
  readonly env?: Record<string, string>;
  readonly dataDir?: string;
  readonly change?: (config: Config) => Config;
}

/** YAML for one provider of everything, at `url`. */
export function oneProvider(url: string, extra = ''): string {
  return `providers:\n  mock:\n    base_url: ${url}\n    credential: env:MOCK_KEY\n    allow_private: true\n    models: ["*"]\n${extra}`;
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'keygate-test-'));
  const yaml = options.yaml;
  const { config: loaded } = loadConfig({
    flags: { host: '127.0.0.1', port: '0', data: dataDir, ...options.flags },
    // Whoever tests calls pays for them, unless the test is about that.
    env: { MOCK_KEY: 'provider-secret-1234567890', KEYGATE_SPEND_ACCOUNT: 'postpaid', ...options.env },
    readFile: () => {
      if (yaml === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      return yaml;
    },
    cwd: dataDir,
    hostname: 'test',
  });
  const config = options.change?.(loaded) ?? loaded;
  const log: string[] = [];
  const server = await runServer(config, { out: () => {}, err: (text) => log.push(text) });
  const first = server.firstStart;
  const adminKey = first?.adminKey ?? '';
  const projectKey = first?.projectKey ?? '';
  const request: TestServer['request'] = (path, { key = projectKey, ...init } = {}) => {
    const headers = new Headers(init.headers);
    if (key !== null && !headers.has('authorization')) headers.set('authorization', `Bearer ${key}`);
    if (typeof init.body === 'string' && !headers.has('content-type'))
      headers.set('content-type', 'application/json');
    return fetch(server.url + path, { ...init, headers });
  };
  const admin: TestServer['admin'] = async (method, path, body) => {
    const reply = await fetch(server.adminUrl + path, {
      method,
      headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
  };
  const stop = once(() => server.close());
  return {
    url: server.url,
    adminUrl: server.adminUrl,
    adminKey,
    projectKey,
    organizationId: first?.organizationId ?? '',
    projectId: first?.projectId ?? '',
    dataDir,
    log,
    client: new OpenAI({ baseURL: `${server.url}/v1`, apiKey: projectKey || 'none', maxRetries: 0 }),
    request,
    admin,
    async createKey(body) {
      const made = await admin('POST', `/v1/keygate/projects/${first?.projectId}/api_keys`, body);
      if (made.status !== 200) throw new Error(`no key was made: ${JSON.stringify(made.body)}`);
      return { id: String(made.body['id']), value: String(made.body['value']) };
    },
    async metric(name) {
      const reply = await fetch(`${server.adminUrl}/metrics`, {
        headers: { authorization: `Bearer ${adminKey}` },
      });
      const line = (await reply.text())
        .split('\n')
        .find((text) => text.startsWith(`${name} `) || text.startsWith(`${name}{`));
      return Number(line?.split(' ').at(-1) ?? Number.NaN);
    },
    stop,
    async stopAndReadEvents() {
      await stop();
      return await readEvents(dataDir);
    },
    remove: () => rmSync(dataDir, { recursive: true, force: true }),
  };
}

/** Every usage event in the store of a folder whose server is not running. */
export async function readEvents(dataDir: string): Promise<UsageEvent[]> {
  const store = await openStore({ dataDir, databaseUrl: null, clock: systemClock, onError: () => {} });
  try {
    const segments = await store.db.selectFrom('usage_segments').selectAll().orderBy('seq').execute();
    return segments.flatMap(readSegment);
  } finally {
    await store.close();
  }
}

function once(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | null = null;
  return () => {
    done ??= work();
    return done;
  };
}
