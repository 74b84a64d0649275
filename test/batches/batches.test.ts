// Batches by the official client, unmodified: what a user may rely on from the upload to the last line of the output file,
// and what each line is charged, and why.

import OpenAI, { BadRequestError, NotFoundError, toFile } from 'openai';
import type { Batch, BatchCreateParams } from 'openai/resources/batches';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { chatReply, completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';
import { ended as batchEnded, chatLine, linesIn as readLines, startBatch } from './running.ts';

const PRICES = `prices:
  - {provider: mock, models: ["m-*"], input: "2", output: "10"}
  - {provider: mock, models: ["m-*"], tier: flex, factor: "0.5"}
limits:
  tiers:
    - name: everybody
      limits:
        "*": {requests_per_minute: 2, batch_tokens: 1000000}
        m-small: {batch_tokens: 5}
`;

let upstream: Upstream;
let server: TestServer;
beforeAll(async () => {
  upstream = await startUpstream();
  server = await startTestServer({ yaml: oneProvider(upstream.url, PRICES) });
});
afterAll(async () => {
  await server.stop();
  server.remove();
  await upstream.close();
});
beforeEach(() => {
  upstream.answer = chatReply();
});

const clientOf = (apiKey: string) => new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries: 0 });
const chat = chatLine;
const start = (lines: readonly unknown[], more: Partial<BatchCreateParams> = {}, client = server.client) =>
  startBatch(client, lines, more);
const ended = (batch: Batch, client = server.client) => batchEnded(client, batch);
const linesIn = (fileId: string | null | undefined, client = server.client) => readLines(client, fileId);

describe('client.batches', () => {
  test('runs every line and gives its reply as the provider sent it', async () => {
    const batch = await start(
      [1, 2, 3, 4, 5].map((n) => chat(n)),
      { metadata: { job: 'nightly' } },
    );
    expect(batch).toMatchObject({
      object: 'batch',
      status: 'validating',
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      errors: null,
      request_counts: { total: 0, completed: 0, failed: 0 },
      metadata: { job: 'nightly' },
    });
    expect((batch.expires_at ?? 0) - batch.created_at).toBe(86_400);
    const done = await ended(batch);
    expect(done).toMatchObject({
      status: 'completed',
      model: 'm-1',
      request_counts: { total: 5, completed: 5, failed: 0 },
      error_file_id: null,
      usage: { input_tokens: 35, output_tokens: 15, total_tokens: 50 },
    });
    for (const at of [done.in_progress_at, done.finalizing_at, done.completed_at])
      expect(at).toBeGreaterThanOrEqual(batch.created_at);
    const lines = await linesIn(done.output_file_id);
    expect(lines.map(({ custom_id }) => custom_id)).toEqual([1, 2, 3, 4, 5].map((n) => `line-${n}`));
    expect(lines[0]?.response).toMatchObject({ status_code: 200, body: completion('hello') });
    const file = await server.client.files.retrieve(done.output_file_id ?? '');
    expect(file).toMatchObject({ purpose: 'batch_output', filename: `${batch.id}_output.jsonl` });
    expect((file.expires_at ?? 0) - file.created_at).toBe(30 * 86_400);
  });

  test('draws on the batch queue and not on requests a minute', async () => {
    // The table allows two requests a minute.
    expect((await ended(await start([1, 2, 3, 4, 5, 6].map((n) => chat(n))))).request_counts?.completed).toBe(
      6,
    );
  });

  test('fails, later and with the published error, when the queue has no room', async () => {
    const lines = [1, 2].map((n) =>
      chat(n, { model: 'm-small', messages: [{ role: 'user', content: 'word '.repeat(40) }] }),
    );
    const failed = await ended(await start(lines));
    expect(failed).toMatchObject({
      status: 'failed',
      errors: { object: 'list', data: [{ code: 'token_limit_exceeded', line: null, param: null }] },
    });
    expect(failed.errors?.data?.[0]?.message).toMatch(
      /^Enqueued token limit reached for m-small in organization org-.* Limit: 5 enqueued tokens\./,
    );
  });

  test('puts refused lines in the error file with their response', async () => {
    upstream.answer = (asked, response) => {
      const text = JSON.stringify(asked.json());
      if (text.includes('question 2'))
        return sendJson(response, 400, {
          error: { message: 'no', type: 'invalid_request_error', param: null, code: null },
        });
      sendJson(response, 200, completion('yes'));
    };
    const done = await ended(await start([1, 2, 3].map((n) => chat(n))));
    expect(done.status).toBe('completed');
    expect(done.request_counts).toEqual({ total: 3, completed: 2, failed: 1 });
    expect((await linesIn(done.output_file_id)).map(({ custom_id }) => custom_id)).toEqual([
      'line-1',
      'line-3',
    ]);
    const [error] = await linesIn(done.error_file_id);
    expect(error).toMatchObject({
      custom_id: 'line-2',
      response: { status_code: 400, body: { error: { message: 'no' } } },
      error: null,
    });
  });

  test('tries again what is over for now, with one idempotency key a line', async () => {
    const keys: unknown[] = [];
    upstream.answer = (asked, response) => {
      keys.push(asked.headers['idempotency-key']);
      if (keys.length < 3)
        return sendJson(
          response,
          429,
          { error: { message: 'slow', type: 'requests', param: null, code: 'rate_limit_exceeded' } },
          { 'retry-after-ms': '5' },
        );
      sendJson(response, 200, completion('at last'));
    };
    const done = await ended(await start([chat(1)]));
    expect(done.request_counts).toEqual({ total: 1, completed: 1, failed: 0 });
    expect(keys).toHaveLength(3);
    expect(new Set(keys).size).toBe(1);
  });

  test('says all that is wrong with the file, by line, and sends nothing', async () => {
    const before = upstream.asked.length;
    const failed = await ended(
      await start([
        chat(1),
        '{"custom_id": nonsense',
        chat(1),
        chat(4, {}, '/v1/responses'),
        { ...chat(5), method: 'GET' },
        chat(6, { model: 'm-2' }),
        chat(7, { stream: true }),
        { method: 'POST', url: '/v1/chat/completions', body: {} },
        '',
        '[]',
      ]),
    );
    expect(failed.status).toBe('failed');
    expect(failed.failed_at).toBeGreaterThan(0);
    expect(failed.errors?.data?.map(({ code, line, param }) => [line, code, param])).toEqual([
      [2, 'invalid_json_line', null],
      [3, 'duplicate_custom_id', 'custom_id'],
      [4, 'url_mismatch', 'url'],
      [5, 'invalid_method', 'method'],
      [6, 'model_mismatch', 'body.model'],
      [7, 'invalid_value', 'body.stream'],
      [8, 'missing_required_parameter', 'custom_id'],
      [10, 'invalid_json_line', null],
    ]);
    expect(upstream.asked.length).toBe(before);
  });

  test('an empty file fails', async () => {
    const failed = await ended(await start([' ']));
    expect(failed.errors?.data?.[0]).toMatchObject({ code: 'empty_file', line: null });
  });

  test.each([
    [{ endpoint: '/v1/videos' as const }, 'endpoint'],
    [{ endpoint: '/v1/nonsense' as '/v1/videos' }, 'endpoint'],
    [{ completion_window: '1h' as '24h' }, 'completion_window'],
    [{ input_file_id: 'file-none' }, 'input_file_id'],
    [{ metadata: { a: 'x'.repeat(513) } }, 'metadata.a'],
    [{ output_expires_after: { anchor: 'created_at' as const, seconds: 1 } }, 'output_expires_after.seconds'],
    [{ surprise: 1 } as object, 'surprise'],
  ])('refuses %j at once, and names %s', async (more, param) => {
    const refused = await start([chat(1)], more).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(BadRequestError);
    expect(refused).toMatchObject({ param });
  });

  test('refuses a file that is not for batches', async () => {
    const file = await server.client.files.create({
      file: await toFile(Buffer.from('{}'), 'x.jsonl'),
      purpose: 'user_data',
    });
    await expect(start([], { input_file_id: file.id })).rejects.toThrow(/purpose 'user_data'/);
  });

  test('is cancelled: lines under way are finished and delivered, others are not sent', async () => {
    const waiting: (() => void)[] = [];
    upstream.answer = (_asked, response) => {
      waiting.push(() => sendJson(response, 200, completion('late')));
    };
    const batch = await start(Array.from({ length: 40 }, (_, n) => chat(n)));
    while (waiting.length < 8) await new Promise((resolve) => setTimeout(resolve, 10));
    const cancelling = await server.client.batches.cancel(batch.id);
    expect(cancelling.status).toBe('cancelling');
    expect(cancelling.cancelling_at).toBeGreaterThan(0);
    await expect(server.client.files.delete(batch.input_file_id)).rejects.toThrow(/cancel it first/);
    for (const answer of waiting.splice(0)) answer();
    const done = await ended(batch);
    expect(done.status).toBe('cancelled');
    expect(done.request_counts?.total).toBe(40);
    const lines = await linesIn(done.output_file_id);
    expect(lines).toHaveLength(8);
    expect(done.request_counts?.completed).toBe(8);
    expect(await server.client.batches.cancel(batch.id)).toMatchObject({ status: 'cancelled' });
  });

  test('a batch that is over cannot be cancelled', async () => {
    const done = await ended(await start([chat(1)]));
    await expect(server.client.batches.cancel(done.id)).rejects.toThrow(
      /Cannot cancel a batch with status 'completed'/,
    );
  });

  test('stops when its key is revoked, and says so', async () => {
    const key = await server.createKey({ name: 'short lived' });
    const client = clientOf(key.value);
    const waiting: (() => void)[] = [];
    upstream.answer = (_asked, response) => {
      waiting.push(() => sendJson(response, 200, completion('late')));
    };
    const batch = await start(
      Array.from({ length: 30 }, (_, n) => chat(n)),
      {},
      client,
    );
    while (waiting.length < 8) await new Promise((resolve) => setTimeout(resolve, 10));
    await server.admin('DELETE', `/v1/organization/projects/${server.projectId}/api_keys/${key.id}`);
    upstream.answer = chatReply();
    for (const answer of waiting.splice(0)) answer();
    const done = await ended(batch);
    expect(done).toMatchObject({ status: 'cancelled', errors: { data: [{ code: 'api_key_not_usable' }] } });
    expect(done.request_counts?.completed).toBe(8);
  });

  test('lists the newest first, in pages', async () => {
    const all: string[] = [];
    for await (const batch of server.client.batches.list({ limit: 3 })) all.push(batch.id);
    expect(all.length).toBeGreaterThan(6);
    const [first] = (await server.client.batches.list({ limit: 1 })).data;
    expect(first?.id).toBe(all[0]);
    expect(new Set(all).size).toBe(all.length);
  });

  test('another project reaches none of it: not the batch, not its files', async () => {
    const done = await ended(await start([chat(1)]));
    const made = await server.admin('POST', '/v1/organization/projects', { name: 'other' });
    const key = await server.admin('POST', `/v1/keygate/projects/${made.body['id']}/api_keys`, { name: 'k' });
    const stranger = clientOf(String(key.body['value']));
    await expect(stranger.batches.retrieve(done.id)).rejects.toThrow(NotFoundError);
    await expect(stranger.batches.cancel(done.id)).rejects.toThrow(NotFoundError);
    await expect(stranger.files.content(done.output_file_id ?? '')).rejects.toThrow(NotFoundError);
    expect((await stranger.batches.list()).data).toEqual([]);
    await expect(
      stranger.batches.create({
        input_file_id: done.input_file_id,
        endpoint: '/v1/chat/completions',
        completion_window: '24h',
      }),
    ).rejects.toThrow(/no such File/);
  });

  test('models of the sandbox work, for every endpoint', async () => {
    const bodies: [BatchCreateParams['endpoint'], object][] = [
      ['/v1/chat/completions', { messages: [{ role: 'user', content: 'hi' }] }],
      ['/v1/responses', { input: 'hi' }],
      ['/v1/completions', { prompt: 'hi' }],
      ['/v1/embeddings', { input: ['a', 'b'] }],
      ['/v1/moderations', { input: 'hi' }],
      ['/v1/images/generations', { prompt: 'a cat', size: '256x256' }],
    ];
    const test = clientOf((await server.createKey({ name: 't', type: 'test' })).value);
    for (const [url, body] of bodies) {
      const line = { custom_id: 'a', method: 'POST', url, body: { model: 'anything', ...body } };
      const done = await ended(await start([line], { endpoint: url }, test), test);
      const [error] = await linesIn(done.error_file_id, test);
      expect(error).toBeUndefined();
      expect(done.request_counts).toEqual({ total: 1, completed: 1, failed: 0 });
    }
  });
});
