import { EventEmitter, once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { perform, type Wait } from '../../src/upstreams/sandbox/perform.ts';
import type { Plan, Step } from '../../src/upstreams/sandbox/plan.ts';
import {
  type RunningSandbox,
  type SandboxOptions,
  startSandbox,
} from '../../src/upstreams/sandbox/sandbox.ts';
import { createSandboxServer } from '../../src/upstreams/sandbox/server.ts';
import { hello, setting } from './ask.ts';

interface Call {
  readonly path?: string;
  readonly body?: string | Buffer;
  readonly script?: string;
  readonly headers?: Record<string, string>;
}

function send(
  socketPath: string,
  { path = '/v1/chat/completions', body = JSON.stringify(hello), script, headers }: Call,
) {
  const sent = request({
    socketPath,
    path,
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(script ? { 'x-sandbox-script': script } : {}),
      ...headers,
    },
  });
  sent.on('error', () => {});
  sent.end(body);
  return sent;
}

async function replyTo(socketPath: string, call: Call): Promise<IncomingMessage> {
  const [reply] = (await once(send(socketPath, call), 'response')) as [IncomingMessage];
  return reply;
}

async function textOf(reply: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of reply) text += part;
  return text;
}

const streamed = JSON.stringify({ ...hello, stream: true });

describe('over its socket, with time in the test’s hands', () => {
  /** Waits that last until the test lets them pass. */
  const waits: { ms: number; pass: () => void }[] = [];
  const wait: Wait = (ms, signal) =>
    new Promise((resolve) => {
      waits.push({ ms, pass: resolve });
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  const faults: unknown[] = [];
  let folder: string;
  let socketPath: string;
  let server: Server;

  beforeEach(async () => {
    waits.length = 0;
    faults.length = 0;
    folder = await mkdtemp(join(tmpdir(), 'keygate-test-'));
    socketPath = join(folder, 's');
    server = createSandboxServer({ setting: setting(), wait, onFault: (error) => faults.push(error) });
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  });

  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true });
    expect(faults).toEqual([]);
  });

  test('answers whole, with the headers of the API', async () => {
    const reply = await replyTo(socketPath, {});
    expect(reply.statusCode).toBe(200);
    expect(reply.headers).toMatchObject({
      'content-type': 'application/json',
      'openai-version': '2020-10-01',
      'openai-organization': 'sandbox',
      'openai-processing-ms': expect.stringMatching(/^\d+$/),
      'x-request-id': expect.stringMatching(/^req_[0-9a-f]{32}$/),
      'x-sandbox-model': 'sandbox-small',
    });
    const text = await textOf(reply);
    expect(Number(reply.headers['content-length'])).toBe(Buffer.byteLength(text));
    expect(JSON.parse(text).object).toBe('chat.completion');
  });

  test('the first byte and each chunk come when their time has passed, and not before', async () => {
    const call = replyTo(socketPath, { body: streamed, script: 'first-byte=200ms,chunk=20ms' });
    await vi.waitFor(() => expect(waits.map((each) => each.ms)).toEqual([200]));
    waits.shift()?.pass();
    const reply = await call;
    const seen: string[] = [];
    reply.on('data', (part: Buffer) => seen.push(part.toString()));
    for (let chunk = 1; chunk <= 3; chunk++) {
      await vi.waitFor(() => expect(waits.map((each) => each.ms)).toEqual([20]));
      await vi.waitFor(() => expect(seen).toHaveLength(chunk));
      waits.shift()?.pass();
    }
  });

  test('a cut stream ends in the middle, without its end', async () => {
    const reply = await replyTo(socketPath, { body: streamed, script: 'cut=3' });
    const parts: string[] = [];
    reply.on('data', (part: Buffer) => parts.push(part.toString()));
    const [error] = await once(reply, 'error');
    expect(error).toMatchObject({ code: 'ECONNRESET' });
    expect(parts.join('').split('\n\n')).toHaveLength(4);
  });

  test('cut at once, the head still comes', async () => {
    const reply = await replyTo(socketPath, { body: streamed, script: 'cut=0' });
    expect(reply.statusCode).toBe(200);
    reply.resume();
    const [error] = await once(reply, 'error');
    expect(error).toMatchObject({ code: 'ECONNRESET' });
  });

  test('a reset answers nothing', async () => {
    const [error] = await once(send(socketPath, { script: 'reset' }), 'error');
    expect(error).toMatchObject({ code: 'ECONNRESET' });
  });

  test('a stall lets the head and the first chunks through, and lets go when the caller does', async () => {
    const reply = await replyTo(socketPath, { body: streamed, script: 'stall=1' });
    const [first] = await once(reply, 'data');
    expect(String(first).split('\n\n')).toHaveLength(2);
    const count = () => new Promise((resolve) => server.getConnections((_, open) => resolve(open)));
    expect(await count()).toBe(1);
    reply.destroy();
    await vi.waitFor(async () => expect(await count()).toBe(0));
  });

  test('a caller that goes away while it is made to wait leaves nothing behind', async () => {
    const sent = send(socketPath, { script: 'first-byte=10m' });
    await vi.waitFor(() => expect(waits).toHaveLength(1));
    sent.destroy();
    await vi.waitFor(async () => {
      expect(await new Promise((resolve) => server.getConnections((_, open) => resolve(open)))).toBe(0);
    });
  });

  test('a body beyond its bound is refused, and the refusal arrives', async () => {
    const reply = await replyTo(socketPath, { body: Buffer.alloc(65 * 2 ** 20, 0x20) });
    expect(reply.statusCode).toBe(413);
    expect(JSON.parse(await textOf(reply)).error.message).toContain('Maximum content size limit');
  });

  test('a body of too many values, or nested too deep, is refused before it is parsed', async () => {
    for (const body of [`[${'[],'.repeat(300_000)}0]`, '['.repeat(10_000)]) {
      const reply = await replyTo(socketPath, { body });
      expect(reply.statusCode).toBe(400);
      expect(JSON.parse(await textOf(reply)).error.message).toContain('more than 500000 values');
    }
  });

  test('a multipart form is read, and one that is broken is refused', async () => {
    const form = new FormData();
    form.set('model', 'whisper-1');
    form.set('file', new File(['not a sound'], 'a.wav'));
    const encoded = new Response(form);
    const type = encoded.headers.get('content-type') ?? '';
    const body = Buffer.from(await encoded.arrayBuffer());
    const path = '/v1/audio/transcriptions';
    const good = await textOf(await replyTo(socketPath, { path, body, headers: { 'content-type': type } }));
    expect(JSON.parse(good).text).toContain('a.wav has 11 bytes');
    const cut = await replyTo(socketPath, {
      path,
      body: body.subarray(0, 80),
      headers: { 'content-type': type },
    });
    expect(cut.statusCode).toBe(400);
    const bare = await replyTo(socketPath, {
      path,
      body,
      headers: { 'content-type': 'multipart/form-data' },
    });
    expect(JSON.parse(await textOf(bare)).error.message).toContain('check its boundary');
  });
});

describe('a reader that does not read', () => {
  test('is waited for: the reply is made no faster than it is taken', async () => {
    let made = 0;
    const event = `data: ${'x'.repeat(1_000)}\n\n`;
    function* steps(): Generator<Step> {
      yield { do: 'head' };
      for (; made < 100_000; made++) yield { do: 'send', data: event };
    }
    const plan: Plan = { status: 200, headers: {}, steps: steps() };
    const server = createServer((_, response) => void perform(plan, response, () => Promise.resolve()));
    const folder = await mkdtemp(join(tmpdir(), 'keygate-test-'));
    const socketPath = join(folder, 's');
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    const reply = await replyTo(socketPath, {});
    reply.pause();
    // Until it has stopped making more.
    let before = -1;
    await vi.waitFor(
      () => {
        const still = made === before;
        before = made;
        expect(still && made > 0).toBe(true);
      },
      { interval: 50, timeout: 5_000 },
    );
    expect(made).toBeLessThan(5_000);
    let bytes = 0;
    for await (const part of reply) bytes += part.length;
    expect(bytes).toBe(100_000 * event.length);
    server.close();
    await rm(folder, { recursive: true });
  });
});

describe('on its own thread', () => {
  let sandbox: RunningSandbox;
  beforeAll(async () => {
    sandbox = await startSandbox();
  });
  afterAll(() => sandbox.close());

  test('listens where only this user can reach it', async () => {
    expect(statSync(dirname(sandbox.socketPath)).mode & 0o777).toBe(0o700);
    expect(sandbox.models.map((model) => model.id)).toContain('sandbox-small');
    const reply = await replyTo(sandbox.socketPath, {});
    expect(reply.statusCode).toBe(200);
    await textOf(reply);
  });

  test('streams a hundred thousand chunks in seconds', async () => {
    const reply = await replyTo(sandbox.socketPath, { body: streamed, script: 'tokens=100000' });
    const text = await textOf(reply);
    expect(text.split('\n\n').length).toBeGreaterThan(100_000);
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  });

  test('waits in real time', async () => {
    const start = performance.now();
    const reply = await replyTo(sandbox.socketPath, { script: 'first-byte=60ms' });
    expect(performance.now() - start).toBeGreaterThanOrEqual(58);
    await textOf(reply);
  });

  test('when its thread dies, a new one takes its place on the same socket', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const faults: string[] = [];
    const threads: EventEmitter[] = [];
    const paths: string[] = [];
    const spawn: NonNullable<SandboxOptions['spawn']> = ({ socketPath }) => {
      const thread = Object.assign(new EventEmitter(), { terminate: () => Promise.resolve() });
      threads.push(thread);
      paths.push(socketPath);
      queueMicrotask(() => thread.emit('message', { kind: 'listening' }));
      return thread;
    };
    const small = await startSandbox({ spawn, onFault: (message) => faults.push(message) });
    threads[0]?.emit('error', new Error('gone'));
    threads[0]?.emit('exit');
    expect(faults).toEqual(["the sandbox's thread died: gone"]);
    vi.advanceTimersByTime(1_000);
    expect(paths).toEqual([small.socketPath, small.socketPath]);
    await small.close();
    threads[1]?.emit('exit');
    vi.advanceTimersByTime(10_000);
    expect(threads).toHaveLength(2);
    vi.useRealTimers();
  });

  test('close ends every call and leaves no file', async () => {
    const other = await startSandbox();
    const reply = await replyTo(other.socketPath, { body: streamed, script: 'stall=1' });
    const ended = once(reply, 'error');
    reply.resume();
    await other.close();
    await ended;
    expect(existsSync(dirname(other.socketPath))).toBe(false);
  });
});
