// What the control plane says no to, and how: statuses, bodies, headers.

import { AuthenticationError, PermissionDeniedError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mintKey } from '../../src/keys/format.ts';
import { freshSqlite } from '../store/stores.ts';
import { clientOf, errorOf, field, openPlane, type Plane } from './plane.ts';

const sqlite = { kind: 'sqlite', fresh: freshSqlite } as const;
const PROJECTS = '/v1/organization/projects';

describe('the control plane', () => {
  let plane: Plane;
  beforeAll(async () => {
    plane = await openPlane(sqlite);
  });
  afterAll(async () => {
    await plane?.close();
  });

  const issue = async (body: object) =>
    await plane.call('POST', `/v1/keygate/projects/${plane.projectId}/api_keys`, { body });

  it('puts the platform’s headers on every reply, good or bad', async () => {
    for (const [method, path, key] of [
      ['GET', PROJECTS, plane.adminKey],
      ['GET', `${PROJECTS}/none`, plane.adminKey],
      ['GET', '/v1/organization/nothing', plane.adminKey],
      ['GET', PROJECTS, null],
      ['GET', '/v1/keygate/openapi.json', null],
    ] as const) {
      const { headers } = await plane.call(method, path, { key });
      expect(headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
      expect(headers.get('openai-processing-ms')).toMatch(/^\d+$/);
      expect(headers.get('openai-version')).toBe('2020-10-01');
      expect(headers.get('cache-control')).toBe('no-store');
    }
    expect((await plane.call('GET', PROJECTS)).headers.get('openai-organization')).toBe(plane.organizationId);
  });

  it('answers a request without a key with the platform’s 401', async () => {
    const reply = await plane.call('GET', PROJECTS, { key: null });
    expect(reply.status).toBe(401);
    expect(errorOf(reply)).toMatchObject({ type: 'invalid_request_error', code: null, param: null });
    expect(errorOf(reply).message).toMatch(/^You didn't provide an API key\./);
  });

  it('answers unknown, revoked and expired keys, and those of archived projects and deleted owners, alike', async () => {
    const { projects } = plane.admin.admin.organization;
    const revoked = await issue({ name: 'revoked' });
    await projects.apiKeys.delete(field(revoked, 'id'), { project_id: plane.projectId });
    const expired = await issue({ name: 'expired', expires_in_seconds: 1 });
    plane.clock.advance(1000);
    const archived = await projects.create({ name: 'archived' });
    const inArchived = await projects.serviceAccounts.create(archived.id, { name: 'a' });
    await projects.archive(archived.id);
    const owner = await projects.serviceAccounts.create(plane.projectId, { name: 'deleted' });
    await projects.serviceAccounts.delete(owner.id, { project_id: plane.projectId });
    const presented = [
      mintKey('project'),
      mintKey('admin'),
      field(revoked, 'value'),
      field(expired, 'value'),
      inArchived.api_key?.value ?? '',
      owner.api_key?.value ?? '',
    ];
    for (const path of ['/v1/keygate/whoami', PROJECTS]) {
      for (const key of presented) {
        const reply = await plane.call('GET', path, { key });
        const prefix = /^sk-[a-z]+-/.exec(key)?.[0];
        expect(reply.status).toBe(401);
        expect(errorOf(reply)).toEqual({
          message:
            `Incorrect API key provided: ${prefix}************${key.slice(-4)}. You can find your API key with ` +
            '`keygate keys list`, or ask whoever runs this keygate server for one.',
          type: 'invalid_request_error',
          param: null,
          code: 'invalid_api_key',
        });
        expect(JSON.stringify([reply.body, ...reply.headers])).not.toContain(key);
      }
    }
    await expect(clientOf(plane.app, mintKey('admin')).admin.organization.users.list()).rejects.toThrow(
      AuthenticationError,
    );
  });

  it('tells a legacy, a mistyped and a foreign key what to do, as invalid_api_key', async () => {
    const key = plane.adminKey;
    for (const [presented, advice] of [
      [`sk-${'a'.repeat(48)}`, /legacy/],
      [key.slice(0, -1) + (key.endsWith('0') ? '1' : '0'), /copy the key again/],
      [key.slice(0, -2), /copy the whole key/],
      ['sk-ant-something-else-entirely-0123456789', /did not issue/],
    ] as const) {
      const reply = await plane.call('GET', PROJECTS, { key: presented });
      expect(reply.status).toBe(401);
      expect(errorOf(reply)).toMatchObject({ code: 'invalid_api_key' });
      expect(errorOf(reply).message).toMatch(/^Incorrect API key provided: /);
      expect(errorOf(reply).message).toMatch(advice);
    }
  });

  it('answers a project key on the Administration API with 403 and the scope that is missing', async () => {
    for (const [method, scope] of [
      ['GET', 'api.management.read'],
      ['POST', 'api.management.write'],
    ] as const) {
      const reply = await plane.call(method, PROJECTS, {
        key: plane.projectKey,
        ...(method === 'POST' && { body: {} }),
      });
      expect(reply.status).toBe(403);
      expect(errorOf(reply).message).toContain(
        `You have insufficient permissions for this operation. Missing scopes: ${scope}.`,
      );
    }
    const { projects } = clientOf(plane.app, plane.projectKey).admin.organization;
    await expect(projects.create({ name: 'no' })).rejects.toThrow(PermissionDeniedError);
  });

  it('writes refused calls into the audit log, and not more of a flood than its bound', async () => {
    const refused = () =>
      plane.store.db
        .selectFrom('audit_log')
        .select(['payload', 'actor'])
        .where('type', '=', 'administration.refused')
        .orderBy('seq')
        .execute();
    plane.clock.advance(3_600_000);
    const before = (await refused()).length;
    for (let n = 0; n < 50; n++)
      await plane.call('GET', `${PROJECTS}/x${n}`, { key: plane.projectKey, from: '203.0.113.9' });
    const rows = await refused();
    expect(rows.length - before).toBe(10);
    expect(JSON.parse(rows.at(-1)?.payload ?? '').data).toEqual({
      operation: `GET ${PROJECTS}/{project_id}`,
      left_out_before: 0,
    });
    expect(JSON.parse(rows.at(-1)?.actor ?? '')).toMatchObject({ ip_address: '203.0.113.9' });
    plane.clock.advance(10_000);
    await plane.call('GET', PROJECTS, { key: plane.projectKey });
    expect(JSON.parse((await refused()).at(-1)?.payload ?? '').data).toMatchObject({ left_out_before: 40 });
  });

  it('refuses a key outside its addresses, and lets it in from inside, also mapped into IPv6', async () => {
    const key = field(await issue({ name: 'office', addresses: ['198.51.100.0/24'] }), 'value');
    const whoami = (from: string) => plane.call('GET', '/v1/keygate/whoami', { key, from });
    expect((await whoami('198.51.100.7')).status).toBe(200);
    expect((await whoami('::ffff:198.51.100.7')).status).toBe(200);
    const reply = await whoami('198.51.101.7');
    expect(reply.status).toBe(401);
    expect(errorOf(reply).code).toBe('ip_not_authorized');
  });

  it('holds the OpenAI-Organization header against the key', async () => {
    const asked = (organization: string) =>
      plane.call('GET', PROJECTS, { headers: { 'openai-organization': organization } });
    expect((await asked(plane.organizationId)).status).toBe(200);
    const reply = await asked('org-other');
    expect(reply.status).toBe(401);
    expect(errorOf(reply).code).toBe('mismatched_organization');
  });

  it('answers an unknown path, with or without a key, as the platform does', async () => {
    for (const key of [plane.adminKey, null]) {
      const reply = await plane.call('GET', '/v1/organization/x', { key });
      expect(reply.status).toBe(404);
      expect(errorOf(reply)).toEqual({
        message: 'Invalid URL (GET /v1/organization/x)',
        type: 'invalid_request_error',
        param: null,
        code: null,
      });
    }
    expect((await plane.call('PUT', PROJECTS)).status).toBe(404);
  });

  it('names the field that is wrong, and never repeats its value', async () => {
    const keys = `/v1/keygate/projects/${plane.projectId}/api_keys`;
    const cases: [string, unknown, string | null, string | null][] = [
      [PROJECTS, {}, 'name', 'missing_required_parameter'],
      [PROJECTS, { name: 7 }, 'name', 'invalid_type'],
      [PROJECTS, { name: '  ' }, 'name', 'invalid_value'],
      [PROJECTS, { name: 'a\u0000b' }, 'name', 'invalid_value'],
      [PROJECTS, { name: 'a\ud800' }, 'name', 'invalid_value'],
      [PROJECTS, { name: 'x'.repeat(257) }, 'name', 'invalid_value'],
      [PROJECTS, { name: 'x', colour: 'red' }, 'colour', 'unknown_parameter'],
      [PROJECTS, { name: 'x', external_key_id: 'k' }, 'external_key_id', 'invalid_value'],
      [PROJECTS, [], null, null],
      [keys, { name: 'x', expires_in_seconds: 0 }, 'expires_in_seconds', 'invalid_value'],
      [keys, { name: 'x', expires_in_seconds: 31_536_001 }, 'expires_in_seconds', 'invalid_value'],
      [keys, { name: 'x', expires_in_second: 60 }, 'expires_in_second', 'unknown_parameter'],
      [keys, { name: 'x', type: 'admin' }, 'type', 'invalid_value'],
      [keys, { name: 'x', scopes: ['api.files.read', 'not a scope'] }, 'scopes[1]', 'invalid_value'],
      [keys, { name: 'x', models: [] }, 'models', 'invalid_value'],
      [keys, { name: 'x', addresses: ['10.0.0.0/8', 'hunter2'] }, 'addresses[1]', 'invalid_value'],
      [keys, { name: 'x', addresses: Array(51).fill('10.0.0.1') }, 'addresses', 'invalid_value'],
    ];
    for (const [path, body, param, code] of cases) {
      const reply = await plane.call('POST', path, { body });
      expect(reply.status, JSON.stringify(body)).toBe(400);
      expect(errorOf(reply), JSON.stringify(body)).toMatchObject({
        type: 'invalid_request_error',
        param,
        code,
      });
      expect(errorOf(reply).message).not.toContain('hunter2');
    }
    for (const query of [
      'limit=0',
      'limit=101',
      'limit=x',
      'limit=1&limit=2',
      'include_archived=maybe',
      'after=',
    ]) {
      const reply = await plane.call('GET', `${PROJECTS}?${query}`);
      expect(reply.status, query).toBe(400);
      expect(errorOf(reply).param).toBe(query.split('=')[0]);
    }
    expect(errorOf(await plane.call('GET', `${PROJECTS}?after=proj_none`)).param).toBe('after');
  });

  it('wants something to change in an update of a key', async () => {
    const id = field(await issue({ name: 'same' }), 'id');
    const path = `${PROJECTS}/${plane.projectId}/api_keys/${id}`;
    for (const body of [{}, { scopes: null }, { expires_in_seconds: null }]) {
      expect((await plane.call('POST', path, { body })).status).toBe(400);
    }
  });

  it('answers a body that is no JSON, is not declared as JSON, or is too large, without reading it all', async () => {
    expect(errorOf(await plane.call('POST', PROJECTS, { body: '{"name":' })).message).toMatch(
      /could not parse the JSON/,
    );
    const undeclared = await plane.call('POST', PROJECTS, {
      body: 'name=x',
      headers: { 'content-type': 'text/plain' },
    });
    expect(undeclared.status).toBe(415);
    const large = await plane.call('POST', PROJECTS, { body: { name: 'x'.repeat(1_100_000) } });
    expect(large.status).toBe(413);
    let sent = 0;
    const endless = new ReadableStream({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536).fill(120));
      },
    });
    const request = new Request('http://keygate.test/v1/organization/projects', {
      method: 'POST',
      headers: { authorization: `Bearer ${plane.adminKey}`, 'content-type': 'application/json' },
      body: endless,
      duplex: 'half',
    });
    const reply = await plane.app.fetch(request, { remoteAddress: '' });
    expect(reply.status).toBe(413);
    expect(sent).toBeLessThan(2_000_000);
    const deep = await plane.call('POST', PROJECTS, { body: '['.repeat(500_000) + ']'.repeat(500_000) });
    expect(deep.status).toBe(400);
  });

  it('tells any key what it is, and no secret', async () => {
    const admin = await plane.call('GET', '/v1/keygate/whoami');
    expect(admin.body).toMatchObject({
      organization_id: plane.organizationId,
      project_id: null,
      type: 'admin',
    });
    const project = await plane.call('GET', '/v1/keygate/whoami', { key: plane.projectKey });
    expect(project.body).toEqual({
      object: 'keygate.whoami',
      organization_id: plane.organizationId,
      project_id: plane.projectId,
      api_key_id: plane.registry.find(plane.projectKey)?.keyId,
      type: 'project',
      owner: { type: 'user', id: expect.stringMatching(/^user-/) },
      scopes: [],
      models: null,
      expires_at: null,
      environment: 'production',
    });
  });

  it('describes itself as a page of every operation, which runs nothing and fetches nothing', async () => {
    const { app, call: ask } = plane;
    const page = await app.fetch(new Request('http://keygate.test/v1/keygate/docs'), {
      remoteAddress: '192.0.2.1',
    });
    expect(page.status).toBe(200);
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none'; style-src 'sha256-/);
    const text = await page.text();
    expect(text).not.toMatch(/<script|\son[a-z]+=|javascript:/i);
    const { paths } = (await ask('GET', '/v1/keygate/openapi.json')).body as { paths: object };
    for (const path of Object.keys(paths)) expect(text).toContain(`<code>${path}</code>`);
    expect(text).toContain('&quot;name&quot;: &quot;…&quot;');
  });

  it('describes itself as OpenAPI 3.1 with every route', async () => {
    const { status, body } = await plane.call('GET', '/v1/keygate/openapi.json', { key: null });
    expect(status).toBe(200);
    const { openapi, paths } = body as { openapi: string; paths: Record<string, object> };
    expect(openapi).toBe('3.1.0');
    const operations = Object.entries(paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path.replace('/v1/', '')}`),
    );
    const project = 'organization/projects/{project_id}';
    const account = `${project}/service_accounts`;
    const own = 'keygate/projects/{project_id}/api_keys';
    // Reports of usage and costs are listed by their own tests.
    const without = operations.filter(
      (operation) => !/^GET (organization\/(usage\/|costs)|keygate\/usage)/.test(operation),
    );
    expect(operations.length).toBeGreaterThan(without.length);
    // That it is all of them, and each has its row, permissions.test.ts says.
    expect(without).toEqual(
      expect.arrayContaining([
        'GET organization/projects',
        'POST organization/projects',
        `GET ${project}`,
        `POST ${project}`,
        `POST ${project}/archive`,
        `GET ${project}/api_keys`,
        `GET ${project}/api_keys/{api_key_id}`,
        `POST ${project}/api_keys/{api_key_id}`,
        `DELETE ${project}/api_keys/{api_key_id}`,
        `GET ${account}`,
        `POST ${account}`,
        `GET ${account}/{service_account_id}`,
        `POST ${account}/{service_account_id}`,
        `DELETE ${account}/{service_account_id}`,
        `POST ${account}/{service_account_id}/api_keys`,
        'GET organization/admin_api_keys',
        'POST organization/admin_api_keys',
        'GET organization/admin_api_keys/{key_id}',
        'DELETE organization/admin_api_keys/{key_id}',
        'GET organization/users',
        'GET organization/users/{user_id}',
        `POST ${own}`,
        `GET ${own}`,
        `GET ${own}/{api_key_id}`,
        'GET keygate/whoami',
      ]),
    );
  });

  it('has told of no fault until here', () => {
    expect(plane.faults).toEqual([]);
  });
});

describe('while the store is down', () => {
  it('the control plane says 503 to a good key and 401 to a bad one, and whoami goes on working', async () => {
    const plane = await openPlane(sqlite);
    try {
      await plane.store.close();
      for (const [method, path, body] of [
        ['GET', PROJECTS, undefined],
        ['POST', PROJECTS, { name: 'x' }],
        ['GET', `${PROJECTS}/${plane.projectId}/api_keys`, undefined],
        ['DELETE', `${PROJECTS}/${plane.projectId}/api_keys/key_x`, undefined],
      ] as const) {
        const reply = await plane.call(method, path, { body });
        expect(reply.status, `${method} ${path}`).toBe(503);
        expect(errorOf(reply).type).toBe('service_unavailable_error');
        expect(reply.headers.get('retry-after')).toMatch(/^\d+$/);
      }
      expect((await plane.call('GET', PROJECTS, { key: mintKey('admin') })).status).toBe(401);
      expect((await plane.call('GET', PROJECTS, { key: plane.projectKey })).status).toBe(403);
      expect((await plane.call('GET', '/v1/keygate/whoami')).status).toBe(200);
    } finally {
      await plane.close();
    }
  });
});
