// Spend limits, alerts and budgets by the official client and keygate's own routes, on a whole server.

import OpenAI, { NotFoundError, RateLimitError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyChain } from '../../src/audit/chain.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { openStore } from '../../src/store/open.ts';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';
import { PRICES } from './budgeted.ts';

let upstream: Upstream;
let server: TestServer;
let client: OpenAI;

beforeAll(async () => {
  // A call costs a cent.
  upstream = await startUpstream((_asked, response) =>
    sendJson(response, 200, completion('x', { prompt_tokens: 0, completion_tokens: 1000 })),
  );
  server = await startTestServer({ yaml: oneProvider(upstream.url) + PRICES });
  client = new OpenAI({
    baseURL: `${server.url}/v1`,
    apiKey: server.projectKey,
    adminAPIKey: server.adminKey,
    maxRetries: 0,
  });
});

afterAll(async () => {
  await server.stop();
  server.remove();
  await upstream.close();
});

const call = (key = server.projectKey) =>
  server.request('/v1/chat/completions', {
    method: 'POST',
    key,
    body: JSON.stringify({ model: 'priced', messages: [], max_tokens: 1000 }),
  });

const MONTHLY = { currency: 'USD', interval: 'month' } as const;

async function newProject(): Promise<{ id: string; key: string }> {
  const project = await client.admin.organization.projects.create({ name: 'other' });
  const made = await server.admin('POST', `/v1/keygate/projects/${project.id}/api_keys`, { name: 'k' });
  return { id: project.id, key: String(made.body['value']) };
}

describe('a hard spend limit by the official client', () => {
  it('is set, in effect at once, shown as enforcing when it is reached, and taken away', async () => {
    const { id, key } = await newProject();
    const { spendLimit } = client.admin.organization.projects;
    await expect(spendLimit.retrieve(id)).rejects.toBeInstanceOf(NotFoundError);
    expect(await spendLimit.update(id, { ...MONTHLY, threshold_amount: 3 })).toEqual({
      object: 'project.spend_limit',
      ...MONTHLY,
      threshold_amount: 3,
      enforcement: { status: 'inactive' },
    });
    expect(await Promise.all([1, 2].map(async () => (await call(key)).status))).toEqual([200, 200]);
    // What a call could cost is a little more than it does: for its prompt.
    const error = await new OpenAI({
      baseURL: `${server.url}/v1`,
      apiKey: key,
      maxRetries: 0,
    }).chat.completions
      .create({ model: 'priced', messages: [], max_tokens: 1000 })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RateLimitError);
    expect(error).toMatchObject({ type: 'insufficient_quota', code: 'project_spend_limit_exceeded' });
    await spendLimit.update(id, { ...MONTHLY, threshold_amount: 2 });
    await expect.poll(async () => (await spendLimit.retrieve(id)).enforcement.status).toBe('enforcing');
    expect(await spendLimit.delete(id)).toEqual({ object: 'project.spend_limit.deleted', deleted: true });
    expect((await call(key)).status).toBe(200);
    await expect(spendLimit.delete(id)).rejects.toBeInstanceOf(NotFoundError);
  });

  it('counts what was spent in the month before it was set', async () => {
    const { id, key } = await newProject();
    for (let i = 0; i < 5; i++) expect((await call(key)).status).toBe(200);
    const spent = async () => {
      const costs = await client.admin.organization.usage.costs({
        start_time: Math.floor(Date.now() / 1000) - 86_400,
        project_ids: [id],
      });
      return costs.data.flatMap(({ results }) => results).length;
    };
    await expect.poll(spent, { timeout: 10_000 }).toBeGreaterThan(0);
    await client.admin.organization.projects.spendLimit.update(id, { ...MONTHLY, threshold_amount: 6 });
    // A call's worst case is a little more than the cent that is left.
    expect((await call(key)).status).toBe(429);
    await client.admin.organization.projects.spendLimit.update(id, { ...MONTHLY, threshold_amount: 7 });
    await expect.poll(async () => (await call(key)).status).toBe(200);
  });

  it('of the organization is one, and is replaced', async () => {
    const { spendLimit } = client.admin.organization;
    await spendLimit.update({ ...MONTHLY, threshold_amount: 100_000 });
    await spendLimit.update({ ...MONTHLY, threshold_amount: 200_000 });
    expect(await spendLimit.retrieve()).toMatchObject({
      object: 'organization.spend_limit',
      threshold_amount: 200_000,
    });
    expect(await spendLimit.delete()).toEqual({ object: 'organization.spend_limit.deleted', deleted: true });
  });

  it('is refused in words where it is no limit', async () => {
    for (const threshold_amount of [0, 1.5, 1e300]) {
      const { status, body } = await server.admin('POST', '/v1/organization/spend_limit', {
        ...MONTHLY,
        threshold_amount,
      });
      expect([status, (body['error'] as { param: string }).param]).toEqual([400, 'threshold_amount']);
    }
    const unknown = client.admin.organization.projects.spendLimit.retrieve('proj_unknown');
    await expect(unknown).rejects.toBeInstanceOf(NotFoundError);
  });
});

describe('spend alerts by the official client', () => {
  const channel = { type: 'email' as const, recipients: ['ann@example.com'] };

  it('are made, listed, changed and deleted, each within its own project', async () => {
    const mine = await newProject();
    const other = await newProject();
    const alerts = client.admin.organization.projects.spendAlerts;
    const terms = { ...MONTHLY, notification_channel: channel, threshold_amount: 500 };
    const first = await alerts.create(mine.id, terms);
    expect(first).toEqual({ id: expect.any(String), object: 'project.spend_alert', ...terms });
    const second = await alerts.create(mine.id, { ...terms, threshold_amount: 900 });
    const third = await alerts.create(mine.id, { ...terms, threshold_amount: 900 });
    const listed: string[] = [];
    for await (const alert of alerts.list(mine.id, { limit: 1 })) listed.push(alert.id);
    expect(listed).toEqual([first.id, second.id, third.id]);
    const { data } = await alerts.list(mine.id, { before: third.id, limit: 1 });
    expect(data.map(({ id }) => id)).toEqual([second.id]);
    expect((await alerts.list(other.id)).data).toEqual([]);
    for (const project_id of [other.id, 'proj_unknown']) {
      await expect(alerts.retrieve(first.id, { project_id })).rejects.toBeInstanceOf(NotFoundError);
      await expect(alerts.delete(first.id, { project_id })).rejects.toBeInstanceOf(NotFoundError);
      await expect(alerts.update(first.id, { project_id, ...terms })).rejects.toBeInstanceOf(NotFoundError);
    }
    await expect(client.admin.organization.spendAlerts.retrieve(first.id)).rejects.toBeInstanceOf(
      NotFoundError,
    );
    const changed = { ...terms, notification_channel: { ...channel, subject_prefix: '[spend]' } };
    expect(await alerts.update(first.id, { project_id: mine.id, ...changed })).toEqual({
      id: first.id,
      object: 'project.spend_alert',
      ...changed,
    });
    expect(await alerts.retrieve(first.id, { project_id: mine.id })).toMatchObject(changed);
    for (const { id } of [first, second, third]) {
      expect(await alerts.delete(id, { project_id: mine.id })).toEqual({
        id,
        object: 'project.spend_alert.deleted',
        deleted: true,
      });
    }
    expect((await server.admin('GET', `/v1/keygate/budgets?project_id=${mine.id}`)).body['data']).toEqual([]);
  });

  it('stand at twenty amounts at most, and at none below a cent', async () => {
    const { id } = await newProject();
    const alerts = client.admin.organization.projects.spendAlerts;
    const make = (threshold_amount: number) =>
      alerts.create(id, { ...MONTHLY, notification_channel: channel, threshold_amount });
    for (let cents = 1; cents <= 20; cents++) await make(cents);
    await make(20);
    await expect(make(21)).rejects.toMatchObject({ status: 400, param: 'threshold_amount' });
    await expect(make(0)).rejects.toMatchObject({ status: 400, param: 'threshold_amount' });
    expect((await alerts.list(id, { limit: 100 })).data.length).toBe(21);
  });
});

describe('budgets beyond the published limits', () => {
  it('limit one key by the day, and say what of it is spent', async () => {
    const key = await server.createKey({ name: 'limited' });
    const made = await server.admin('POST', '/v1/keygate/budgets', {
      scope: 'api_key',
      scope_id: key.id,
      interval: 'day',
      threshold_amount: 3,
    });
    expect(made).toMatchObject({
      status: 200,
      body: { scope: 'api_key', scope_id: key.id, project_id: server.projectId, enforcement: 'hard' },
    });
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await call(key.value)).status);
    expect(statuses).toEqual([200, 200, 429, 429]);
    expect((await call()).status).toBe(200);
    const path = `/v1/keygate/budgets/${made.body['id']}`;
    const spent = async () => (await server.admin('GET', path)).body['current'];
    await expect.poll(spent).toMatchObject({ spent: '0.02' });
    await server.admin('POST', path, { enforcement: 'soft' });
    expect((await call(key.value)).status).toBe(200);
    expect((await server.admin('DELETE', path)).body).toMatchObject({ deleted: true });
    expect((await server.admin('GET', path)).status).toBe(404);
  });

  it('of a group count the calls of all who are in it, from the moment they are', async () => {
    const { id: projectId } = await newProject();
    const account = async (name: string) => {
      const made = await client.admin.organization.projects.serviceAccounts.create(projectId, { name });
      return { id: made.id, key: made.api_key?.value ?? '' };
    };
    const [ann, bob, eve] = [await account('ann'), await account('bob'), await account('eve')];
    const { groups } = client.admin.organization;
    const group = await groups.create({ name: 'research' });
    const other = await groups.create({ name: 'other' });
    for (const { id } of [ann, bob]) await groups.users.create(group.id, { user_id: id });
    const make = (body: object) => server.admin('POST', '/v1/keygate/budgets', body);
    const made = await make({ scope: 'group', scope_id: group.id, interval: 'day', threshold_amount: 4 });
    expect(made).toMatchObject({
      status: 200,
      body: { scope: 'group', scope_id: group.id, project_id: null, interval: 'day' },
    });
    const each = await make({ scope: 'group', scope_id: '*', threshold_amount: 100, enforcement: 'soft' });
    expect(each.body).toMatchObject({ scope: 'group', scope_id: '*' });
    // Each call costs a cent, and a little more is reserved for it: the third of the two together is the last.
    const statuses: number[] = [];
    for (const key of [ann.key, bob.key, ann.key, bob.key, ann.key]) statuses.push((await call(key)).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    const refused = (await (await call(bob.key)).json()) as { error: { code: string; message: string } };
    expect(refused.error.code).toBe('group_spend_limit_exceeded');
    expect(refused.error.message).toContain(`of group ${group.id} does not allow this call`);
    // Whoever is in no group, or in another, is not held to it; and whoever leaves it no longer.
    await groups.users.create(other.id, { user_id: eve.id });
    expect((await call(eve.key)).status).toBe(200);
    await groups.users.delete(ann.id, { group_id: group.id });
    expect((await call(ann.key)).status).toBe(200);
    await groups.users.create(group.id, { user_id: eve.id });
    expect((await call(eve.key)).status).toBe(429);
    expect((await make({ scope: 'group', scope_id: 'group_unknown', threshold_amount: 1 })).status).toBe(404);
    const inProject = { scope: 'group', scope_id: group.id, project_id: projectId, threshold_amount: 1 };
    expect((await make(inProject)).status).toBe(400);
    for (const { body } of [made, each])
      expect((await server.admin('DELETE', `/v1/keygate/budgets/${body['id']}`)).status).toBe(200);
  });

  it('are of owners in this organization, and say what is wrong with others', async () => {
    const { id } = await newProject();
    const make = async (body: object) =>
      (await server.admin('POST', '/v1/keygate/budgets', { threshold_amount: 1, ...body })).status;
    const key = await server.createKey({ name: 'elsewhere' });
    expect(await make({ scope: 'api_key', scope_id: 'key_unknown' })).toBe(404);
    expect(await make({ scope: 'api_key', scope_id: key.id, project_id: id })).toBe(404);
    expect(await make({ scope: 'project', project_id: 'proj_unknown' })).toBe(404);
    expect(await make({ scope: 'end_user', scope_id: '*' })).toBe(400);
    expect(await make({ scope: 'project', project_id: id, scope_id: 'proj_other' })).toBe(400);
    expect(await make({ scope: 'project', project_id: id })).toBe(200);
    expect(await make({ scope: 'project', project_id: id })).toBe(400);
    expect(await make({ scope: 'project', project_id: id, interval: 'day' })).toBe(200);
  });

  it('leave a trace of every change in the audit log, without addresses of people', async () => {
    await server.stop();
    const store = await openStore({
      dataDir: server.dataDir,
      databaseUrl: null,
      clock: systemClock,
      onError: () => {},
    });
    const entries = await store.db.selectFrom('audit_log').select(['type', 'payload']).execute();
    expect(await verifyChain(store)).toMatchObject({ ok: true });
    await store.close();
    // That a limit was reached is in the log too, but nobody's change.
    const changes = entries.map(({ type }) => type).filter((type) => /^(spend|budget)/.test(type));
    expect(new Set(changes.filter((type) => type !== 'spend_limit.reached'))).toEqual(
      new Set([
        'spend_limit.updated',
        'spend_limit.deleted',
        'spend_alert.created',
        'spend_alert.updated',
        'spend_alert.deleted',
        'budget.created',
        'budget.updated',
        'budget.deleted',
      ]),
    );
    expect(entries.map(({ payload }) => payload).join()).not.toContain('example.com');
  });
});
