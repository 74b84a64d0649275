import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { UsageEvent } from '../../src/spend/usage.ts';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import {
  chatEvents,
  chatReply,
  completion,
  sendJson,
  startUpstream,
  type Upstream,
  wantsUsage,
} from '../harness/upstream.ts';

let upstream: Upstream;
let second: Upstream;
let server: TestServer;

const MODELS = `
models:
  fast: mock/gpt-real
  steady:
    - {provider: mock, model: first-choice, priority: 1}
    - {provider: spare, model: second-choice, priority: 2}
`;

beforeAll(async () => {
  upstream = await startUpstream();
  second = await startUpstream();
  const yaml = oneProvider(
    upstream.url,
    `  spare:\n    base_url: ${second.url}\n    credential: none\n    allow_private: true\n    models: []\n${MODELS}`,
  );
  server = await startTestServer({
    yaml,
    env: { KEYGATE_CONFIG: 'keygate.yaml', KEYGATE_MAX_BODY_BYTES: '64KB' },
  });
});

afterAll(async () => {
  await server?.stop();
  server?.remove();
  await upstream?.close();
  await second?.close();
});

beforeEach(() => {
  upstream.answer = chatReply();
  upstream.asked.length = 0;
  second.answer = chatReply('from the spare');
  second.asked.length = 0;
});

const MESSAGES = [{ role: 'user' as const, content: 'hi' }];
const CHAT = JSON.stringify({ model: 'm', messages: MESSAGES });

function post(body: string, init: RequestInit & { key?: string | null } = {}): Promise<Response> {
  return server.request('/v1/chat/completions', { method: 'POST', body, ...init });
}

async function errorOf(
  reply: Response,
): Promise<{ status: number; message: string; type: string; code: string | null; param: string | null }> {
  const body = (await reply.json()) as {
    error: { message: string; type: string; code: string | null; param: string | null };
  };
  expect(Object.keys(body.error).sort()).toEqual(['code', 'message', 'param', 'type']);
  return { status: reply.status, ...body.error };
}

/** Sends bytes as they are and gives everything that comes back until the server closes, or until `enough` of it. */
function raw(text: string | Buffer, enough?: RegExp): Promise<string> {
  const { hostname, port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    let got = '';
    const socket = connect(Number(port), hostname, () => socket.write(text));
    socket.on('data', (data) => {
      got += data.toString('latin1');
      if (enough?.test(got)) socket.destroy();
    });
    socket.on('close', () => resolve(got));
    socket.on('error', reject);
  });
}

/** The newest usage event, once there are `count` of them: written behind, so it is asked for until it is there. */
async function recorded(count: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if ((await server.metric('keygate_usage_events_recorded_total')) >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('the event was not recorded');
}

describe('what reaches the provider', () => {
  it('carries the provider’s credential and nothing of the caller’s', async () => {
    await post(CHAT, {
      headers: {
        cookie: 'a=b',
        'x-api-key': 'mine',
        'x-forwarded-for': '1.2.3.4',
        'openai-beta': 'x=v1',
        'openai-project': server.projectId,
      },
    });
    const asked = upstream.asked.find((call) => call.method === 'POST');
    expect(asked?.headers.authorization).toBe('Bearer provider-secret-1234567890');
    expect(Object.keys(asked?.headers ?? {}).sort()).toEqual([
      'accept',
      'accept-encoding',
      'authorization',
      'content-length',
      'content-type',
      'host',
      'openai-beta',
      'user-agent',
    ]);
    expect(asked?.url).toBe('/v1/chat/completions');
    expect(asked?.body.toString()).toBe(CHAT);
    expect(JSON.stringify(asked?.headers)).not.toContain(server.projectKey);
  });

  it('names the model as the provider knows it, and changes nothing else', async () => {
    await post('{ "temperature" : 1e0, "model" : "fast" , "messages":[]}');
    expect(upstream.asked[0]?.body.toString()).toBe(
      '{ "temperature" : 1e0, "model" : "gpt-real" , "messages":[]}',
    );
  });

  it('refuses a form that ends in the middle of a file, and lives on', async () => {
    const head = '--b\r\ncontent-disposition: form-data; name="';
    const file = `${head}file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\nRIFF`;
    for (const body of [file, `${head}model"\r\n\r\nwhisper-1\r\n${file}`, `${file}\r\n--b`, head]) {
      const reply = await server.request('/v1/audio/transcriptions', {
        method: 'POST',
        headers: { 'content-type': 'multipart/form-data; boundary=b' },
        body,
      });
      expect(reply.status, body).toBe(400);
      expect(await reply.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
    }
    expect((await server.request('/v1/models')).status).toBe(200);
  });

  it('names the model in a form as the provider knows it', async () => {
    const form = new FormData();
    form.set('model', 'fast');
    form.set('file', new Blob(['RIFF']), 'a.wav');
    upstream.answer = (_asked, response) =>
      sendJson(response, 200, { text: 'words', usage: { type: 'duration', seconds: 3 } });
    const reply = await server.request('/v1/audio/transcriptions', { method: 'POST', body: form });
    expect(await reply.json()).toMatchObject({ text: 'words' });
    expect(upstream.asked[0]?.body.toString()).toContain('name="model"\r\n\r\ngpt-real\r\n');
    expect(upstream.asked[0]?.body.toString()).toContain('RIFF');
  });

  it('asks for usage in a stream and takes the extra event out again', async () => {
    const seen: boolean[] = [];
    upstream.answer = (asked, response) => {
      seen.push(wantsUsage(asked));
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const event of chatEvents(['a', 'b'], wantsUsage(asked))) response.write(event);
      response.end();
    };
    const bodies = [
      {},
      { stream_options: { include_obfuscation: false } },
      { stream_options: { include_usage: true } },
    ];
    const texts: string[] = [];
    for (const extra of bodies) {
      const reply = await post(JSON.stringify({ model: 'm', messages: MESSAGES, stream: true, ...extra }));
      texts.push(await reply.text());
    }
    expect(seen).toEqual([true, true, true]);
    expect(upstream.asked[1]?.json()['stream_options']).toEqual({
      include_obfuscation: false,
      include_usage: true,
    });
    expect(texts[0]).not.toContain('"choices":[]');
    expect(texts[1]).not.toContain('"choices":[]');
    expect(texts[2]).toContain('"choices":[]');
    for (const text of texts) expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  });
});

describe('what reaches the caller', () => {
  it('has the platform’s headers and none of the provider’s own', async () => {
    upstream.answer = (_asked, response) =>
      sendJson(response, 200, completion('x'), {
        'set-cookie': 'a=b',
        server: 'secret-host',
        'x-ratelimit-limit-requests': 'of-the-provider',
        'openai-organization': 'org-of-the-provider',
        'x-request-id': 'req_provider',
      });
    const reply = await post(CHAT);
    expect(reply.headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
    expect(reply.headers.get('x-provider-request-id')).toBe('req_provider');
    expect(reply.headers.get('openai-organization')).toBe(server.organizationId);
    expect(reply.headers.get('openai-version')).toBe('2020-10-01');
    expect(reply.headers.get('openai-processing-ms')).toMatch(/^\d+$/);
    expect(reply.headers.get('x-ratelimit-limit-requests')).toMatch(/^\d+$/);
    for (const name of ['set-cookie', 'server']) expect(reply.headers.get(name)).toBeNull();
  });

  it('is the answer byte for byte, in one piece or in many', async () => {
    const large = JSON.stringify(completion('é漢🙂'.repeat(60_000)));
    upstream.answer = (_asked, response) => {
      response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
      for (let at = 0; at < large.length; at += 50_000) response.write(large.slice(at, at + 50_000));
      response.end();
    };
    expect(await (await post(CHAT)).text()).toBe(large);
    upstream.answer = chatReply('é漢🙂');
    expect(await (await post(CHAT)).json()).toEqual(completion('é漢🙂'));
  });

  it('is its own caller’s, when the pieces of many answers come by turns', async () => {
    const waiting: { readonly text: string; readonly response: ServerResponse }[] = [];
    const CALLS = 12;
    upstream.answer = (asked, response) => {
      const text = JSON.stringify(completion(String(asked.json()['user']).repeat(150_000)));
      const length = waiting.length % 3 === 0 ? { 'content-length': Buffer.byteLength(text) } : {};
      response.writeHead(200, {
        'content-type': waiting.length % 3 === 1 ? 'application/octet-stream' : 'application/json',
        ...length,
      });
      if (waiting.push({ text, response }) < CALLS) return;
      for (let at = 0; at < text.length; at += 10_000)
        for (const each of waiting) each.response.write(each.text.slice(at, at + 10_000));
      for (const each of waiting) each.response.end();
    };
    const users = Array.from({ length: CALLS }, (_, i) => String.fromCharCode(0x61 + i));
    const replies = await Promise.all(
      users.map(async (user) =>
        (await post(JSON.stringify({ model: 'm', messages: MESSAGES, user }))).text(),
      ),
    );
    for (const [i, user] of users.entries())
      expect(replies[i] === JSON.stringify(completion(user.repeat(150_000))), user).toBe(true);
  });

  it('is the provider’s own error, with its advice on retrying', async () => {
    upstream.answer = (_asked, response) =>
      sendJson(
        response,
        400,
        {
          error: {
            message: 'bad temperature',
            type: 'invalid_request_error',
            param: 'temperature',
            code: null,
          },
        },
        { 'x-should-retry': 'false' },
      );
    const reply = await post(CHAT);
    expect(reply.headers.get('x-should-retry')).toBe('false');
    expect(await errorOf(reply)).toMatchObject({
      status: 400,
      message: 'bad temperature',
      param: 'temperature',
    });
  });

  it('never blames the caller’s key for a provider that refuses keygate’s', async () => {
    upstream.answer = (_asked, response) =>
      sendJson(response, 401, {
        error: {
          message: 'Incorrect API key provided: provider-secret-1234567890',
          type: 'x',
          param: null,
          code: 'invalid_api_key',
        },
      });
    const reply = await post(CHAT);
    const error = await errorOf(reply);
    expect(error).toMatchObject({ status: 502, code: 'provider_authentication' });
    expect(error.message).not.toContain('provider-secret');
  });

  it('does not follow where a provider redirects, nor pass it on', async () => {
    upstream.answer = (_asked, response) => {
      response.writeHead(302, { location: 'http://169.254.169.254/', 'content-type': 'application/json' });
      response.end('{}');
    };
    const reply = await post(CHAT, { redirect: 'manual' });
    expect(reply.headers.get('location')).toBeNull();
    expect(await errorOf(reply)).toMatchObject({ status: 502, code: 'provider_error' });
  });

  it('is passed on as it is when a provider codes it although it was asked not to', async () => {
    const coded = gzipSync(JSON.stringify(completion('one two')));
    upstream.answer = (_asked, response) => {
      response.writeHead(200, {
        'content-type': 'application/json',
        'content-encoding': 'gzip',
        'content-length': coded.length,
      });
      response.end(coded);
    };
    expect(await (await post(CHAT)).json()).toEqual(completion('one two'));
  });

  it('is an error of the API where the provider answers with a page', async () => {
    upstream.answer = (_asked, response) => {
      response.writeHead(503, { 'content-type': 'text/html' });
      response.end('<h1>secret-host is down</h1>');
    };
    expect(await errorOf(await post(CHAT))).toMatchObject({
      status: 502,
      type: 'server_error',
      code: 'provider_error',
    });
  });
});

describe('a script for the sandbox', () => {
  it('is not shown to any other provider', async () => {
    await post(CHAT, { headers: { 'x-sandbox-script': '429' } });
    expect(upstream.asked.at(-1)?.headers['x-sandbox-script']).toBeUndefined();
    const reply = await post(JSON.stringify({ model: 'sandbox-small', messages: MESSAGES }), {
      headers: { 'x-sandbox-script': '429' },
    });
    expect(reply.status).toBe(429);
  });
});

describe('fall-back', () => {
  it('does not ask again for what a caller got wrong', async () => {
    upstream.answer = (_asked, response) =>
      sendJson(response, 400, { error: { message: 'no', type: 'x', param: null, code: null } });
    await post(JSON.stringify({ model: 'steady', messages: MESSAGES }));
    expect(second.asked.length).toBe(0);
  });

  it('asks the next target when the first fails, and says nothing of it', async () => {
    for (const status of [429, 500, 503]) {
      upstream.answer = (_asked, response) =>
        sendJson(response, status, { error: { message: 'no', type: 'x', param: null, code: null } });
      const reply = await post(JSON.stringify({ model: 'steady', messages: MESSAGES }));
      expect(await reply.json()).toEqual(completion('from the spare'));
    }
    upstream.answer = (_asked, _response, request) => request.socket.destroy();
    const reply = await post(JSON.stringify({ model: 'steady', messages: MESSAGES }));
    expect(reply.status).toBe(200);
    expect(second.asked.at(-1)?.json()['model']).toBe('second-choice');
  });

  it('passes the last target’s error on when every target fails', async () => {
    const fail = (_asked: unknown, response: import('node:http').ServerResponse): void =>
      sendJson(
        response,
        429,
        { error: { message: 'slow down', type: 'requests', param: null, code: 'rate_limit_exceeded' } },
        { 'retry-after': '7' },
      );
    upstream.answer = fail;
    second.answer = fail;
    const reply = await post(JSON.stringify({ model: 'steady', messages: MESSAGES }));
    expect(reply.headers.get('retry-after')).toBe('7');
    expect(await errorOf(reply)).toMatchObject({ status: 429, message: 'slow down' });
  });

  it('tries a connection that broke at once again, once', async () => {
    let broken = 0;
    upstream.answer = (asked, response, request) => {
      if (broken++ === 0) request.socket.destroy();
      else chatReply('again')(asked, response, request);
    };
    expect((await post(CHAT)).status).toBe(200);
    upstream.answer = (_asked, _response, request) => request.socket.destroy();
    expect(await errorOf(await post(CHAT))).toMatchObject({ status: 502, code: 'provider_unreachable' });
  });
});

describe('bad requests', () => {
  it('are told what is wrong, in the API’s shape', async () => {
    const cases: readonly [string, number, string][] = [
      ['{', 400, 'could not parse'],
      ['', 400, 'could not parse'],
      ['[]', 400, 'could not parse'],
      ['{"messages":[]}', 400, 'you must provide a model'],
      ['{"model":7}', 400, "'model'"],
      ['{"model":"a","model":"b"}', 400, 'two ways'],
      ['{"model":"m","stream":"yes"}', 400, "'stream'"],
      [`{"model":"m","x":${'['.repeat(200)}${']'.repeat(200)}}`, 400, 'deeper'],
      [`{"model":"m","x":"${'x'.repeat(70_000)}"}`, 413, 'larger'],
    ];
    for (const [body, status, words] of cases) {
      const error = await errorOf(await post(body));
      expect(error.status, body.slice(0, 40)).toBe(status);
      expect(error.message).toContain(words);
    }
    expect(upstream.asked.length).toBe(0);
  });

  it('are told which content type is taken', async () => {
    const reply = await post(CHAT, { headers: { 'content-type': 'text/plain' } });
    expect((await errorOf(reply)).status).toBe(415);
    expect((await errorOf(await post(CHAT, { headers: { 'content-encoding': 'gzip' } }))).status).toBe(415);
  });

  it('meet 404 for an unknown path and 405 for an unknown method', async () => {
    expect(await errorOf(await server.request('/v1/nope'))).toMatchObject({
      status: 404,
      message: 'Invalid URL (GET /v1/nope)',
    });
    expect(await errorOf(await server.request('/v1/embeddings'))).toMatchObject({
      status: 405,
      code: 'method_not_supported',
    });
    expect(await errorOf(await server.request('/'))).toMatchObject({ status: 404 });
    expect(await errorOf(await server.request('/v1/vector_stores'))).toMatchObject({
      status: 404,
      code: 'operation_not_served',
    });
  });

  it('that are ambiguous HTTP are refused before anything else', async () => {
    const head = `Authorization: Bearer ${server.projectKey}\r\nConnection: close\r\n`;
    expect(await raw(`GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n${head}\r\n`)).toMatch(
      /^HTTP\/1.1 400 .*more than one Host/s,
    );
    expect(await raw(`GET http://evil.example/v1/models HTTP/1.1\r\nHost: a\r\n${head}\r\n`)).toMatch(
      /^HTTP\/1.1 400 /,
    );
    expect(await raw(`GET /v1/models HTTP/1.1\r\nHost: a\r\n${head}${head}\r\n`)).toMatch(
      /^HTTP\/1.1 400 .*more than one Authorization/s,
    );
    expect(await raw('GET /v1/models HTTP/1.1\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /);
    const both = `POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n${head}Content-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`;
    expect(await raw(both)).toMatch(/^HTTP\/1.1 400 .*\{"error":/s);
    expect(await raw(`GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(70_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1.1 431 .*\{"error":/s,
    );
  });

  it('get an answer even when the body is far too large to be read', async () => {
    const size = 5_000_000;
    const text = `POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${server.projectKey}\r\nContent-Type: application/json\r\nContent-Length: ${size}\r\n\r\n`;
    expect(await raw(Buffer.concat([Buffer.from(text), Buffer.alloc(size, 0x20)]), /\}\}$/)).toMatch(
      /^HTTP\/1.1 413 /,
    );
  });
});

describe('who may call', () => {
  it('is 401 without a key, with a mistyped one, a foreign one and a legacy one', async () => {
    const wrong = `${server.projectKey.slice(0, -1)}${server.projectKey.endsWith('A') ? 'B' : 'A'}`;
    for (const key of [null, wrong, 'sk-None-abc', `sk-${'a'.repeat(48)}`, 'hello']) {
      const reply = await server.request('/v1/models', { key });
      expect((await errorOf(reply)).status).toBe(401);
    }
  });

  it('accepts the key as the password of Basic with a blank user, as the platform does', async () => {
    const basic = Buffer.from(`:${server.projectKey}`).toString('base64');
    expect(
      (await server.request('/v1/models', { key: null, headers: { authorization: `Basic ${basic}` } }))
        .status,
    ).toBe(200);
  });

  it('is 401 for another organization or project, 403 for an admin key', async () => {
    const organization = await server.request('/v1/models', {
      headers: { 'OpenAI-Organization': 'org-other' },
    });
    expect(await errorOf(organization)).toMatchObject({ status: 401, code: 'mismatched_organization' });
    const project = await server.request('/v1/models', { headers: { 'OpenAI-Project': 'proj_other' } });
    expect(await errorOf(project)).toMatchObject({ status: 401, code: 'mismatched_project' });
    const right = await server.request('/v1/models', {
      headers: { 'OpenAI-Organization': server.organizationId, 'OpenAI-Project': server.projectId },
    });
    expect(right.status).toBe(200);
    expect((await errorOf(await server.request('/v1/models', { key: server.adminKey }))).status).toBe(403);
  });

  it('follows the key’s scopes, models and addresses', async () => {
    const reader = await server.createKey({ name: 'reader', scopes: ['api.all.read'] });
    expect((await server.request('/v1/models', { key: reader.value })).status).toBe(200);
    expect(await errorOf(await post(CHAT, { key: reader.value }))).toMatchObject({
      status: 403,
      message: expect.stringContaining('api.model.request'),
    });
    const narrow = await server.createKey({ name: 'narrow', models: ['fast'] });
    expect(
      (await post(JSON.stringify({ model: 'fast', messages: MESSAGES }), { key: narrow.value })).status,
    ).toBe(200);
    expect(await errorOf(await post(CHAT, { key: narrow.value }))).toMatchObject({
      status: 403,
      code: 'model_not_found',
    });
    const away = await server.createKey({ name: 'away', addresses: ['10.0.0.0/8'] });
    expect(await errorOf(await post(CHAT, { key: away.value }))).toMatchObject({
      status: 401,
      code: 'ip_not_authorized',
    });
  });

  it('ends in the moment in which the key is revoked or its project is archived', async () => {
    const key = await server.createKey({ name: 'short' });
    expect((await post(CHAT, { key: key.value })).status).toBe(200);
    await server.admin('DELETE', `/v1/organization/projects/${server.projectId}/api_keys/${key.id}`);
    expect((await errorOf(await post(CHAT, { key: key.value }))).status).toBe(401);
  });

  it('lists only the models that a key may use', async () => {
    const narrow = await server.createKey({ name: 'lister', models: ['fast', 'sandbox-small'] });
    const list = (await (await server.request('/v1/models', { key: narrow.value })).json()) as {
      data: { id: string }[];
    };
    expect(list.data.map((model) => model.id)).toEqual(['fast', 'sandbox-small']);
    expect((await server.request('/v1/models/fast', { key: narrow.value })).status).toBe(200);
    expect((await errorOf(await server.request('/v1/models/steady', { key: narrow.value }))).status).toBe(
      403,
    );
  });
});

describe('objects that a provider keeps', () => {
  it('are the project’s that made them, and do not exist for any other', async () => {
    upstream.answer = (_asked, response) =>
      sendJson(response, 200, {
        id: 'resp_kept',
        object: 'response',
        model: 'm',
        output: [],
        usage: { input_tokens: 1, output_tokens: 1 },
      });
    const create = (body: object, key = server.projectKey): Promise<Response> =>
      server.request('/v1/responses', {
        method: 'POST',
        body: JSON.stringify({ model: 'm', input: 'x', ...body }),
        key,
      });
    expect((await create({})).status).toBe(200);
    const made = await server.admin('POST', '/v1/organization/projects', { name: 'other' });
    const other = await server.admin('POST', `/v1/keygate/projects/${made.body['id']}/api_keys`, {
      name: 'k',
    });
    const stranger = String(other.body['value']);
    expect((await server.request('/v1/responses/resp_kept')).status).toBe(200);
    expect(upstream.asked.at(-1)?.url).toBe('/v1/responses/resp_kept');
    expect((await errorOf(await server.request('/v1/responses/resp_kept', { key: stranger }))).status).toBe(
      404,
    );
    expect((await create({ previous_response_id: 'resp_kept' })).status).toBe(200);
    expect(await errorOf(await create({ previous_response_id: 'resp_kept' }, stranger))).toMatchObject({
      code: 'previous_response_not_found',
    });
    const file = [{ role: 'user', content: [{ type: 'input_file', file_id: 'file-of-somebody' }] }];
    expect((await errorOf(await create({ input: file }))).status).toBe(404);
    expect(
      (await errorOf(await create({ tools: [{ type: 'file_search', vector_store_ids: ['vs_1'] }] }))).status,
    ).toBe(404);
    const schema = {
      type: 'function',
      name: 'f',
      parameters: { type: 'object', properties: { file_id: { type: 'string' } } },
    };
    expect((await create({ tools: [schema] })).status).toBe(200);
    expect(await errorOf(await create({ background: true }))).toMatchObject({
      status: 400,
      param: 'background',
    });
  });
});

describe('the sides of the server', () => {
  it('tells that it lives and that it is ready, and gives metrics to admin keys only', async () => {
    expect(await (await server.request('/healthz', { key: null })).json()).toEqual({ status: 'ok' });
    expect(await (await server.request('/readyz', { key: null })).json()).toEqual({ status: 'ready' });
    expect((await server.request('/metrics', { key: null })).status).toBe(401);
    expect((await server.request('/metrics')).status).toBe(403);
    const text = await (await server.request('/metrics', { key: server.adminKey })).text();
    expect(text).toContain('keygate_calls_total{operation="chat.completions.create",status="200"}');
  });
});

describe('the SDK', () => {
  it('meets its own typed errors', async () => {
    const chat = (client: OpenAI): Promise<unknown> =>
      client.chat.completions.create({ model: 'm', messages: MESSAGES });
    await expect(
      chat(new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'sk-proj-nope', maxRetries: 0 })),
    ).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
    upstream.answer = (_asked, response) =>
      sendJson(response, 500, { error: { message: 'x', type: 'server_error', param: null, code: null } });
    await expect(chat(server.client)).rejects.toBeInstanceOf(OpenAI.InternalServerError);
  });
});

describe('the record', () => {
  it('has one event a call, with what the provider stated and what it was asked for', async () => {
    await post(JSON.stringify({ model: 'fast', messages: MESSAGES }));
    const before = await server.metric('keygate_usage_events_recorded_total');
    await recorded(before);
    const events: UsageEvent[] = await server.stopAndReadEvents();
    const last = events.findLast(
      (event) =>
        event.modelAsked === 'fast' && event.streamed === false && event.operation.startsWith('chat'),
    );
    expect(last).toMatchObject({
      operation: 'chat.completions.create',
      modelAsked: 'fast',
      modelServed: 'mock-1',
      provider: 'mock',
      status: 200,
      outcome: 'ok',
      source: 'provider',
    });
    expect(last?.usage).toMatchObject({ input: 7, output: 3 });
    expect(new Set(events.map((event) => event.requestId)).size).toBe(events.length);
    const stored = JSON.stringify(events);
    expect(stored).not.toContain(server.projectKey);
    expect(stored).not.toContain('provider-secret');
  });
});
