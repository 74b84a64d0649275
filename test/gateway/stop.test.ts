// Streams whose replies nobody bounded, stopped when the spend limits bear no more: what the caller sees, what the
// provider was made to write, and what is charged.

import type { ServerResponse } from 'node:http';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { centsToNano } from '../../src/spend/budgets/model.ts';
import type { TestServer } from '../harness/server.ts';
import { type Asked, startUpstream, type Upstream, wantsUsage } from '../harness/upstream.ts';
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

const STOP = 'spend: {unbounded_replies: stop, stop_models: [priced]}\n';
/** A token of each word, as the provider counts. */
const WORDS = 'and so on and on'.split(' ');

/** A model that writes a word a token, some ten a millisecond, until `most` or until nobody listens. */
class Writer {
  written = 0;
  readonly most: number;

  constructor(most = Number.POSITIVE_INFINITY) {
    this.most = most;
  }

  answer(event: (word: string, at: number) => string, begin: string, end: (tokens: number) => string) {
    return (_asked: Asked, response: ServerResponse): void => {
      let mine = 0;
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(begin);
      const writing = setInterval(() => {
        let events = '';
        for (let i = 0; i < 20 && mine < this.most; i++) {
          events += event(` ${WORDS[mine % WORDS.length]}`, mine++);
          this.written++;
        }
        response.write(events);
        if (mine < this.most) return;
        clearInterval(writing);
        response.end(end(mine));
      }, 5);
      response.on('close', () => clearInterval(writing));
    };
  }

  chat() {
    const chunk = (choices: object[], usage?: object) =>
      `data: ${JSON.stringify({ id: 'chatcmpl-7', object: 'chat.completion.chunk', created: 5, model: 'mock-1', choices, ...(usage ? { usage } : {}) })}\n\n`;
    return this.answer(
      (content) => chunk([{ index: 0, delta: { content }, finish_reason: null }]),
      chunk([{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }]),
      (tokens) =>
        chunk([{ index: 0, delta: {}, finish_reason: 'stop' }]) +
        chunk([], { prompt_tokens: 7, completion_tokens: tokens, total_tokens: 7 + tokens }) +
        'data: [DONE]\n\n',
    );
  }

  responses() {
    let sequence = 0;
    const event = (type: string, rest: object) =>
      `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence++, ...rest })}\n\n`;
    const response = {
      id: 'resp_7',
      object: 'response',
      created_at: 5,
      model: 'mock-1',
      status: 'in_progress',
      output: [],
    };
    const item = { id: 'msg_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] };
    const place = { item_id: 'msg_1', output_index: 0, content_index: 0 };
    return this.answer(
      (delta) => event('response.output_text.delta', { ...place, delta }),
      event('response.created', { response }) +
        event('response.output_item.added', { output_index: 0, item }) +
        event('response.content_part.added', {
          ...place,
          part: { type: 'output_text', text: '', annotations: [] },
        }),
      () => '',
    );
  }
}

async function start(cents: number, yaml = STOP) {
  upstream = await startUpstream();
  server = await startBudgeted(upstream.url, [{ scope: 'project', limit: centsToNano(cents) }], yaml);
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: server.projectKey, maxRetries: 0 });
  return { server, upstream, client };
}

const CHAT = { model: 'priced', messages: [{ role: 'user' as const, content: 'hi' }], stream: true as const };

describe('a stream without a bound', () => {
  it('is ended as one that reached its length when the limits bear no more, and the provider is told', async () => {
    const { server, upstream, client } = await start(10);
    const writer = new Writer();
    upstream.answer = writer.chat();
    let text = '';
    const reasons: (string | null)[] = [];
    for await (const chunk of await client.chat.completions.create(CHAT)) {
      text += chunk.choices[0]?.delta.content ?? '';
      if (chunk.choices[0]?.finish_reason) reasons.push(chunk.choices[0].finish_reason);
      expect(chunk).toMatchObject({ id: 'chatcmpl-7', model: 'mock-1' });
    }
    expect(reasons).toEqual(['length']);
    // A sent body has no bound, but asks for usage.
    const sent = upstream.asked.find(({ method }) => method === 'POST');
    expect(sent?.json()).toEqual({ ...CHAT, stream_options: { include_usage: true } });
    expect(sent && wantsUsage(sent)).toBe(true);
    await expect.poll(() => upstream.aborted).toBe(1);
    const seen = text.trim().split(' ').length;
    expect(seen).toBeGreaterThan(1_000);
    const limit = Number(centsToNano(10));
    expect(costOf(100, writer.written)).toBeLessThanOrEqual(limit);
    const [event] = await server.stopAndReadEvents();
    expect(event).toMatchObject({ outcome: 'budget_stop', status: 200, source: 'counted', streamed: true });
    expect(event?.usage.output).toBeGreaterThanOrEqual(seen * 0.9);
    expect(event?.usage.output).toBeLessThanOrEqual(seen * 1.1);
    // The record holds what was counted; the limit also what the provider may have written until it noticed.
    const [account] = await accountsOf(server.dataDir);
    expect(Number(account?.settled)).toBe((event?.spend?.cost ?? 0) + costOf(0, 1_024));
    expect(Number(account?.settled)).toBeLessThanOrEqual(limit);
    expect(account?.committed).toBe(account?.settled);
  });

  it('goes on for as long as the limits bear it, and costs what the provider states', async () => {
    const { server, upstream, client } = await start(1_000);
    const writer = new Writer(6_000);
    upstream.answer = writer.chat();
    const reasons = new Set<string>();
    let words = 0;
    for await (const chunk of await client.chat.completions.create(CHAT)) {
      if (chunk.choices[0]?.delta.content) words++;
      reasons.add(chunk.choices[0]?.finish_reason ?? '');
    }
    expect([words, [...reasons]]).toEqual([6_000, ['', 'stop']]);
    const [event] = await server.stopAndReadEvents();
    expect(event).toMatchObject({ outcome: 'ok', source: 'provider', spend: { cost: costOf(7, 6_000) } });
    expect((await accountsOf(server.dataDir))[0]).toMatchObject({ committed: String(costOf(7, 6_000)) });
  });

  it('of a response ends with what there is of it, as incomplete', async () => {
    const { server, upstream, client } = await start(10);
    const writer = new Writer();
    upstream.answer = writer.responses();
    const stream = client.responses.stream({ model: 'priced', input: 'hi' });
    let text = '';
    const types = new Set<string>();
    for await (const event of stream) {
      types.add(event.type);
      if (event.type === 'response.output_text.delta') text += event.delta;
    }
    const final = await stream.finalResponse();
    expect(final).toMatchObject({
      id: 'resp_7',
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output: [{ id: 'msg_1', status: 'incomplete', content: [{ type: 'output_text', text }] }],
    });
    expect([...types].slice(-4)).toEqual([
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.incomplete',
    ]);
    await expect.poll(() => upstream.aborted).toBe(1);
    const [event] = await server.stopAndReadEvents();
    expect(event?.outcome).toBe('budget_stop');
    expect(costOf(100, writer.written)).toBeLessThanOrEqual(Number(centsToNano(10)));
  });

  it('of many at once, never makes the provider write more than the limit', async () => {
    const { server, upstream, client } = await start(60);
    const writer = new Writer(3_000);
    upstream.answer = writer.chat();
    const ends = await Promise.all(
      Array.from({ length: 16 }, async () => {
        let end = '';
        try {
          for await (const chunk of await client.chat.completions.create(CHAT))
            end = chunk.choices[0]?.finish_reason ?? end;
        } catch (error) {
          end = error instanceof OpenAI.APIError ? String(error.code) : String(error);
        }
        return end;
      }),
    );
    const limit = Number(centsToNano(60));
    expect(new Set(ends).has('length')).toBe(true);
    expect(ends.every((end) => ['length', 'stop', 'project_spend_limit_exceeded'].includes(end))).toBe(true);
    expect(writer.written * 10_000).toBeLessThanOrEqual(limit);
    await server.stop();
    const [account] = await accountsOf(server.dataDir);
    expect(Number(account?.settled)).toBeLessThanOrEqual(limit);
    expect(account?.committed).toBe(account?.settled);
    expect(account?.overrun).toBe('0');
  });

  it('gets a bound where its model may write out of sight, or it is no stream', async () => {
    const { server, upstream } = await start(1_000, `${STOP.replace('}', ', reply_tokens: 2000}')}`);
    for (const body of [
      { ...CHAT, model: 'dear' },
      { ...CHAT, stream: false },
    ])
      await (
        await server.request('/v1/chat/completions', { method: 'POST', body: JSON.stringify(body) })
      ).text();
    const sent = upstream.asked
      .filter(({ method }) => method === 'POST')
      .map((asked) => asked.json()['max_tokens']);
    expect(sent).toEqual([2_000, 2_000]);
  });
});
