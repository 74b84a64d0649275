import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { proxyTo, type TestProxy } from '../limits/proxy.ts';
import { REDIS_URL } from '../limits/redis.ts';
import { type Called, chat, type Limited, startLimited, tier } from './servers.ts';

const TABLE = tier('gpt-4o: { requests_per_minute: 20 }');
const opened: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close();
});

async function start(whenAway: 'closed' | 'open', url: string): Promise<Limited> {
  const limited = await startLimited(TABLE, {
    env: { KEYGATE_REDIS_URL: url, KEYGATE_LIMITS_WHEN_AWAY: whenAway },
  });
  opened.push(limited);
  return limited;
}

async function proxied(): Promise<TestProxy> {
  const proxy = await proxyTo(REDIS_URL);
  opened.push(proxy);
  return proxy;
}

const ready = async ({ server }: Limited) => {
  const reply = await server.request('/readyz');
  return { status: reply.status, body: (await reply.json()) as { reason?: string } };
};
const up = ({ server }: Limited) => server.metric('keygate_limits_redis_up');
const burst = (limited: Limited, count: number) =>
  Promise.all(Array.from({ length: count }, () => chat(limited.server)));
const passed = (calls: readonly Called[]) => calls.filter(({ status }) => status === 200).length;
const told = ({ server }: Limited, words: string) => server.log.filter((line) => line.includes(words));

describe('a server whose Redis goes away', () => {
  test('closed: calls are answered 503 that says so, /readyz says it too, and both end when it is back', async () => {
    const proxy = await proxied();
    const limited = await start('closed', proxy.url);
    expect((await chat(limited.server)).status).toBe(200);
    expect(await up(limited)).toBe(1);
    expect((await ready(limited)).status).toBe(200);

    proxy.cut();
    await vi.waitFor(async () => expect(await up(limited)).toBe(0));
    const away = await chat(limited.server);
    expect(away.status).toBe(503);
    expect(away.error).toMatchObject({ code: 'service_unavailable' });
    expect(away.error?.message).toContain('The rate limits cannot be checked at the moment');
    expect(away.headers.get('retry-after')).toBe('1');
    expect(await ready(limited)).toMatchObject({
      status: 503,
      body: { reason: expect.stringContaining('the Redis server of the rate limits does not answer') },
    });
    expect(told(limited, 'the Redis server is away')).toHaveLength(1);
    // Administration goes on meanwhile; what is in the pools is not known.
    const view = await limited.server.admin('GET', '/v1/keygate/limits?model=gpt-4o');
    expect(view.body).toMatchObject({ state: 'unknown', data: [{ limit: 20, used: null, remaining: null }] });

    proxy.restore();
    await vi.waitFor(async () => expect((await chat(limited.server)).status).toBe(200), { timeout: 15_000 });
    expect((await ready(limited)).status).toBe(200);
    expect(await up(limited)).toBe(1);
    expect(told(limited, 'the Redis server answers')).toHaveLength(2);
    expect(await limited.server.metric('keygate_limits_redis_changes_total')).toBe(3);
    expect(limited.server.log.join()).not.toContain(new URL(REDIS_URL).password || 'never-logged');
  });

  test('open: this node keeps its share of each limit, and the server decides again when it is back', async () => {
    const proxy = await proxied();
    const limited = await start('open', proxy.url);
    expect((await chat(limited.server)).status).toBe(200);
    proxy.cut();
    await vi.waitFor(async () => expect(await up(limited)).toBe(0));
    expect((await ready(limited)).status).toBe(200);
    const calls = await burst(limited, 30);
    const nodes = await limited.server.metric('keygate_limits_nodes');
    const share = Math.floor(20 / nodes);
    expect(passed(calls)).toBeGreaterThanOrEqual(share);
    expect(passed(calls)).toBeLessThanOrEqual(share + 1);
    const refusal = calls.find(({ status }) => status !== 200);
    expect(refusal?.status).toBe(429);
    expect(refusal?.error?.message).toContain(`requests per min (RPM): Limit ${share}`);

    proxy.restore();
    await vi.waitFor(async () => expect(await up(limited)).toBe(1), { timeout: 15_000 });
    // The server's bucket has nineteen left: one call was counted there.
    const later = await burst(limited, 30);
    expect(passed(later)).toBeGreaterThanOrEqual(19);
    expect(passed(later)).toBeLessThanOrEqual(21);
    const refused = later.find(({ status }) => status === 429);
    expect(refused?.error?.message).toContain('requests per min (RPM): Limit 20');
  });

  test('a server that takes the connection and says nothing holds no call up for long', async () => {
    const proxy = await proxied();
    const limited = await start('closed', proxy.url);
    await chat(limited.server);
    proxy.silence();
    const began = performance.now();
    const calls = await burst(limited, 10);
    expect(performance.now() - began).toBeLessThan(2_000);
    expect(calls.map(({ status }) => status)).toEqual(new Array(10).fill(503));
  });

  test('one that is not there at the start is waited for, in the background', async () => {
    const proxy = await proxied();
    proxy.cut();
    const limited = await start('closed', proxy.url);
    expect((await chat(limited.server)).status).toBe(503);
    proxy.restore();
    await vi.waitFor(async () => expect((await chat(limited.server)).status).toBe(200), { timeout: 15_000 });
  });
});

const program = ['valkey-server', 'redis-server'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);

describe.skipIf(program === undefined)('a Redis that is killed', () => {
  test('and started again, empty, is used again without a restart of the gateway', async () => {
    const port = await freePort();
    let redis = startRedis(port);
    opened.push({ close: () => redis.kill() });
    await redis.ready;
    const limited = await start('closed', `redis://127.0.0.1:${port}`);
    expect([20, 21]).toContain(passed(await burst(limited, 30)));
    await redis.kill();
    await vi.waitFor(async () => expect((await chat(limited.server)).status).toBe(503));
    redis = startRedis(port);
    await redis.ready;
    await vi.waitFor(async () => expect((await chat(limited.server)).status).toBe(200), { timeout: 15_000 });
    // It knows nothing of what was used before: the bucket is full but for that call and the ones just tried.
    expect([19, 20]).toContain(passed(await burst(limited, 30)));
  });
});

interface Private {
  readonly ready: Promise<void>;
  /** With SIGKILL, and waits for its end. */
  kill(): Promise<void>;
}

function startRedis(port: number): Private {
  const folder = mkdtempSync(join(tmpdir(), 'keygate-redis-'));
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    folder,
  ];
  const child = spawn(program ?? '', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(child, 'exit');
  const ready = new Promise<void>((resolve) => {
    child.stdout.on('data', (text: Buffer) => {
      if (/ready to accept connections/i.test(text.toString())) resolve();
    });
  });
  return {
    ready,
    async kill() {
      child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
