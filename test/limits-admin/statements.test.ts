import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { verifyChain } from '../../src/audit/chain.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { openStore } from '../../src/store/open.ts';
import { startTestServer } from '../harness/server.ts';
import { addOrganization } from './organizations.ts';
import { callUntilRefused, chat, type Limited, startLimited, tier } from './servers.ts';

const WIDE = "'*': { requests_per_minute: 1000, tokens_per_minute: 1000000, images_per_minute: 500 }";
const NO_STATEMENT = {
  requests_per_minute: null,
  requests_per_day: null,
  tokens_per_minute: null,
  tokens_per_day: null,
  images_per_minute: null,
  audio_seconds_per_minute: null,
  batch_tokens: null,
};

describe('limits beyond the published ones', () => {
  let limited: Limited;
  beforeEach(async () => {
    limited = await startLimited(tier(WIDE));
  });
  afterEach(() => limited.close());

  const project = () => `/v1/keygate/projects/${limited.server.projectId}`;

  test('of a key: its calls are held to it at once, those of other keys are not', async () => {
    const { server } = limited;
    const key = await server.createKey({ name: 'slow' });
    const path = `${project()}/api_keys/${key.id}/limits`;
    const set = await server.admin('POST', path, { name: 'all', requests_per_minute: 2 });
    expect(set).toEqual({
      status: 200,
      body: {
        object: 'keygate.rate_limit',
        id: 'rl-all',
        scope: 'api_key',
        subject_id: key.id,
        name: 'all',
        ...NO_STATEMENT,
        requests_per_minute: 2,
      },
    });
    const { passed, refusal } = await callUntilRefused(() => chat(server, {}, key.value));
    expect(passed).toBe(2);
    expect(refusal.error?.message).toContain(`(API key ${key.id}, all models together)`);
    expect((await chat(server)).status).toBe(200);
    expect((await server.admin('GET', path)).body).toMatchObject({
      data: [{ name: 'all', requests_per_minute: 2 }],
      has_more: false,
    });
    await server.admin('POST', path, { name: 'all', requests_per_minute: null });
    expect((await server.admin('GET', path)).body).toMatchObject({ data: [] });
    expect((await chat(server, {}, key.value)).status).toBe(200);
  });

  test('of a service account: all of its keys share it', async () => {
    const { server } = limited;
    const accounts = `/v1/organization/projects/${server.projectId}/service_accounts`;
    const made = z
      .object({ id: z.string(), api_key: z.object({ value: z.string() }) })
      .parse((await server.admin('POST', accounts, { name: 'jobs' })).body);
    const second = z
      .object({ value: z.string() })
      .parse((await server.admin('POST', `${accounts}/${made.id}/api_keys`, {})).body);
    await server.admin('POST', `${project()}/service_accounts/${made.id}/limits`, {
      name: '*',
      requests_per_minute: 3,
    });
    expect((await chat(server, {}, made.api_key.value)).status).toBe(200);
    const { passed, refusal } = await callUntilRefused(() => chat(server, {}, second.value));
    expect(passed).toBe(2);
    expect(refusal.error?.message).toContain(`(service account ${made.id})`);
  });

  test("of each end user of a project, by the call's safety_identifier or user", async () => {
    const { server } = limited;
    await server.admin('POST', `${project()}/end_users/limits`, { name: 'all', requests_per_minute: 1 });
    expect((await chat(server, { safety_identifier: 'ann' })).status).toBe(200);
    const second = await chat(server, { user: 'ann' });
    expect(second.status).toBe(429);
    expect(second.error?.message).toContain('(end user, all models together)');
    expect((await chat(server, { safety_identifier: 'bob' })).status).toBe(200);
    expect((await chat(server)).status).toBe(200);
  });

  test('of a project and of the organization, by pattern; the daily kinds too', async () => {
    const { server } = limited;
    const own = await server.admin('POST', '/v1/keygate/organization/limits', {
      name: 'gpt-4*',
      tokens_per_day: 31,
    });
    expect(own).toMatchObject({ status: 200, body: { subject_id: server.organizationId } });
    // Each call reserves the prompt and five tokens of reply, and uses ten.
    const day = await callUntilRefused(() => chat(server));
    expect(day.refusal.error?.message).toContain('on tokens per day (TPD): Limit 31');
    expect(day.passed).toBeGreaterThanOrEqual(2);
    await server.admin('POST', `${project()}/limits`, { name: 'gpt-5*', requests_per_day: 1 });
    const { passed, refusal } = await callUntilRefused(() => chat(server, { model: 'gpt-5-mini' }));
    expect(passed).toBe(1);
    expect(refusal.error?.message).toContain(
      `(project ${server.projectId}) on requests per day (RPD): Limit 1`,
    );
  });

  test('keeps what is left out, and drops what is null', async () => {
    const { server } = limited;
    const path = `${project()}/limits`;
    await server.admin('POST', path, { name: 'gpt-4o', requests_per_minute: 5, tokens_per_day: 100 });
    const changed = await server.admin('POST', path, {
      name: 'gpt-4o',
      requests_per_minute: null,
      images_per_minute: 9,
    });
    expect(changed.body).toMatchObject({
      requests_per_minute: null,
      tokens_per_day: 100,
      images_per_minute: 9,
    });
  });

  test('is told what is wrong', async () => {
    const { server } = limited;
    const path = `${project()}/limits`;
    for (const [body, param] of [
      [{ name: 'gpt-4o' }, null],
      [{ requests_per_minute: 1 }, 'name'],
      [{ name: '', requests_per_minute: 1 }, 'name'],
      [{ name: 'a*b', requests_per_minute: 1 }, 'name'],
      [{ name: 'gpt-4o', requests_per_minute: -1 }, 'requests_per_minute'],
      [{ name: 'gpt-4o', rpm: 1 }, 'rpm'],
      [{ name: 'gpt-4o', requests_per_minute: 1001 }, 'requests_per_minute'],
    ] as const) {
      expect(await server.admin('POST', path, body), JSON.stringify(body)).toMatchObject({
        status: 400,
        body: { error: { param } },
      });
    }
  });

  test('outlive a restart', async () => {
    const { server } = limited;
    await server.admin('POST', `${project()}/limits`, { name: 'gpt-4o', requests_per_minute: 1 });
    await server.stop();
    const again = await startLimitedOn(server.dataDir, limited.upstream.url);
    try {
      const calls = await callUntilRefused(() => chat({ url: again.url, projectKey: server.projectKey }));
      expect(calls.passed).toBe(1);
    } finally {
      await again.stop();
    }
  });

  test('are audited, each change in the chain with what was asked for', async () => {
    const { server, admin } = limited;
    await admin.admin.organization.projects.rateLimits.updateRateLimit('rl-sandbox-small', {
      project_id: server.projectId,
      max_requests_per_1_minute: 4,
    });
    const path = `${project()}/limits`;
    await server.admin('POST', path, { name: 'sandbox-small', requests_per_minute: null });
    await server.admin('POST', path, { name: 'sandbox-small', requests_per_minute: 5000 });
    await server.admin('POST', '/v1/keygate/limits/refill', { model: 'gpt-4o' });
    await server.stop();
    const store = await openStore({
      dataDir: server.dataDir,
      databaseUrl: null,
      clock: systemClock,
      onError: () => {},
    });
    try {
      expect(await verifyChain(store)).toMatchObject({ ok: true });
      const rows = await store.db
        .selectFrom('audit_log')
        .selectAll()
        .where('type', 'like', 'rate_limit.%')
        .orderBy('seq')
        .execute();
      expect(rows.map(({ type, payload }) => [type, JSON.parse(payload)])).toEqual([
        [
          'rate_limit.updated',
          {
            id: 'rl-sandbox-small',
            scope: 'project',
            subject_id: server.projectId,
            before: {},
            changes_requested: { max_requests_per_1_minute: 4 },
          },
        ],
        [
          'rate_limit.deleted',
          {
            id: 'rl-sandbox-small',
            scope: 'project',
            subject_id: server.projectId,
            before: { requests_per_minute: 4 },
            changes_requested: { name: 'sandbox-small', requests_per_minute: null },
          },
        ],
        ['rate_limit.refilled', { id: server.organizationId, changes_requested: { model: 'gpt-4o' } }],
      ]);
      expect(rows[0]?.project_id).toBe(server.projectId);
      expect(JSON.parse(rows[0]?.actor ?? '')).toMatchObject({ type: 'api_key' });
    } finally {
      await store.close();
    }
  });
});

async function startLimitedOn(dataDir: string, url: string) {
  const yaml = `providers:\n  mock: {base_url: "${url}", credential: "env:MOCK_KEY", allow_private: true, models: ["*"]}\n`;
  return await startTestServer({ dataDir, yaml });
}

describe('whose limits they are', () => {
  let limited: Limited;
  let elsewhere: string;
  beforeAll(async () => {
    limited = await startLimited(tier(WIDE));
    const made = await limited.server.admin('POST', '/v1/organization/projects', { name: 'Other' });
    elsewhere = String(made.body['id']);
  });
  afterAll(() => limited.close());

  test('keys and service accounts are found in their own project only', async () => {
    const { server } = limited;
    const key = await server.createKey({ name: 'here' });
    const account = await server.admin(
      'POST',
      `/v1/organization/projects/${server.projectId}/service_accounts`,
      { name: 'here' },
    );
    const change = { name: 'all', requests_per_minute: 1 };
    for (const project of [elsewhere, 'proj_nowhere']) {
      for (const path of [
        `/v1/keygate/projects/${project}/api_keys/${key.id}/limits`,
        `/v1/keygate/projects/${project}/service_accounts/${String(account.body['id'])}/limits`,
      ]) {
        expect((await server.admin('GET', path)).status, path).toBe(404);
        expect((await server.admin('POST', path, change)).status, path).toBe(404);
      }
      const view = `/v1/keygate/limits?project_id=${project}&api_key_id=${key.id}`;
      expect((await server.admin('GET', view)).status).toBe(404);
      expect(
        await server.admin('POST', '/v1/keygate/limits/refill', { project_id: project, api_key_id: key.id }),
      ).toMatchObject({ status: 404 });
    }
    for (const kind of ['limits', 'end_users/limits']) {
      const path = `/v1/keygate/projects/proj_nowhere/${kind}`;
      expect((await server.admin('GET', path)).status).toBe(404);
      expect((await server.admin('POST', path, change)).status).toBe(404);
    }
  });

  test('another organization sees and changes nothing of this one', async () => {
    const first = await startLimited(tier(WIDE));
    const { server: before, upstream } = first;
    const key = await before.createKey({ name: 'mine' });
    await before.stop();
    const stranger = await addOrganization(before.dataDir);
    const server = await startLimitedOn(before.dataDir, upstream.url);
    const ask = async (adminKey: string, method: string, path: string, body?: object) => {
      const sent = { method, key: adminKey, ...(body && { body: JSON.stringify(body) }) };
      return (await server.request(path, sent)).status;
    };
    const call = () => chat({ url: server.url, projectKey: before.projectKey });
    try {
      const id = (await call()).headers.get('x-request-id') ?? '';
      const explain = `/v1/keygate/limits/explain/${id}`;
      expect(await ask(before.adminKey, 'GET', explain)).toBe(200);
      const project = `/v1/keygate/projects/${before.projectId}`;
      const published = `/v1/organization/projects/${before.projectId}/rate_limits`;
      const change = { name: 'all', requests_per_minute: 0 };
      for (const [method, path, body] of [
        ['GET', explain, undefined],
        ['GET', `/v1/keygate/limits?project_id=${before.projectId}`, undefined],
        ['GET', published, undefined],
        ['POST', `${published}/rl-sandbox-small`, { max_requests_per_1_minute: 0 }],
        ['GET', `${project}/limits`, undefined],
        ['POST', `${project}/limits`, change],
        ['POST', `${project}/end_users/limits`, change],
        ['POST', `${project}/api_keys/${key.id}/limits`, change],
        ['POST', '/v1/keygate/limits/refill', { project_id: before.projectId }],
      ] as const) {
        expect(await ask(stranger, method, path, body), `${method} ${path}`).toBe(404);
      }
      // What it says of itself holds for itself only, and it sees its own payments only.
      const own = { name: '*', requests_per_minute: 0 };
      expect(await ask(stranger, 'POST', '/v1/keygate/organization/limits', own)).toBe(200);
      expect((await call()).status).toBe(200);
      const payments = '/v1/keygate/organization/payments';
      expect(await ask(before.adminKey, 'POST', payments, { amount_cents: 100 })).toBe(200);
      const seen = await server.request(payments, { key: stranger });
      expect(await seen.json()).toMatchObject({ data: [] });
    } finally {
      await server.stop();
      await first.close();
    }
  });

  test('a project key may look at and change none of them', async () => {
    const { server } = limited;
    for (const path of [
      '/v1/keygate/limits',
      '/v1/keygate/organization/limits',
      '/v1/keygate/organization/tier',
      '/v1/keygate/organization/payments',
      '/v1/keygate/limits/explain/req_1',
      `/v1/keygate/projects/${server.projectId}/limits`,
    ]) {
      expect((await server.request(path)).status, path).toBe(403);
    }
    for (const path of ['/v1/keygate/limits/simulate', '/v1/keygate/limits/simulate/events']) {
      expect((await server.request(path, { method: 'POST', body: '{}' })).status, path).toBe(403);
    }
  });
});
