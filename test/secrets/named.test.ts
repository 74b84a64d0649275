// Named secrets through a whole server: set by one request, in use at once, turned without a restart, never shown, and
// nowhere on the disk but sealed.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { startUpstream, type Upstream } from '../harness/upstream.ts';

const open: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function start(credential = 'sealed:main'): Promise<{ server: TestServer; upstream: Upstream }> {
  const upstream = await startUpstream();
  open.push(() => upstream.close());
  const yaml = `providers:\n  mock:\n    base_url: ${upstream.url}\n    credential: ${credential}\n    allow_private: true\n    models: ["gpt-*"]\n`;
  const server = await startTestServer({ yaml });
  open.push(async () => {
    await server.stop();
    server.remove();
  });
  return { server, upstream };
}

const body = JSON.stringify({ model: 'gpt-5', messages: [{ role: 'user', content: 'hi' }] });
const call = (server: TestServer) => server.request('/v1/chat/completions', { method: 'POST', body });
const sent = (upstream: Upstream) => upstream.asked.at(-1)?.headers['authorization'];

async function everyByte(folder: string): Promise<Buffer> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((name) => name.isFile()).map((name) => join(name.parentPath, name.name));
  return Buffer.concat(await Promise.all(files.map((name) => readFile(name))));
}

describe('a sealed credential of a provider', () => {
  it('is used the moment it is set, and the next one the moment that is, without a restart', async () => {
    const { server, upstream } = await start();
    const before = await call(server);
    expect(before.status).toBe(503);
    expect(await before.json()).toMatchObject({ error: { code: 'provider_credential_unavailable' } });
    expect(upstream.asked.filter(({ method }) => method === 'POST')).toHaveLength(0);
    const set = await server.admin('POST', '/v1/keygate/secrets/main', { value: 'MARKER-credential-one' });
    expect(set).toMatchObject({ status: 200, body: { name: 'main', version: 1 } });
    expect((await call(server)).status).toBe(200);
    expect(sent(upstream)).toBe('Bearer MARKER-credential-one');
    await server.admin('POST', '/v1/keygate/secrets/main', { value: 'MARKER-credential-two' });
    expect((await call(server)).status).toBe(200);
    expect(sent(upstream)).toBe('Bearer MARKER-credential-two');
    await server.admin('DELETE', '/v1/keygate/secrets/main');
    expect((await call(server)).status).toBe(503);
  });

  it('is nowhere in clear: not in replies, the log, the audit log or any file; and survives a restart', async () => {
    const { server, upstream } = await start();
    const value = 'MARKER-0123456789-credential';
    const replies = [
      await server.admin('POST', '/v1/keygate/secrets/main', { value }),
      await server.admin('GET', '/v1/keygate/secrets/main'),
      await server.admin('GET', '/v1/keygate/secrets'),
      await server.admin('POST', '/v1/keygate/secrets/other', { value: `${value} with spaces` }),
      await server.admin('POST', '/v1/keygate/secrets/Wrong_Name', { value }),
      await server.admin('POST', '/v1/keygate/secrets/other', { value, secret: value }),
      await server.admin('POST', '/v1/keygate/secrets/other', { valeu: value }),
    ];
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 400, 400, 400, 400]);
    expect(replies[3]?.body).toMatchObject({ error: { param: 'value' } });
    await call(server);
    await server.stop();
    const everything = Buffer.concat([
      await everyByte(server.dataDir),
      Buffer.from(JSON.stringify(replies) + server.log.join('\n')),
    ]);
    expect(everything.includes('secret.accessed')).toBe(true);
    for (const text of [value, Buffer.from(value).toString('base64').slice(0, 30), 'MARKER']) {
      expect(everything.includes(text)).toBe(false);
    }
    const again = await startTestServer({
      yaml: `providers:\n  mock:\n    base_url: ${upstream.url}\n    credential: sealed:main\n    allow_private: true\n    models: ["gpt-*"]\n`,
      dataDir: server.dataDir,
    });
    open.push(() => again.stop());
    const reply = await again.request('/v1/chat/completions', {
      method: 'POST',
      body,
      key: server.projectKey,
    });
    expect(reply.status).toBe(200);
    expect(sent(upstream)).toBe(`Bearer ${value}`);
  });

  it('opens after the root key was turned, with the older key gone', async () => {
    const { server, upstream } = await start();
    await server.admin('POST', '/v1/keygate/secrets/main', { value: 'MARKER-kept' });
    const before = (await readFile(join(server.dataDir, 'root.key'), 'utf8')).trim();
    const turned = await server.admin('POST', '/v1/keygate/root_key/rotate', {});
    expect(turned).toMatchObject({ status: 200, body: { source: 'file', unopened: 0 } });
    expect(turned.body['rewrapped']).toContainEqual({ name: 'secrets', seen: 1, wrapped: 1, failed: 0 });
    const after = (await readFile(join(server.dataDir, 'root.key'), 'utf8')).trim();
    expect(after.split('\n')).toHaveLength(1);
    expect(after).not.toBe(before);
    await server.stop();
    const again = await startTestServer({
      yaml: `providers:\n  mock:\n    base_url: ${upstream.url}\n    credential: sealed:main\n    allow_private: true\n    models: ["gpt-*"]\n`,
      dataDir: server.dataDir,
    });
    open.push(() => again.stop());
    await again.request('/v1/chat/completions', { method: 'POST', body, key: server.projectKey });
    expect(sent(upstream)).toBe('Bearer MARKER-kept');
  });
});

describe("a project's own credential", () => {
  it('is sent for its calls and for no other project, from the moment it is set until it is removed', async () => {
    const { server, upstream } = await start('env:MOCK_KEY');
    const other = await server.admin('POST', '/v1/organization/projects', { name: 'other' });
    const path = `/v1/keygate/projects/${other.body['id']}/credentials/mock`;
    const key = await server.admin('POST', `/v1/keygate/projects/${other.body['id']}/api_keys`, {
      name: 'k',
    });
    const theirs = () =>
      server.request('/v1/chat/completions', { method: 'POST', body, key: String(key.body['value']) });
    expect((await server.admin('POST', path, { value: 'MARKER-own' })).status).toBe(200);
    await theirs();
    expect(sent(upstream)).toBe('Bearer MARKER-own');
    await call(server);
    expect(sent(upstream)).toBe('Bearer provider-secret-1234567890');
    const unknown = await server.admin('POST', path.replace(/mock$/, 'nobody'), { value: 'MARKER-own' });
    expect(unknown).toMatchObject({ status: 400, body: { error: { param: 'provider' } } });
    await server.admin('DELETE', path);
    await theirs();
    expect(sent(upstream)).toBe('Bearer provider-secret-1234567890');
  });
});
