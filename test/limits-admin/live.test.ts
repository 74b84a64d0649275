import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { callUntilRefused, chat, type Limited, startLimited } from './servers.ts';

const TABLE = `
tiers:
  - name: only
    limits:
      '*': { requests_per_minute: 100 }
      gpt-4o: { requests_per_minute: 5, tokens_per_day: 10000, batch_tokens: 50 }
      twins: { requests_per_day: 10 }
groups: { twins: [twin-one, twin-two] }
projects:
  '*': { all: { tokens_per_day: 90000 } }`;

const Level = z.object({
  object: z.literal('keygate.limit_level'),
  scope: z.string(),
  subject_id: z.string(),
  cover: z.string(),
  name: z.string(),
  dimension: z.string(),
  limit: z.number(),
  used: z.number(),
  remaining: z.number(),
  reset_ms: z.number().nullable(),
});
const Levels = z.object({
  object: z.literal('list'),
  data: z.array(Level),
  has_more: z.literal(false),
  tier: z.literal('only'),
  state: z.literal('known'),
});

describe('the live view', () => {
  let limited: Limited;
  beforeEach(async () => {
    limited = await startLimited(TABLE);
  });
  afterEach(() => limited.close());

  const view = async (query = '') => {
    const { status, body } = await limited.server.admin('GET', `/v1/keygate/limits${query}`);
    expect(status).toBe(200);
    return Levels.parse(body).data;
  };
  const named = (levels: z.infer<typeof Level>[]) =>
    levels.map(({ scope, cover, name, dimension, limit, used, remaining }) =>
      [scope, cover, name, dimension, limit, used, remaining].join(' '),
    );

  test("shows the pools of a model as full as they are: the organization's, and a project's when it is named", async () => {
    const { server } = limited;
    for (let i = 0; i < 2; i++) await chat(server);
    expect(named(await view('?model=gpt-4o'))).toEqual([
      'organization model gpt-4o requests_per_minute 5 2 3',
      'organization model gpt-4o tokens_per_day 10000 20 9980',
      'organization model gpt-4o batch_tokens 50 0 50',
    ]);
    const levels = await view(`?model=gpt-4o&project_id=${server.projectId}`);
    expect(named(levels.slice(3))).toEqual(['project all all tokens_per_day 90000 20 89980']);
    expect(levels[3]?.subject_id).toBe(server.projectId);
    expect(levels[0]?.subject_id).toBe(server.organizationId);
    expect(levels[0]?.reset_ms).toBeGreaterThan(20_000);
    expect(levels[0]?.reset_ms).toBeLessThanOrEqual(24_000);
  });

  test('shows each pool once, a group under its own name; in_use leaves the full ones out', async () => {
    const { server } = limited;
    await chat(server, { model: 'twin-two' });
    const all = await view();
    const keys = all.map(({ scope, cover, name, dimension }) => `${scope} ${cover} ${name} ${dimension}`);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys).toContain('organization group twins requests_per_day');
    expect(keys).toContain('organization model sandbox-small requests_per_minute');
    expect(named(await view('?in_use=true'))).toEqual([
      'organization group twins requests_per_day 10 1 9',
      'organization model twin-two requests_per_minute 100 1 99',
    ]);
  });

  test('shows what a key and an end user have', async () => {
    const { server } = limited;
    const key = await server.createKey({ name: 'one' });
    const project = `/v1/keygate/projects/${server.projectId}`;
    await server.admin('POST', `${project}/api_keys/${key.id}/limits`, { name: 'all', requests_per_day: 7 });
    await server.admin('POST', `${project}/end_users/limits`, { name: '*', requests_per_minute: 4 });
    await chat(server, { user: 'ann' }, key.value);
    const query = `?model=gpt-4o&project_id=${server.projectId}&api_key_id=${key.id}`;
    expect(named((await view(query)).slice(4))).toEqual(['api_key all all requests_per_day 7 1 6']);
    const ann = await view(`?model=gpt-4o&project_id=${server.projectId}&end_user=ann&in_use=true`);
    expect(named(ann)).toContain('end_user model gpt-4o requests_per_minute 4 1 3');
    expect(await server.admin('GET', `/v1/keygate/limits?api_key_id=${key.id}`)).toMatchObject({
      status: 400,
      body: { error: { param: 'project_id' } },
    });
  });

  test('what a call was told agrees with it', async () => {
    const { server } = limited;
    const { headers } = await chat(server);
    const [requests] = await view('?model=gpt-4o');
    expect(headers.get('x-ratelimit-limit-requests')).toBe(String(requests?.limit));
    expect(headers.get('x-ratelimit-remaining-requests')).toBe(String(requests?.remaining));
  });

  test('a refill lets the next call through at once', async () => {
    const { server } = limited;
    const { refusal } = await callUntilRefused(() => chat(server));
    expect(refusal.status).toBe(429);
    const filled = await server.admin('POST', '/v1/keygate/limits/refill', { model: 'gpt-4o' });
    expect(filled.body).toEqual({ object: 'keygate.limit_refill', pools: 2 });
    expect((await chat(server)).status).toBe(200);
  });
});

describe('an explanation', () => {
  let limited: Limited;
  beforeEach(async () => {
    limited = await startLimited(TABLE);
  });
  afterEach(() => limited.close());

  test('says which pools a call touched, and which one refused it', async () => {
    const { server } = limited;
    const { refusal } = await callUntilRefused(() => chat(server));
    const id = refusal.headers.get('x-request-id') ?? '';
    const { status, body } = await server.admin('GET', `/v1/keygate/limits/explain/${id}`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      object: 'keygate.limit_explanation',
      request_id: id,
      model: 'gpt-4o',
      outcome: 'limit',
      retry_after_ms: Number(refusal.headers.get('retry-after-ms')),
      pools: [
        {
          scope: 'organization',
          subject_id: server.organizationId,
          cover: 'model',
          name: 'gpt-4o',
          dimension: 'requests_per_minute',
          limit: 5,
          requested: 1,
          refused: true,
          used: 5,
        },
        { dimension: 'tokens_per_day', requested: expect.any(Number), refused: false, used: null },
        { dimension: 'batch_tokens', requested: 0, refused: false },
        { scope: 'project', subject_id: server.projectId, cover: 'all', refused: false },
      ],
    });
  });

  test('of a call that passed says so; of one that was never made, that none is kept', async () => {
    const { server } = limited;
    const id = (await chat(server)).headers.get('x-request-id') ?? '';
    expect((await server.admin('GET', `/v1/keygate/limits/explain/${id}`)).body).toMatchObject({
      outcome: 'admitted',
      retry_after_ms: null,
    });
    expect(await server.admin('GET', '/v1/keygate/limits/explain/req_none')).toMatchObject({
      status: 404,
      body: { error: { param: 'request_id' } },
    });
  });
});
