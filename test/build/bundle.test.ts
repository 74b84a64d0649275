// The bundle that `npm run build` makes of the sources: it is complete, it keeps little in memory, and a server that runs
// from it starts each of its threads.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { mintKey } from '../../src/keys/format.ts';
import { completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Within the package, as dist/ is: what is not in the bundle is found there. */
const dist = join(ROOT, '.cache', `bundle-test-${process.pid}`);
const folder = mkdtempSync(join(tmpdir(), 'keygate-bundle-'));

beforeAll(async () => {
  mkdirSync(dist, { recursive: true });
  await run(process.execPath, ['scripts/bundle.mjs', dist], { cwd: ROOT });
});

afterAll(() => {
  for (const path of [dist, folder]) rmSync(path, { recursive: true, force: true });
});

describe('the bundle', () => {
  it('is one byte a character', () => {
    const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((file) =>
      /\.js$/.test(file),
    );
    expect(files.length).toBeGreaterThan(10);
    for (const file of files)
      expect([file, /[^\0-\xff]/.exec(readFileSync(join(dist, file), 'utf8'))]).toEqual([file, null]);
  });

  it('has no line so long that a fault would fill the log with it', () => {
    const main = readdirSync(join(dist, 'chunks')).filter((file) => /^(main|process)-/.test(file));
    expect(main).toHaveLength(2);
    for (const file of main)
      for (const line of readFileSync(join(dist, 'chunks', file), 'utf8').split('\n'))
        expect(line.length).toBeLessThan(60_000);
  });

  it('has what the package says that others may import', async () => {
    for (const { default: path } of [manifest.exports['./dpop'], manifest.exports['./workload-identity']])
      expect(existsSync(join(dist, path.replace('./dist/', '')))).toBe(true);
    const client = await import(pathToFileURL(join(dist, 'client/dpop.js')).href);
    expect(client.dpopFetch).toBeTypeOf('function');
  });

  it('comes with the licences of the packages in it', () => {
    const text = readFileSync(join(dist, 'THIRD-PARTY-LICENSES'), 'utf8');
    for (const name of ['zod', 'hono', 'pg', '@redis/client'])
      expect(text).toMatch(new RegExp(`^${name} \\d`, 'm'));
    expect(text).toContain('Permission is hereby granted');
  });
});

describe('a server that runs from the bundle', () => {
  const adminKey = mintKey('admin');
  const dataDir = join(folder, 'data');
  const command = join(dist, 'cli/keygate.js');
  let upstream: Upstream;
  let child: ChildProcess;
  let url = '';
  let key = '';

  const keygate = async (...args: string[]): Promise<string> => {
    const env = { PATH: process.env['PATH'], KEYGATE_URL: url, KEYGATE_ADMIN_KEY: adminKey };
    return (await run(process.execPath, [command, ...args], { cwd: folder, env })).stdout;
  };

  const call = async (model: string): Promise<{ status: number; request: string; text: string }> => {
    const reply = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'say hello' }] }),
    });
    return {
      status: reply.status,
      request: reply.headers.get('x-request-id') ?? '',
      text: await reply.text(),
    };
  };

  beforeAll(async () => {
    upstream = await startUpstream((_asked, response) =>
      sendJson(response, 200, completion('hello you', null)),
    );
    writeFileSync(
      join(folder, 'keygate.yaml'),
      `providers: {mock: {base_url: "${upstream.url}", credential: none, allow_private: true, models: ["m"]}}
spend: {account: postpaid}
logging: {prompts: on}
`,
    );
    child = spawn(process.execPath, [command, 'serve', '--port', '0', '--data', dataDir], {
      cwd: folder,
      env: { PATH: process.env['PATH'], KEYGATE_BOOTSTRAP_ADMIN_KEY: adminKey },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    url = await new Promise((resolve, reject) => {
      let said = '';
      child.stdout?.on('data', (text: Buffer) => {
        said += text.toString();
        const found = /listens on (\S+);/.exec(said)?.[1];
        if (found !== undefined) resolve(found);
      });
      child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    });
    key = /sk-\S+/.exec(await keygate('keys', 'create', 'test'))?.[0] ?? '';
  });

  afterAll(async () => {
    child.kill();
    await upstream.close();
  });

  it('keeps its keys in the store, and answers from the sandbox', async () => {
    const { status, text } = await call('sandbox-small');
    expect([status, text]).toEqual([200, expect.stringContaining('"chat.completion"')]);
  });

  it('counts the tokens that a provider does not tell, and folds them into its reports', async () => {
    const { status, request } = await call('m');
    expect(status).toBe(200);
    await vi.waitFor(
      async () => expect(await keygate('usage', 'explain', request)).toContain('a tokenizer counted'),
      20_000,
    );
    await vi.waitFor(
      async () => expect(await keygate('usage', '--json')).toContain('"num_requests": 2'),
      20_000,
    );
  });

  it('simulates limits on what was recorded', async () => {
    const proposal = join(folder, 'limits.yaml');
    writeFileSync(proposal, 'limits: {}\n');
    expect(await keygate('limits', 'simulate', '--against', proposal, '--days', '1')).toContain('2 calls');
  });

  it('writes the prompt log, and stops when it is told to', async () => {
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
    const logs = readdirSync(join(dataDir, 'prompts')).map((file) =>
      readFileSync(join(dataDir, 'prompts', file), 'utf8'),
    );
    expect(logs.join('')).toContain('hello you');
  });
});
