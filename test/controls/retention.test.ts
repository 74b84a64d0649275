// Zero data retention: after a run that meets every way of a call, nothing that was in a prompt, a reply, a name of an
// end user, a tool's arguments, a header, an error or a cut stream is anywhere that a server could have kept it.

import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import {
  type Asked,
  chatEvents,
  completion,
  sendJson,
  startUpstream,
  type Upstream,
  wantsUsage,
} from '../harness/upstream.ts';
import { freshSqlite, type StorePlace, stores } from '../store/stores.ts';
import { filesOf, found, tablesOf } from './markers.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Running {
  readonly server: TestServer;
  readonly upstream: Upstream;
  readonly admin: OpenAI['admin']['organization'];
  readonly place: StorePlace;
}

async function run(kind: (typeof stores)[number], yaml = ''): Promise<Running> {
  const place = await kind.fresh();
  cleanups.push(() => place.remove());
  const upstream = await startUpstream();
  cleanups.push(() => upstream.close());
  const server = await startTestServer({
    yaml: oneProvider(upstream.url, yaml),
    dataDir: place.dataDir,
    env: {
      KEYGATE_CONFIG: 'keygate.yaml',
      KEYGATE_LOG_LEVEL: 'debug',
      ...(place.databaseUrl !== null && { KEYGATE_DATABASE_URL: place.databaseUrl.reveal() }),
    },
  });
  cleanups.push(() => server.stop());
  const { organization } = new OpenAI({
    baseURL: `${server.adminUrl}/v1`,
    adminAPIKey: server.adminKey,
    apiKey: null,
    maxRetries: 0,
  }).admin;
  return { server, upstream, admin: organization, place };
}

/** Texts that are nowhere else, one for each way in which content reaches a server. */
class Markers {
  readonly made: string[] = [];

  readonly of = (what: string): string => {
    const marker = `${what}${randomBytes(9).toString('hex')}`;
    this.made.push(marker);
    return marker;
  };
}

/** One call of every kind, and of every end that a call can come to. Failures of calls are part of it. */
async function callEverything({ server, upstream }: Running, markers: Markers): Promise<void> {
  const { of } = markers;
  const { client } = server;
  const answers = (answer: (asked: Asked, response: ServerResponse) => void) => {
    upstream.answer = answer;
  };
  const person = () => ({
    user: of('user'),
    safety_identifier: of('safety'),
    metadata: { note: of('metadata') },
  });
  const chat = (extra: object = {}, options: OpenAI.RequestOptions = {}) =>
    client.chat.completions.create(
      {
        model: 'm',
        messages: [{ role: 'user', content: of('prompt') }],
        ...person(),
        ...extra,
      } as OpenAI.ChatCompletionCreateParamsNonStreaming,
      options,
    );
  const headers = () => ({
    'x-client-request-id': of('clientid'),
    'idempotency-key': of('idempotency'),
    'openai-beta': of('beta'),
    'x-other': of('other'),
  });
  const tried = (work: Promise<unknown>) => work.catch(() => {});

  answers((_asked, response) => sendJson(response, 200, completion(of('reply'))));
  await chat({ store: true }, { headers: headers() });
  answers((_asked, response) => sendJson(response, 200, completion(of('uncounted'), null)));
  await chat();
  answers((_asked, response) =>
    sendJson(response, 200, {
      ...completion(''),
      choices: [
        {
          index: 0,
          finish_reason: 'tool_calls',
          message: {
            role: 'assistant',
            tool_calls: [
              {
                id: 'call_1',
                type: 'function',
                function: { name: of('tool'), arguments: JSON.stringify({ x: of('arguments') }) },
              },
            ],
          },
        },
      ],
    }),
  );
  await chat({
    tools: [{ type: 'function', function: { name: of('toolname'), description: of('description') } }],
  });

  // Streams: to their end, cut by the provider, left by the caller, and with a broken event.
  const stream = () => chat({ stream: true }) as unknown as Promise<AsyncIterable<unknown>>;
  const begin = (response: ServerResponse) =>
    response.writeHead(200, { 'content-type': 'text/event-stream' });
  const drained = async () => {
    for await (const _ of await stream());
  };
  answers((asked, response) => begin(response).end(chatEvents([of('streamed')], wantsUsage(asked)).join('')));
  await drained();
  answers((_asked, response) => {
    begin(response).write(chatEvents([of('cut')], false)[0] ?? '');
    setTimeout(() => response.destroy(), 50);
  });
  await tried(drained());
  answers((_asked, response) => begin(response).end(`data: {"broken": "${of('broken')}\n\n`));
  await tried(drained());
  const left = new AbortController();
  answers((_asked, response) => {
    begin(response).write(chatEvents([of('left')], false)[0] ?? '');
    setTimeout(() => left.abort(), 50);
  });
  await tried(
    (async () => {
      const events = await chat({ stream: true }, { signal: left.signal });
      for await (const _ of events as unknown as AsyncIterable<unknown>);
    })(),
  );

  // Errors of the provider, in the API's shape and in none; an answer that is no JSON, and none at all.
  answers((_asked, response) =>
    sendJson(response, 400, {
      error: { message: of('error'), type: of('type'), param: of('param'), code: of('code') },
    }),
  );
  await tried(chat());
  answers((_asked, response) => sendJson(response, 500, { error: { message: of('error500') } }));
  await tried(chat());
  answers((_asked, response) => response.writeHead(502, { 'content-type': 'text/html' }).end(of('html')));
  await tried(chat());
  answers((_asked, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(`{"oops": ${of('nojson')}`),
  );
  await tried(chat());
  answers((_asked, response) => response.destroy());
  await tried(chat());

  // Bodies that are refused here.
  const post = (path: string, body: string) => server.request(path, { method: 'POST', body });
  await post('/v1/chat/completions', `{"model": "m", "messages": ${of('badjson')}`);
  await post('/v1/chat/completions', JSON.stringify({ messages: of('nomodel') }));
  await post('/v1/chat/completions', `{"model":"m","store":true,"store":"${of('twice')}"}`);
  await post('/v1/chat/completions', JSON.stringify({ model: 'm', stream: of('badstream'), messages: [] }));
  await post(`/v1/${of('path')}?q=${of('query')}`, JSON.stringify({ text: of('elsewhere') }));
  await server.request('/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify({ a: of('badkey') }),
    key: `sk-proj-${of('key')}`,
  });

  // The other operations.
  answers((_asked, response) =>
    sendJson(response, 200, {
      id: `resp_${of('responseid')}`,
      object: 'response',
      model: 'm',
      output: [{ type: 'message', content: [{ type: 'output_text', text: of('output') }] }],
      usage: { input_tokens: 1, output_tokens: 1 },
    }),
  );
  await client.responses.create({
    model: 'm',
    input: of('input'),
    instructions: of('instructions'),
    store: true,
    ...person(),
  });
  await client.responses.create({ model: 'm', input: of('input'), ...person() });
  answers((_asked, response) => {
    const id = `resp_${of('streamedid')}`;
    const event = (type: string, more: object) =>
      `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;
    begin(response).end(
      event('response.created', { response: { id } }) +
        event('response.output_text.delta', { delta: of('delta') }) +
        event('response.completed', { response: { id, usage: { input_tokens: 1, output_tokens: 1 } } }),
    );
  });
  for await (const _ of await client.responses.create({ model: 'm', input: of('input'), stream: true }));
  answers((_asked, response) =>
    sendJson(response, 200, {
      object: 'list',
      data: [{ index: 0, embedding: [0], object: 'embedding' }],
      model: 'm',
      usage: { prompt_tokens: 1, total_tokens: 1 },
    }),
  );
  await client.embeddings.create({
    model: 'm',
    input: of('embedded'),
    user: of('user'),
    encoding_format: 'float',
  });
  answers((_asked, response) => sendJson(response, 200, { text: of('transcribed') }));
  await client.audio.transcriptions.create({
    model: 'm',
    prompt: of('audioprompt'),
    file: new File([of('audio')], `${of('filename')}.wav`),
  });
  answers((_asked, response) =>
    sendJson(response, 200, {
      created: 1,
      data: [{ b64_json: Buffer.from(of('image')).toString('base64') }],
    }),
  );
  await client.images.generate({ model: 'm', prompt: of('imageprompt'), user: of('user') });
  answers((_asked, response) => response.writeHead(200, { 'content-type': 'audio/mpeg' }).end(of('spoken')));
  await client.audio.speech.create({ model: 'm', voice: 'alloy', input: of('spokentext') });
  const lines = JSON.stringify({
    custom_id: of('customid'),
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: 'm', messages: [{ role: 'user', content: of('batched') }] },
  });
  const file = await client.files
    .create({ purpose: 'batch', file: new File([lines], `${of('batchfile')}.jsonl`) })
    .catch(() => null);
  await tried(
    client.batches.create({
      input_file_id: file?.id ?? `file-${of('fileid')}`,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      metadata: { note: of('batchnote') },
    }),
  );
  answers((_asked, response) => sendJson(response, 404, { error: { message: of('gone') } }));
  await tried(client.responses.retrieve(`resp_${of('unknownid')}`));
}

const LIMITS = `
limits:
  end_users:
    "*":
      all: {requests_per_minute: 1000}
`;

/** Budgets, limits and prices by end user, so that whatever is kept for one is kept. */
async function countEndUsers({ server }: Running, projectId: string): Promise<void> {
  const made = await server.admin('POST', '/v1/keygate/budgets', {
    scope: 'end_user',
    scope_id: '*',
    project_id: projectId,
    threshold_amount: 10_000,
    interval: 'month',
    enforcement: 'soft',
  });
  if (made.status !== 200) throw new Error(JSON.stringify(made.body));
}

describe.each(stores)('zero data retention on $kind', (kind) => {
  it('keeps nothing of any call, on disk, in the store or in the log', async () => {
    const running = await run(kind, LIMITS);
    const { server, admin, place, upstream } = running;
    expect(await admin.dataRetention.update({ retention_type: 'zero_data_retention' })).toEqual({
      object: 'organization.data_retention',
      type: 'zero_data_retention',
    });
    await countEndUsers(running, server.projectId);
    const markers = new Markers();
    await callEverything(running, markers);
    expect(upstream.asked.length).toBeGreaterThan(15);
    expect(markers.made.length).toBeGreaterThan(100);

    const metrics = await server.request('/metrics', { key: server.adminKey });
    const text = Buffer.from(await metrics.text());
    const open = filesOf(server.dataDir);
    await server.stop();
    const haystacks = [
      { name: 'metrics', bytes: text },
      { name: 'the log', bytes: Buffer.from(server.log.join('\n')) },
      ...open,
      ...filesOf(server.dataDir),
      ...(await tablesOf(place)),
    ];
    expect(found(markers.made, haystacks)).toEqual([]);
    // The search sees what is there: the project, in the store, and in its events.
    expect(found([server.projectId], haystacks)).toEqual(
      expect.arrayContaining([
        `${server.projectId} in table projects`,
        `${server.projectId} in usage events`,
      ]),
    );
    // End users were told apart all the same, by what stands for them.
    expect(found(['anon_'], haystacks).length).toBeGreaterThan(0);
  });

  it('is what makes the difference: without it names of end users and ids of stored responses are kept', async () => {
    const running = await run(kind, LIMITS);
    const { server, place } = running;
    await countEndUsers(running, server.projectId);
    const markers = new Markers();
    await callEverything(running, markers);
    await server.stop();
    const kept = found(markers.made, await tablesOf(place)).join('\n');
    expect(kept).toMatch(/safety\w+ in /);
    expect(kept).toMatch(/responseid\w+ in table owned_objects/);
    expect(kept).not.toMatch(/^(prompt|reply|input|output|streamed|cut|arguments|audio)[0-9a-f]{18} in/m);
  });
});

const embedded = { kind: 'sqlite', fresh: freshSqlite } as const;

describe('zero data retention on the road', () => {
  it('has every call sent with store: false, whatever it asks for, and remembers no response', async () => {
    const { server, admin, upstream } = await run(embedded);
    upstream.answer = (_asked, response) =>
      sendJson(response, 200, { id: 'resp_kept', object: 'response', output: [] });
    await server.client.responses.create({ model: 'm', input: 'x' });
    expect(upstream.asked.at(-1)?.json()).not.toHaveProperty('store');
    await server.client.responses.retrieve('resp_kept');

    await admin.projects.dataRetention.update(server.projectId, { retention_type: 'zero_data_retention' });
    upstream.answer = (_asked, response) =>
      sendJson(response, 200, { id: 'resp_zero', object: 'response', output: [] });
    for (const store of [undefined, null, true, false]) {
      await server.client.responses.create({ model: 'm', input: 'x', ...(store !== undefined && { store }) });
      expect(upstream.asked.at(-1)?.json()['store']).toBe(false);
    }
    await expect(server.client.responses.retrieve('resp_zero')).rejects.toMatchObject({ status: 404 });
    upstream.answer = (_asked, response) => sendJson(response, 200, completion('hi'));
    await server.client.chat.completions.create({ model: 'm', messages: [], store: true });
    expect(upstream.asked.at(-1)?.json()['store']).toBe(false);
    await server.client.chat.completions.create({ model: 'm', messages: [] });
    expect(upstream.asked.at(-1)?.json()).not.toHaveProperty('store');
  });

  it('is a project’s own where it says so, and its organization’s otherwise', async () => {
    const { server, admin } = await run(embedded);
    const { dataRetention } = admin.projects;
    expect(await dataRetention.retrieve(server.projectId)).toEqual({
      object: 'project.data_retention',
      type: 'organization_default',
    });
    for (const retention_type of [
      'none',
      'zero_data_retention',
      'modified_abuse_monitoring',
      'enhanced_zero_data_retention',
      'enhanced_modified_abuse_monitoring',
      'organization_default',
    ] as const) {
      await dataRetention.update(server.projectId, { retention_type });
      expect((await dataRetention.retrieve(server.projectId)).type).toBe(retention_type);
    }
    const wrong = { retention_type: 'none' } as unknown as Parameters<typeof admin.dataRetention.update>[0];
    await expect(admin.dataRetention.update(wrong)).rejects.toMatchObject({
      status: 400,
      param: 'retention_type',
    });
  });

  it('refuses files, uploads and batches, and the lines of a batch that was made before', async () => {
    const { server, admin, upstream } = await run(embedded);
    const { client } = server;
    const text = JSON.stringify({
      custom_id: 'one',
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model: 'm', messages: [] },
    });
    const order = async () => {
      const file = await client.files.create({ purpose: 'batch', file: new File([text], 'in.jsonl') });
      const input_file_id = file.id;
      return await client.batches.create({
        input_file_id,
        endpoint: '/v1/chat/completions',
        completion_window: '24h',
      });
    };
    // The provider is slow, so that the batch is under way when retention is set.
    let asked = 0;
    upstream.answer = (_asked, response) => {
      asked++;
      setTimeout(() => sendJson(response, 500, { error: { message: 'not now' } }), 50);
    };
    const made = await order();
    await admin.projects.dataRetention.update(server.projectId, { retention_type: 'zero_data_retention' });
    const refused = { status: 403, code: 'zero_data_retention' };
    await expect(order()).rejects.toMatchObject(refused);
    await expect(
      client.uploads.create({ filename: 'f', bytes: 1, mime_type: 'text/plain', purpose: 'batch' }),
    ).rejects.toMatchObject(refused);
    const ended = async () => {
      for (;;) {
        const batch = await client.batches.retrieve(made.id);
        if (batch.status !== 'in_progress' && batch.status !== 'validating' && batch.status !== 'finalizing')
          return batch;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    const batch = await ended();
    expect(batch.output_file_id ?? null).toBeNull();
    expect(asked).toBeLessThanOrEqual(10);
  });

  it('tells end users apart by a pseudonym, which an administrator who knows a name can ask for', async () => {
    const running = await run(embedded, LIMITS);
    const { server, admin, place } = running;
    await admin.projects.dataRetention.update(server.projectId, {
      retention_type: 'enhanced_modified_abuse_monitoring',
    });
    await countEndUsers(running, server.projectId);
    await server.client.chat.completions.create({ model: 'm', messages: [], user: 'ada@example.com' });
    const path = `/v1/keygate/projects/${server.projectId}/end_users/pseudonym`;
    const { body } = await server.admin('POST', path, { end_user: 'ada@example.com' });
    expect(body).toMatchObject({ pseudonym: expect.stringMatching(/^anon_[\w-]{22}$/) });
    const other = await server.admin('POST', path, { end_user: 'bob@example.com' });
    await server.stop();
    const kept = await tablesOf(place);
    expect(found(['ada@example.com', String(other.body['pseudonym'])], kept)).toEqual([]);
    expect(found([String(body['pseudonym'])], kept)).toContain(
      `${body['pseudonym']} in table escrow_accounts`,
    );
  });

  it('when it is enhanced, refuses what would have the provider keep content, by name', async () => {
    const { server, admin, upstream } = await run(embedded);
    await admin.projects.dataRetention.update(server.projectId, {
      retention_type: 'enhanced_zero_data_retention',
    });
    upstream.answer = (_asked, response) =>
      sendJson(response, 200, { id: 'resp_1', object: 'response', output: [] });
    for (const [extra, param] of [
      [{ store: true }, 'store'],
      [{ prompt_cache_retention: '24h' }, 'prompt_cache_retention'],
      [{ tools: [{ type: 'code_interpreter', container: { type: 'auto' } }] }, 'tools'],
    ] as const) {
      const body = { model: 'm', input: 'x', ...extra } as OpenAI.Responses.ResponseCreateParamsNonStreaming;
      await expect(server.client.responses.create(body)).rejects.toMatchObject({
        status: 400,
        param,
        code: 'zero_data_retention',
      });
    }
    expect(upstream.asked.filter(({ method }) => method === 'POST')).toHaveLength(0);
    await server.client.responses.create({ model: 'm', input: 'x' });
    expect(upstream.asked.at(-1)?.json()['store']).toBe(false);
  });
});
