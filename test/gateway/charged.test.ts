// What is charged for a call by how it ended, and why: the table of docs/spend.md, row after row. Of each: what the caller
// saw, the record, what the hard limit counts, and the explanation that `keygate usage explain` gives.

import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { centsToNano } from '../../src/spend/budgets/model.ts';
import type { TestServer } from '../harness/server.ts';
import {
  type Answer,
  chatEvents,
  completion,
  sendJson,
  startUpstream,
  type Upstream,
} from '../harness/upstream.ts';
import { accountsOf, costOf, startBudgeted } from '../spend/budgeted.ts';

let server: TestServer | null = null;
let upstream: Upstream | null = null;

afterEach(async () => {
  await server?.stop();
  server?.remove();
  await upstream?.close();
  server = null;
  upstream = null;
});

/** Time-outs are swept once a second. */
const SHORT = 'bounds: {total_timeout: 1s}\n';
const WORDS = chatEvents(['one', ' two', ' three'], false);
const ALLOWED = 100;

interface Ways {
  readonly stream?: boolean;
  readonly yaml?: string;
  /** The caller leaves when the provider was asked, or when the first of the answer is there. */
  readonly leave?: 'asked' | 'begun';
}

/** One call, against a provider that answers so, to its end. */
async function charge(answer: Answer, { stream = false, yaml = '', leave }: Ways = {}) {
  upstream = await startUpstream();
  const listing = upstream.answer;
  upstream.answer = (asked, response, request) =>
    (asked.method === 'POST' ? answer : listing)(asked, response, request);
  server = await startBudgeted(upstream.url, [{ scope: 'project', limit: centsToNano(100) }], yaml);
  const body = { model: 'priced', messages: [{ role: 'user', content: 'hi' }], max_tokens: ALLOWED, stream };
  const gone = new AbortController();
  const sent = server.request('/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify(body),
    signal: gone.signal,
  });
  const { asked } = upstream;
  let status = 0;
  let text = '';
  let id = '';
  const whole = sent.then(async (reply) => {
    status = reply.status;
    id = reply.headers.get('x-request-id') ?? '';
    if (leave === 'begun') {
      await reply.body?.getReader().read();
      gone.abort();
    } else text = await reply.text();
  });
  // The connection may break, from one side or the other.
  const over = whole.catch(() => {});
  if (leave === 'asked') {
    await expect.poll(() => asked.some(({ method }) => method === 'POST')).toBe(true);
    gone.abort();
  }
  await over;
  const { admin, metric } = server;
  await expect.poll(() => metric('keygate_usage_events_recorded_total'), { timeout: 10_000 }).toBe(1);
  const told = await admin('GET', `/v1/keygate/usage/events?request_id=${id || 'req_'}`);
  const [explained] = (told.body['data'] ?? []) as { explanation: string[]; cost: { amount: string } }[];
  const [event] = await server.stopAndReadEvents();
  if (event === undefined) throw new Error('there is no record of the call');
  const [account] = await accountsOf(server.dataDir);
  // Nothing is held for a call that is over.
  expect(account?.committed).toBe(account?.settled);
  const why = explained?.explanation.join(' ') ?? '';
  return { status, text, event, why, explained, settled: Number(account?.settled) };
}

function streamed(response: ServerResponse, events: readonly string[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of events) response.write(event);
}

describe('what is charged for a call', () => {
  it('that was answered: what the provider stated', async () => {
    const { event, settled, why, explained } = await charge((_asked, response) =>
      sendJson(response, 200, completion('x', { prompt_tokens: 20, completion_tokens: 30 })),
    );
    expect([event.outcome, event.source, settled]).toEqual(['ok', 'provider', costOf(20, 30)]);
    expect(why).toContain('The provider stated what was used.');
    expect(explained?.cost.amount).toBe('0.00032');
  });

  it('that was answered without usage: what a tokenizer counts', async () => {
    const { event, settled, why } = await charge((_asked, response) =>
      sendJson(response, 200, completion('one two three', null)),
    );
    expect([event.outcome, event.source, event.usage.output]).toEqual(['ok', 'counted', 3]);
    expect(settled).toBe(costOf(event.usage.input, 3));
    expect(why).toContain('a tokenizer counted');
  });

  it.each([400, 429, 500, 503])('that the provider refused with %i: nothing', async (refused) => {
    const { status, event, settled, why } = await charge((_asked, response) =>
      sendJson(response, refused, { error: { message: 'no', type: 'x', code: null, param: null } }),
    );
    expect([status, event.outcome, settled]).toEqual([refused, 'provider_error', 0]);
    expect(why).toContain('it charges nothing for that');
  });

  it('that the provider dropped before it answered: nothing', async () => {
    const { status, event, settled } = await charge((_asked, response) => response.destroy());
    expect([status, event.outcome, settled]).toEqual([502, 'provider_cut', 0]);
  });

  it('whose stream the provider cut: the prompt and what was written, counted', async () => {
    const { status, text, event, settled, why } = await charge(
      (_asked, response) => {
        streamed(response, WORDS.slice(0, 3));
        setTimeout(() => response.destroy(), 20);
      },
      { stream: true },
    );
    expect([status, event.outcome, event.source, event.usage.output]).toEqual([
      200,
      'provider_cut',
      'counted',
      3,
    ]);
    expect(text).toContain('"code":"provider_cut"');
    expect(settled).toBe(costOf(event.usage.input, 3));
    expect(why).toContain('what it had written is charged');
  });

  it('whose stream failed at the provider after a part of it: what was written, counted', async () => {
    const failure = {
      error: { message: 'The server had an error', type: 'server_error', code: null, param: null },
    };
    const { text, event, settled } = await charge(
      (_asked, response) => {
        streamed(response, [...WORDS.slice(0, 2), `data: ${JSON.stringify(failure)}\n\n`]);
        response.end();
      },
      { stream: true },
    );
    // It reached the caller as the provider said it.
    expect(text).toContain('The server had an error');
    expect([event.source, event.usage.output]).toEqual(['counted', 2]);
    expect(settled).toBe(costOf(event.usage.input, 2));
  });

  it('whose JSON answer broke off in the middle: the prompt, since the provider had begun', async () => {
    const { event, settled, status } = await charge((_asked, response) => {
      const body = JSON.stringify(completion('one two three'));
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
      response.write(body.slice(0, 80));
      setTimeout(() => response.destroy(), 20);
    });
    expect([status, event.outcome, event.source]).toEqual([502, 'provider_cut', 'counted']);
    expect(event.usage.input).toBeGreaterThan(0);
    expect(settled).toBe(costOf(event.usage.input, event.usage.output));
  });

  it('whose caller left in the middle of a stream: the prompt and what was written, counted', async () => {
    const { event, settled } = await charge((_asked, response) => streamed(response, WORDS.slice(0, 3)), {
      stream: true,
      leave: 'begun',
    });
    expect([event.outcome, event.source, event.status]).toEqual(['client_closed', 'counted', 499]);
    expect(event.usage.output).toBeGreaterThan(0);
    expect(settled).toBe(costOf(event.usage.input, event.usage.output));
  });

  it('whose caller left before anything of the answer was seen: all that was reserved', async () => {
    const { event, settled } = await charge(() => {}, { leave: 'asked' });
    expect([event.outcome, event.usage.output]).toEqual(['client_closed', 0]);
    expect(settled).toBeGreaterThanOrEqual(costOf(event.usage.input, ALLOWED));
    expect(event.spend?.cost).toBe(costOf(event.usage.input, 0));
  });

  it('that was not streamed and whose time was up: all that was reserved', async () => {
    const { status, event, settled, why } = await charge(() => {}, { yaml: SHORT });
    expect([status, event.outcome, event.usage.output]).toEqual([504, 'timeout', 0]);
    expect(settled).toBeGreaterThanOrEqual(costOf(event.usage.input, ALLOWED));
    expect(event.spend?.cost).toBe(costOf(event.usage.input, 0));
    expect(why).toContain('hard limits count all that was reserved');
  });

  it('whose stream’s time was up: the prompt and what was written, counted', async () => {
    const { text, event, settled } = await charge(
      (_asked, response) => streamed(response, WORDS.slice(0, 3)),
      {
        stream: true,
        yaml: SHORT,
      },
    );
    expect([event.outcome, event.source, event.usage.output]).toEqual(['timeout', 'counted', 3]);
    expect(text).toContain('The call took longer than this server allows.');
    expect(settled).toBe(costOf(event.usage.input, 3));
  });
});
