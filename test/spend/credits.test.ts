// Credits on a whole server: what is refused before anybody said how calls are paid, and what a prepaid organization's
// callers are told.

import OpenAI, { RateLimitError } from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';
import { PRICES } from './budgeted.ts';

let upstream: Upstream | null = null;
const servers: TestServer[] = [];

afterEach(async () => {
  for (const server of servers) await server.stop();
  for (const server of servers.splice(0)) server.remove();
  await upstream?.close();
  upstream = null;
});

async function start(options: { yaml?: string; account?: string; dataDir?: string } = {}) {
  // A call costs a cent.
  upstream ??= await startUpstream((_asked, response) =>
    sendJson(response, 200, completion('x', { prompt_tokens: 0, completion_tokens: 1000 })),
  );
  const server = await startTestServer({
    yaml: oneProvider(upstream.url) + PRICES + (options.yaml ?? ''),
    env: { KEYGATE_SPEND_ACCOUNT: options.account ?? 'prepaid' },
    ...(options.dataDir === undefined ? {} : { dataDir: options.dataDir }),
  });
  servers.push(server);
  const ask = (model = 'priced', key = server.projectKey) =>
    server.request('/v1/chat/completions', {
      method: 'POST',
      key,
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }], max_tokens: 1000 }),
    });
  const admin = async (method: string, path: string, body?: unknown) => {
    const reply = await server.admin(method, `/v1/keygate/credits${path}`, body);
    if (reply.status !== 200) throw new Error(`${reply.status} ${JSON.stringify(reply.body)}`);
    return reply.body;
  };
  return { server, ask, admin, upstream };
}

const calls = (upstream: Upstream) => upstream.asked.filter(({ method }) => method === 'POST').length;

describe('before anybody said how calls are paid', () => {
  it('those that cost are refused, with a sentence that says what to do; those that do not are served', async () => {
    const { server, ask, upstream } = await start();
    for (const model of ['priced', 'without-a-price']) {
      const reply = await ask(model);
      expect([reply.status, reply.headers.get('x-should-retry')]).toEqual([429, 'false']);
      const { error } = (await reply.json()) as { error: Record<string, unknown> };
      expect(error).toMatchObject({ type: 'insufficient_quota', code: 'billing_not_active', param: null });
      expect(error['message']).toMatch(/keygate credits postpaid.*account: postpaid.*keygate credits grant/);
    }
    expect(calls(upstream)).toBe(0);
    expect((await ask('gratis')).status).toBe(200);
    expect((await ask('sandbox-small')).status).toBe(200);
    const test = await server.createKey({ name: 'test', type: 'test' });
    expect((await ask('priced', test.value)).status).toBe(200);
    expect((await server.request('/v1/models')).status).toBe(200);
    expect(server.log.join()).toContain('Calls to providers are refused until it is said how they are paid');
  });

  it('one word of the configuration or of an administrator is enough, and lasts', async () => {
    const configured = await start({ account: 'postpaid' });
    expect((await configured.ask()).status).toBe(200);
    expect(await configured.admin('GET', '')).toMatchObject({ billing: 'postpaid', declared_at: null });
    const { server, ask, admin } = await start();
    expect(await admin('POST', '', { billing: 'postpaid' })).toMatchObject({ billing: 'postpaid' });
    expect((await ask()).status).toBe(200);
    await server.stop();
    const again = await start({ dataDir: server.dataDir });
    expect((await again.ask('priced', server.projectKey)).status).toBe(200);
    expect(again.server.log.join()).not.toContain('are refused until');
  });
});

describe('a prepaid organization', () => {
  it('is served until its credits are used up, and then told so as the platform tells it', async () => {
    const { server, ask, admin } = await start();
    const grant = await admin('POST', '/grants', { amount: 3, note: 'first', reference: 'invoice-1' });
    expect(grant).toMatchObject({
      object: 'keygate.credit_grant',
      amount: 3,
      used: '0',
      left: '0.03',
      status: 'active',
      note: 'first',
    });
    expect([(await ask()).status, (await ask()).status]).toEqual([200, 200]);
    // The third could cost a little more than a cent, for its prompt.
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: server.projectKey });
    const error = await client.chat.completions
      .create({ model: 'priced', messages: [], max_tokens: 1000 })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RateLimitError);
    expect(error).toMatchObject({
      status: 429,
      type: 'insufficient_quota',
      code: 'credit_balance_exhausted',
      param: null,
      message: expect.stringContaining(
        'You exceeded your current quota, please check your plan and billing details.',
      ),
    });
    expect((await ask()).headers.get('x-should-retry')).toBe('false');
    await expect
      .poll(() => admin('GET', ''), { timeout: 5_000 })
      .toMatchObject({ billing: 'prepaid', available: '0.01' });
    await admin('POST', '/grants', { amount: 1 });
    // At the latest half a second after the last refusal.
    await expect.poll(async () => (await ask()).status).toBe(200);
    await expect
      .poll(async () =>
        ((await admin('GET', '/grants')) as { data: { left: string }[] }).data.map(({ left }) => left),
      )
      .toEqual(['0.01', '0']);
    const audit = await server.stop().then(() => server);
    expect(audit.log.join()).not.toContain('"level":"error"');
  });

  it('has its credits beside its spend limits, and neither is passed by calls at once', async () => {
    const { ask, admin, server, upstream } = await start();
    await admin('POST', '/grants', { amount: 40 });
    await server.admin('POST', `/v1/organization/projects/${server.projectId}/spend_limit`, {
      currency: 'USD',
      interval: 'month',
      threshold_amount: 20,
    });
    const codes = async () => {
      const replies = await Promise.all(Array.from({ length: 60 }, () => ask()));
      return await Promise.all(
        replies.map(
          async (reply) => ((await reply.json()) as { error?: { code: string } }).error?.code ?? 'ok',
        ),
      );
    };
    expect(new Set(await codes())).toEqual(new Set(['ok', 'project_spend_limit_exceeded']));
    expect(calls(upstream)).toBeLessThanOrEqual(20);
    await server.admin('DELETE', `/v1/organization/projects/${server.projectId}/spend_limit`);
    const told = [...(await codes()), ...(await codes())];
    expect(new Set(told)).toEqual(new Set(['ok', 'credit_balance_exhausted']));
    expect(calls(upstream)).toBeLessThanOrEqual(40);
    expect(calls(upstream)).toBeGreaterThan(36);
  });

  it('loses what is revoked; its budget is nobody’s to edit; every change is in the audit log', async () => {
    const { server, ask, admin } = await start();
    const { id } = await admin('POST', '/grants', { amount: 500, expires_at: 4_000_000_000 });
    expect(await admin('GET', '')).toMatchObject({ next_expiry: { at: 4_000_000_000, amount: '5' } });
    expect((await ask()).status).toBe(200);
    expect((await server.admin('GET', '/v1/keygate/budgets')).body['data']).toEqual([]);
    await expect.poll(() => admin('GET', `/grants/${id}`)).toMatchObject({ used: '0.01', left: '4.99' });
    expect(await admin('POST', `/grants/${id}/revoke`)).toMatchObject({
      status: 'revoked',
      used: '0.01',
      expired: '4.99',
      left: '0',
    });
    await expect.poll(async () => (await ask()).status).toBe(429);
    expect((await server.admin('GET', '/v1/keygate/credits/grants/grant_x')).status).toBe(404);
    for (const [body, param] of [
      [{}, 'amount'],
      [{ amount: 0 }, 'amount'],
      [{ amount: 1.5 }, 'amount'],
      [{ amount: 1, expires_at: 1 }, 'expires_at'],
      [{ amount: 1, currency: 'EUR' }, 'currency'],
      [{ amount: 1, other: 1 }, 'other'],
    ] as const) {
      const reply = await server.admin('POST', '/v1/keygate/credits/grants', body);
      expect([reply.status, (reply.body['error'] as { param: string }).param]).toEqual([400, param]);
    }
  });
});
