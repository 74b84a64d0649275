// Lists of addresses that may call: of an organization, its admin keys included, and of a project.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { startUpstream, type Upstream } from '../harness/upstream.ts';

let upstream: Upstream;
let server: TestServer;

beforeAll(async () => {
  upstream = await startUpstream();
  server = await startTestServer({
    yaml: oneProvider(upstream.url),
    // The test's own address stands for a proxy's, so that a call may come from anywhere.
    env: { KEYGATE_CONFIG: 'keygate.yaml', KEYGATE_TRUSTED_PROXIES: '127.0.0.1' },
  });
});

afterAll(async () => {
  await server?.stop();
  server?.remove();
  await upstream?.close();
});

async function ask(
  method: string,
  path: string,
  from: string,
  body?: unknown,
  key: string = server.adminKey,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const reply = await server.request(path, {
    method,
    key,
    headers: { 'x-forwarded-for': from, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await reply.text();
  return { status: reply.status, body: text.startsWith('{') ? JSON.parse(text) : { text } };
}

const OFFICE = '203.0.113.5';
const HOME = '198.51.100.7';
const chat = (from: string, key = server.projectKey) =>
  ask('POST', '/v1/chat/completions', from, { model: 'm', messages: [] }, key);
const lists = '/v1/keygate/ip_allowlists';

describe('a list of a project', () => {
  it('holds once it is activated, for every key of the project, and until it is no more', async () => {
    const path = `/v1/keygate/projects/${server.projectId}/ip_allowlists`;
    const made = await ask('POST', path, HOME, {
      name: 'Office',
      allowed_ips: ['203.0.113.77/24', '2001:db8::1'],
    });
    expect(made).toMatchObject({
      status: 200,
      body: {
        object: 'keygate.ip_allowlist',
        name: 'Office',
        allowed_ips: ['203.0.113.0/24', '2001:db8::1/128'],
        active: false,
        project_id: server.projectId,
      },
    });
    const one = `${path}/${made.body['id']}`;
    expect((await chat(HOME)).status).toBe(200);
    expect((await ask('POST', `${one}/activate`, HOME)).body['active']).toBe(true);
    expect(await chat(HOME)).toMatchObject({
      status: 401,
      body: {
        error: {
          message: 'IP not authorized: keys of this project may not be used from your address.',
          code: 'ip_not_authorized',
        },
      },
    });
    expect((await chat(OFFICE)).status).toBe(200);
    expect((await chat('2001:db8::1')).status).toBe(200);
    expect((await ask('GET', '/v1/keygate/whoami', HOME, undefined, server.projectKey)).status).toBe(401);

    await ask('POST', one, HOME, { allowed_ips: [HOME] });
    expect((await chat(HOME)).status).toBe(200);
    expect((await chat(OFFICE)).status).toBe(401);
    expect((await ask('GET', path, HOME)).body['data']).toMatchObject([
      { allowed_ips: [`${HOME}/32`], active: true },
    ]);
    await ask('POST', `${one}/deactivate`, HOME);
    expect((await chat(OFFICE)).status).toBe(200);
    await ask('POST', `${one}/activate`, HOME);
    expect(await ask('DELETE', one, HOME)).toMatchObject({ status: 200, body: { deleted: true } });
    expect((await chat(OFFICE)).status).toBe(200);
    expect((await ask('GET', one, HOME)).status).toBe(404);
  });
});

describe('a list of the organization', () => {
  it('holds for admin keys, metrics and every project, and cannot shut out whoever sets it', async () => {
    const made = await ask('POST', lists, OFFICE, { name: 'Office', allowed_ips: ['203.0.113.0/24'] });
    const one = `${lists}/${made.body['id']}`;
    expect(made.body['project_id']).toBeNull();
    expect(await ask('POST', `${one}/activate`, HOME)).toMatchObject({
      status: 400,
      body: { error: { param: 'allowed_ips', message: expect.stringContaining('could not take it back') } },
    });
    expect((await chat(HOME)).status).toBe(200);
    expect((await ask('POST', `${one}/activate`, OFFICE)).status).toBe(200);
    for (const refused of [
      await chat(HOME),
      await ask('GET', lists, HOME),
      await ask('GET', '/metrics', HOME),
      await ask('GET', '/v1/organization/projects', HOME),
    ])
      expect(refused).toMatchObject({ status: 401, body: { error: { code: 'ip_not_authorized' } } });
    expect((await chat(OFFICE)).status).toBe(200);
    expect((await ask('GET', '/metrics', OFFICE)).status).toBe(200);
    expect((await ask('POST', one, OFFICE, { allowed_ips: [HOME] })).status).toBe(400);
    // Lists that are active at once hold together: an address must be in one of them.
    const other = await ask('POST', lists, OFFICE, { name: 'Home', allowed_ips: [HOME] });
    await ask('POST', `${lists}/${other.body['id']}/activate`, OFFICE);
    expect((await chat(HOME)).status).toBe(200);
    for (const id of [other.body['id'], made.body['id']]) await ask('DELETE', `${lists}/${id}`, OFFICE);
    expect((await chat('192.0.2.1')).status).toBe(200);
  });

  it('is refused when it is none, by the field', async () => {
    for (const [body, param] of [
      [{ name: 'x', allowed_ips: ['10.0.0.0/33'] }, 'allowed_ips[0]'],
      [{ name: 'x', allowed_ips: ['example.com'] }, 'allowed_ips[0]'],
      [{ name: 'x', allowed_ips: [] }, 'allowed_ips'],
      [{ name: '', allowed_ips: ['10.0.0.1'] }, 'name'],
      [{ allowed_ips: ['10.0.0.1'] }, 'name'],
      [{ name: 'x', allowed_ips: ['10.0.0.1'], active: true }, 'active'],
    ] as const)
      expect(await ask('POST', lists, HOME, body)).toMatchObject({ status: 400, body: { error: { param } } });
    expect((await ask('POST', `${lists}/ipal_nothing`, HOME, { name: 'x' })).status).toBe(404);
  });
});
