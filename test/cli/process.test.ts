// The command as people run it: processes of its own, against a server of its own with a store in a temporary folder.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mintKey } from '../../src/keys/format.ts';

const BIN = fileURLToPath(new URL('../../src/cli/keygate.ts', import.meta.url));

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keygate-cli-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

class Running {
  out = '';
  err = '';
  readonly child: ChildProcess;
  readonly ended: Promise<Ran>;

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    const child = spawn(process.execPath, [BIN, ...args], {
      cwd: folder,
      env: { PATH: process.env['PATH'], KEYGATE_PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.err += text;
    });
    this.child = child;
    this.ended = once(child, 'close').then(([code]) => ({ code, out: this.out, err: this.err }));
  }

  /** What `pattern` captures of standard output, as soon as it is there. */
  async says(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.out);
      if (found) return found[1] ?? '';
      const over = await Promise.race([
        this.ended,
        once(this.child.stdout ?? this.child, 'data').then(() => null),
      ]);
      if (over) throw new Error(`ended with ${over.code} before it said ${pattern}: ${over.out}${over.err}`);
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ran> {
    this.child.kill(signal);
    return await this.ended;
  }
}

const keygate = (args: string[], env: Record<string, string>) => new Running(args, env).ended;

const SECRET = /sk-(proj|admin)-[0-9A-Za-z]{20,}/;

describe('a server and its command line', () => {
  test('from the first start to the second: keys made, used, revoked and kept, no secret shown twice', async () => {
    const server = new Running(['serve', '--data', 'store']);
    const url = await server.says(/listens on (\S+);/);
    const key = await server.says(/OPENAI_API_KEY=(\S+)/);
    const adminKey = await server.says(/KEYGATE_ADMIN_KEY=(\S+)\n/);
    const admin = { KEYGATE_URL: url, KEYGATE_ADMIN_KEY: adminKey };
    const client = { OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: key };

    const models = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
    expect(models.status).toBe(200);
    const called = await keygate(['call', 'Say', 'hello'], client);
    expect(called).toMatchObject({ code: 0, err: '' });
    expect(called.out.length).toBeGreaterThan(10);
    const whole = JSON.parse((await keygate(['call', '--json', 'Say hello'], client)).out);
    expect(`${whole.choices[0].message.content}\n`).toBe(called.out);
    expect(await keygate(['call', '--model', 'nope', 'hi'], client)).toMatchObject({ code: 1, out: '' });

    const options = ['--scope', 'api.model.request', '--model', 'sandbox-small', '--address', '127.0.0.0/8'];
    const made = JSON.parse(
      (await keygate(['keys', 'create', 'ci', ...options, '--expires', '1h', '--json'], admin)).out,
    );
    expect(made).toMatchObject({ name: 'ci', scopes: ['api.model.request'], models: ['sandbox-small'] });
    const narrow = { ...client, OPENAI_API_KEY: made.value };
    expect(await keygate(['call', 'hi'], narrow)).toMatchObject({ code: 0 });
    expect(await keygate(['call', '--model', 'sandbox-large', 'hi'], narrow)).toMatchObject({ code: 1 });
    const shown = JSON.parse((await keygate(['keys', 'show', made.id, '--json'], admin)).out);
    expect(shown).toMatchObject({ id: made.id, name: 'ci' });
    expect(shown.value).toBeUndefined();
    expect(await keygate(['keys', 'revoke', made.id], admin)).toMatchObject({
      code: 0,
      out: `Revoked ${made.id}.\n`,
    });
    expect(await keygate(['call', 'hi'], narrow)).toMatchObject({
      code: 1,
      err: expect.stringContaining('(401'),
    });

    const forJobs = await keygate(['keys', 'create', '--service-account', 'jobs', '-q'], admin);
    expect(forJobs.out).toMatch(/^sk-svcacct-\w+\n$/);
    expect(await keygate(['call', 'hi'], { ...client, OPENAI_API_KEY: forJobs.out })).toMatchObject({
      code: 0,
    });
    const again = await keygate(['keys', 'create', 'second', '--service-account', 'jobs', '--json'], admin);
    expect(JSON.parse(again.out).value).toMatch(/^sk-svcacct-/);
    const ops = JSON.parse((await keygate(['keys', 'create', 'ops', '--admin', '--json'], admin)).out);
    const asOps = { ...admin, KEYGATE_ADMIN_KEY: ops.value };
    expect(await keygate(['projects', 'create', 'Search'], asOps)).toMatchObject({ code: 0 });
    expect(await keygate(['keys', 'revoke', '--admin', ops.id], admin)).toMatchObject({ code: 0 });
    expect(await keygate(['projects', 'list'], asOps)).toMatchObject({ code: 1 });

    expect(await server.stop()).toMatchObject({ code: 0, err: expect.stringContaining('Stopping') });
    expect(server.err).not.toMatch(SECRET);

    const second = new Running(['serve', '--data', 'store']);
    const newUrl = await second.says(/listens on (\S+);/);
    const list = await keygate(['keys', 'list', '-p', 'Default project', '--json'], {
      ...admin,
      KEYGATE_URL: newUrl,
    });
    const names = JSON.parse(list.out).data.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(['First project key', 'second']));
    expect(await keygate(['call', 'hi'], { ...client, OPENAI_BASE_URL: newUrl })).toMatchObject({ code: 0 });
    await second.stop('SIGINT');
    expect(second.out + second.err).not.toMatch(SECRET);
  }, 120_000);

  test('an admin key made offline is the first one of a server that is given it, and none is shown', async () => {
    const minted = (await keygate(['keys', 'mint', '--type', 'admin'], {})).out;
    await writeFile(join(folder, 'admin.key'), minted);
    const env = { KEYGATE_BOOTSTRAP_ADMIN_KEY_FILE: 'admin.key', KEYGATE_ADMIN_PORT: '0' };
    const server = new Running(['serve', '--data', 'given'], env);
    const adminUrl = await server.says(/administration on (\S+);/);
    const admin = { KEYGATE_URL: adminUrl, KEYGATE_ADMIN_KEY: minted.trim() };
    expect(await keygate(['projects', 'list'], admin)).toMatchObject({ code: 0 });
    const { code, out, err } = await server.stop();
    expect(code).toBe(0);
    expect(out + err).not.toMatch(SECRET);
  }, 60_000);

  test('a port that is taken: one sentence and exit code 78', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const { code, err } = await keygate(['serve', '--data', 'taken', '--port', String(port)], {});
    other.close();
    expect(code).toBe(78);
    expect(err).toMatch(new RegExp(`^127\\.0\\.0\\.1:${port} is in use[^\\n]*\\n$`));
  }, 60_000);

  test('a store that another server has open: one sentence and exit code 78', async () => {
    const server = new Running(['serve', '--data', 'locked']);
    await server.says(/listens on (\S+);/);
    const { code, err } = await keygate(['serve', '--data', 'locked'], {});
    await server.stop();
    expect(code).toBe(78);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
    expect(err).toContain('locked');
  }, 60_000);

  test('a configuration that cannot be used starts nothing and leaves nothing behind', async () => {
    const before = await readdir(folder);
    const { code, out, err } = await keygate(['serve', '--data', 'never'], { KEYGATE_IDLE_TIMEOUT: '60' });
    expect({ code, out }).toEqual({ code: 78, out: '' });
    expect(err).toMatch(/^KEYGATE_IDLE_TIMEOUT must be a time with its unit/);
    expect(await readdir(folder)).toEqual(before);
  });

  test('whoever reads only the first line of the output is no failure', async () => {
    const child = spawn(process.execPath, [BIN, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    const [code] = await once(child, 'exit');
    expect(code).toBe(0);
  });

  test('a refused key is never repeated', async () => {
    const secret = mintKey('project');
    const { err } = await keygate(['projects', 'list'], { KEYGATE_ADMIN_KEY: secret });
    expect(err).not.toContain(secret.slice(8));
  });
});
