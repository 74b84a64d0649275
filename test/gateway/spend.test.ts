// Budgets on the road, with a whole server: what is refused and how, what is sent on, what is charged and why.

import { afterEach, describe, expect, it } from 'vitest';
import { centsToNano } from '../../src/spend/budgets/model.ts';
import type { TestServer } from '../harness/server.ts';
import { chatEvents, completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';
import { accountsOf, costOf, type NewBudget, startBudgeted } from '../spend/budgeted.ts';

let server: TestServer | null = null;
let upstream: Upstream | null = null;

afterEach(async () => {
  await server?.stop();
  server?.remove();
  await upstream?.close();
  server = null;
  upstream = null;
});

async function start(
  budgets: readonly NewBudget[],
  yaml = '',
): Promise<{ server: TestServer; upstream: Upstream }> {
  upstream = await startUpstream();
  server = await startBudgeted(upstream.url, budgets, yaml);
  return { server, upstream };
}

function chat(extra: Record<string, unknown> = {}): RequestInit {
  const body = { model: 'priced', messages: [{ role: 'user', content: 'hi' }], max_tokens: 100, ...extra };
  return { method: 'POST', body: JSON.stringify(body) };
}

/** What the provider was asked, but for its list of models. */
function calls(upstream: Upstream) {
  return upstream.asked.filter(({ method }) => method === 'POST');
}

const CHAT = '/v1/chat/completions';

async function errorOf(reply: Response): Promise<Record<string, unknown>> {
  return ((await reply.json()) as { error: Record<string, unknown> }).error;
}

describe('a hard spend limit', () => {
  it('refuses the call that could pass it, says whose limit it is, and is never passed', async () => {
    const limit = 10_000_000n;
    const { server, upstream } = await start([{ scope: 'project', limit }]);
    upstream.answer = (_asked, response) =>
      sendJson(response, 200, completion('x', { prompt_tokens: 10, completion_tokens: 90 }));
    let served = 0;
    let refused: Response | null = null;
    for (let i = 0; i < 40 && refused === null; i++) {
      const reply = await server.request(CHAT, chat());
      if (reply.status === 200) served++;
      else refused = reply;
    }
    expect(refused?.status).toBe(429);
    expect(refused?.headers.get('x-should-retry')).toBe('false');
    expect(await errorOf(refused as unknown as Response)).toMatchObject({
      type: 'insufficient_quota',
      code: 'project_spend_limit_exceeded',
      param: null,
      message: expect.stringContaining(
        `The spend limit of $0.01 for this month of project ${server.projectId}`,
      ),
    });
    expect(calls(upstream).length).toBe(served);
    const spent = served * costOf(10, 90);
    expect(spent).toBeLessThanOrEqual(Number(limit));
    // The worst case of the call: as many tokens in as its body has bytes and a frame, 100 tokens out.
    expect(Number(limit) - spent).toBeLessThan(costOf(400, 100));
    await server.stop();
    const [account] = await accountsOf(server.dataDir);
    expect(account).toMatchObject({ committed: String(spent), settled: String(spent), overrun: '0' });
  });

  it('holds for calls at once, to the nano-dollar', async () => {
    const limit = 20_000_000n;
    const { server, upstream } = await start([
      { scope: 'organization', limit: limit * 50n },
      { scope: 'api_key', limit },
    ]);
    upstream.answer = (_asked, response) =>
      setTimeout(
        () => sendJson(response, 200, completion('x', { prompt_tokens: 10, completion_tokens: 100 })),
        5,
      );
    const replies = await Promise.all(Array.from({ length: 60 }, () => server.request(CHAT, chat())));
    const codes = await Promise.all(replies.filter(({ status }) => status !== 200).map(errorOf));
    const served = replies.filter(({ status }) => status === 200).length;
    expect(served).toBeGreaterThan(0);
    expect(served * costOf(10, 100)).toBeLessThanOrEqual(Number(limit));
    expect(new Set(codes.map(({ code }) => code))).toEqual(new Set(['api_key_spend_limit_exceeded']));
    expect(calls(upstream).length).toBe(served);
  });

  it('counts each end user and each key for itself', async () => {
    const { server } = await start([{ scope: 'end_user', limit: 2_500_000n }]);
    const ask = (user: string) => server.request(CHAT, chat({ safety_identifier: user, max_tokens: 200 }));
    const statuses: number[] = [];
    // Each call costs 37,000 and could cost 2.3 million: of the second at once there is no room.
    for (const user of ['ann', 'bob']) statuses.push((await ask(user)).status);
    expect(statuses).toEqual([200, 200]);
    const reply = await server.request(CHAT, chat({ safety_identifier: 'ann', max_tokens: 250 }));
    expect((await errorOf(reply))['code']).toBe('end_user_spend_limit_exceeded');
    const events = await server.stopAndReadEvents();
    expect(events.map(({ spend }) => spend?.endUser)).toEqual(['ann', 'bob']);
  });

  it('says of a refusal that may pass in a moment that it may be tried again', async () => {
    const { server, upstream } = await start([{ scope: 'project', limit: 2_000_000n }]);
    const waiting: (() => void)[] = [];
    upstream.answer = ({ method }, response) => {
      const answer = () => sendJson(response, 200, completion('x'));
      if (method === 'POST') waiting.push(answer);
      else answer();
    };
    const first = server.request(CHAT, chat());
    while (waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    const second = await server.request(CHAT, chat());
    expect([second.status, second.headers.get('x-should-retry')]).toEqual([429, 'true']);
    waiting[0]?.();
    expect((await first).status).toBe(200);
    upstream.answer = (_asked, response) => sendJson(response, 200, completion('x'));
    expect((await server.request(CHAT, chat())).status).toBe(200);
  });
});

describe('what a call reserves', () => {
  it('is bounded by a reply bound that is sent on, where the caller gave none', async () => {
    const { server, upstream } = await start(
      [{ scope: 'project', limit: centsToNano(100) }],
      'spend: {reply_tokens: 2000}\n',
    );
    const unbounded = { model: 'priced', messages: [{ role: 'user', content: 'hi' }] };
    const asked: [string, object][] = [
      [CHAT, unbounded],
      [CHAT, { ...unbounded, max_tokens: null }],
      [CHAT, { ...unbounded, max_tokens: 100 }],
      ['/v1/responses', { model: 'priced', input: 'hi' }],
    ];
    for (const [path, body] of asked) {
      const reply = await server.request(path, { method: 'POST', body: JSON.stringify(body) });
      expect([reply.status, await reply.text()]).toEqual([200, expect.any(String)]);
    }
    expect(calls(upstream).map((asked) => asked.json())).toEqual([
      { ...unbounded, max_tokens: 2000 },
      { ...unbounded, max_tokens: 2000 },
      { ...unbounded, max_tokens: 100 },
      { model: 'priced', input: 'hi', max_output_tokens: 2000 },
    ]);
  });

  it('leaves bodies as they came where only soft limits apply, or none', async () => {
    const { server, upstream } = await start([{ scope: 'project', limit: 1n, enforcement: 'soft' }]);
    const body = '{"model":"priced", "messages":[{"role":"user","content":"hi"}]}';
    for (let i = 0; i < 3; i++)
      expect((await server.request(CHAT, { method: 'POST', body })).status).toBe(200);
    expect(calls(upstream).map((asked) => asked.body.toString())).toEqual([body, body, body]);
    const events = await server.stopAndReadEvents();
    expect(events.map(({ spend }) => spend?.cost)).toEqual([costOf(7, 3), costOf(7, 3), costOf(7, 3)]);
    expect((await accountsOf(server.dataDir))[0]?.settled).toBe(String(3 * costOf(7, 3)));
  });

  it('counts every choice, and the dearer tier that was asked for', async () => {
    const { server } = await start([{ scope: 'project', limit: 5_000_000n }]);
    expect((await server.request(CHAT, chat({ n: 4 }))).status).toBe(200);
    expect((await server.request(CHAT, chat({ n: 5 }))).status).toBe(429);
    expect((await server.request(CHAT, chat({ n: 2, service_tier: 'priority' }))).status).toBe(200);
    expect((await server.request(CHAT, chat({ n: 3, service_tier: 'priority' }))).status).toBe(429);
    expect((await server.request(CHAT, chat({ max_tokens: 1e15 }))).status).toBe(429);
  });

  it('cannot be understated by a member that stands twice', async () => {
    const { server, upstream } = await start([{ scope: 'project', limit: centsToNano(1) }]);
    const body = '{"model":"priced","max_tokens":100000,"messages":[],"max_tokens":1}';
    expect((await server.request(CHAT, { method: 'POST', body })).status).toBe(400);
    expect(calls(upstream).length).toBe(0);
  });
});

describe('a model without a price', () => {
  it('is refused where a hard limit applies, with a sentence that says what to do', async () => {
    const { server, upstream } = await start([{ scope: 'project', limit: centsToNano(100) }]);
    const reply = await server.request(CHAT, chat({ model: 'unknown' }));
    expect(reply.status).toBe(403);
    expect(await errorOf(reply)).toMatchObject({
      code: 'model_unpriced',
      message: expect.stringContaining('The model `unknown` has no price on this server'),
    });
    expect((await server.request(CHAT, chat({ model: 'dear', service_tier: 'priority' }))).status).toBe(403);
    expect(calls(upstream).length).toBe(0);
  });

  it('is counted as unpriced where the administrator chose so', async () => {
    const { server } = await start(
      [{ scope: 'project', limit: centsToNano(1) }],
      'spend: {unpriced: count}\n',
    );
    expect((await server.request(CHAT, chat({ model: 'unknown' }))).status).toBe(200);
    const [event] = await server.stopAndReadEvents();
    expect(event?.spend).toMatchObject({ cost: 0, unpriced: true, priceVersion: '' });
  });

  it('is not what a free model is, nor the sandbox, nor a test key’s call', async () => {
    const { server } = await start([{ scope: 'organization', limit: 0n }]);
    expect((await server.request(CHAT, chat({ model: 'gratis' }))).status).toBe(200);
    expect((await server.request(CHAT, chat({ model: 'sandbox-small' }))).status).toBe(200);
    const test = await server.createKey({ name: 'test', type: 'test' });
    expect((await server.request(CHAT, { ...chat({ model: 'priced' }), key: test.value })).status).toBe(200);
    expect((await server.request(CHAT, chat())).status).toBe(429);
  });
});

describe('what is charged', () => {
  it('is what the provider stated, at the prices of the tier that served', async () => {
    const { server, upstream } = await start([{ scope: 'project', limit: centsToNano(100) }]);
    upstream.answer = (_asked, response) =>
      sendJson(response, 200, {
        ...completion('x', {
          prompt_tokens: 1000,
          completion_tokens: 500,
          completion_tokens_details: { reasoning_tokens: 400 },
        }),
        service_tier: 'priority',
      });
    await server.request(CHAT, chat({ service_tier: 'priority' }));
    const [event] = await server.stopAndReadEvents();
    expect(event?.spend).toMatchObject({ cost: 2 * costOf(1000, 500), unpriced: false });
    expect(event?.spend?.priceVersion).toMatch(/^[0-9a-f]{12}$/);
    expect(event?.spend?.lease).toMatch(/^lease_[0-9a-f]{32}$/);
  });

  it('is nothing for a call that the provider refused or that never reached it', async () => {
    const { server, upstream } = await start([{ scope: 'project', limit: centsToNano(100) }]);
    upstream.answer = (_asked, response) => sendJson(response, 500, { error: { message: 'no' } });
    expect((await server.request(CHAT, chat())).status).toBe(500);
    await upstream.close();
    expect((await server.request(CHAT, chat())).status).toBe(502);
    const events = await server.stopAndReadEvents();
    expect(events.map(({ spend }) => spend?.cost)).toEqual([0, 0]);
    expect((await accountsOf(server.dataDir))[0]).toMatchObject({ committed: '0', settled: '0' });
  });

  it('is what a tokenizer counts of a stream that either side cut', async () => {
    const { server, upstream } = await start([{ scope: 'project', limit: centsToNano(100) }]);
    upstream.answer = (_asked, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const event of chatEvents(['one', ' two', ' three'], false).slice(0, 3)) response.write(event);
      setTimeout(() => response.destroy(), 20);
    };
    await (await server.request(CHAT, chat({ stream: true }))).text();
    upstream.answer = (_asked, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const event of chatEvents(['one', ' two', ' three'], false).slice(0, 3)) response.write(event);
    };
    const leave = new AbortController();
    const reply = await server.request(CHAT, { ...chat({ stream: true }), signal: leave.signal });
    await reply.body?.getReader().read();
    leave.abort();
    const events = await server.stopAndReadEvents();
    expect(events.map(({ outcome }) => outcome).sort()).toEqual(['client_closed', 'provider_cut']);
    for (const { usage, spend, source } of events) {
      expect(source).toBe('counted');
      expect(usage.output).toBeGreaterThan(0);
      expect(spend?.cost).toBe(costOf(usage.input, usage.output));
    }
    const charged = events.reduce((sum, { spend }) => sum + (spend?.cost ?? 0), 0);
    expect((await accountsOf(server.dataDir))[0]?.settled).toBe(String(charged));
  });

  it('is all that was reserved for a call that was left before anything of its answer was seen', async () => {
    const { server, upstream } = await start([{ scope: 'project', limit: centsToNano(100) }]);
    upstream.answer = () => {};
    const leave = new AbortController();
    const reply = server.request(CHAT, { ...chat(), signal: leave.signal }).catch(() => null);
    while (calls(upstream).length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    leave.abort();
    await reply;
    const [event] = await server.stopAndReadEvents();
    // The record holds what could be counted; the limit holds what may be billed.
    expect(event?.spend?.cost).toBe(costOf(event?.usage.input ?? 0, 0));
    const [account] = await accountsOf(server.dataDir);
    expect(Number(account?.settled)).toBeGreaterThanOrEqual(costOf(0, 100));
  });

  it('is told to no budget, and to no record, while there is no budget', async () => {
    const { server } = await start([]);
    expect((await server.request(CHAT, chat({ model: 'unknown' }))).status).toBe(200);
    const [event] = await server.stopAndReadEvents();
    expect(event?.spend).toBeNull();
  });
});
