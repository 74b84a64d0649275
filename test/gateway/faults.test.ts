// What is charged, and what the caller learns, when a call does not end as it should.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { UsageEvent } from '../../src/spend/usage.ts';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { chatEvents, completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';

let upstream: Upstream;
let server: TestServer;
const done: { name: string; check: (event: UsageEvent | undefined) => void }[] = [];

beforeAll(async () => {
  upstream = await startUpstream();
  server = await startTestServer({
    yaml: oneProvider(upstream.url),
    env: { KEYGATE_CONFIG: 'keygate.yaml' },
    change: (config) => ({ ...config, bounds: { ...config.bounds, idleMs: 400, providerIdleMs: 800 } }),
  });
});

afterAll(async () => {
  await server?.stop();
  server?.remove();
  await upstream?.close();
});

beforeEach(() => {
  upstream.aborted = 0;
});

const MESSAGES = [{ role: 'user', content: 'Count to ten, please.' }];

/** Calls with a model of its own name, so that the event is found again, and notes what the event must say. */
function call(
  model: string,
  extra: object,
  check: (event: UsageEvent | undefined) => void,
  init: RequestInit = {},
): Promise<Response> {
  done.push({ name: model, check });
  return server.request('/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify({ model, messages: MESSAGES, ...extra }),
    ...init,
  });
}

const WORDS = ['one', ' two', ' three', ' four'];

function streamThen(end: (response: import('node:http').ServerResponse) => void): void {
  upstream.answer = (_asked, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(chatEvents(WORDS, true).slice(0, WORDS.length).join(''));
    setImmediate(() => end(response));
  };
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1000 && !condition(); tries++)
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

describe('a call that does not end as it should', () => {
  it('is stopped at the provider when the caller goes away, and the words so far are counted', async () => {
    streamThen(() => {});
    const controller = new AbortController();
    const reply = await call(
      'gone',
      { stream: true },
      (event) => {
        expect(event).toMatchObject({
          status: 499,
          outcome: 'client_closed',
          source: 'counted',
          streamed: true,
        });
        expect(event?.usage.output).toBe(4);
        expect(event?.usage.input).toBeGreaterThan(5);
      },
      { signal: controller.signal },
    );
    const reader = reply.body?.getReader();
    await reader?.read();
    controller.abort();
    await until(() => upstream.aborted === 1);
  });

  it('is stopped at the provider when the caller goes away before any answer', async () => {
    let asked = false;
    upstream.answer = () => {
      asked = true;
    };
    const controller = new AbortController();
    const reply = call(
      'gone-early',
      {},
      (event) => {
        expect(event).toMatchObject({ status: 499, outcome: 'client_closed', source: 'counted' });
        expect(event?.usage).toMatchObject({ output: 0 });
        expect(event?.usage.input).toBeGreaterThan(5);
      },
      { signal: controller.signal },
    );
    await until(() => asked);
    controller.abort();
    await expect(reply).rejects.toThrow();
    await until(() => upstream.aborted === 1);
  });

  it('tells the caller in the stream when the provider breaks it off, and counts the words so far', async () => {
    streamThen((response) => response.destroy());
    const reply = await call('cut', { stream: true }, (event) => {
      expect(event).toMatchObject({ status: 200, outcome: 'provider_cut', source: 'counted' });
      expect(event?.usage.output).toBe(4);
    });
    const text = await reply.text();
    const last = text.trimEnd().split('\n\n').at(-1) ?? '';
    expect(JSON.parse(last.replace('data: ', ''))).toMatchObject({
      error: { type: 'server_error', code: 'provider_cut' },
    });
  });

  it('breaks the connection when a plain answer breaks off after its beginning, and charges the prompt', async () => {
    upstream.answer = (_asked, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '500000' });
      response.write(JSON.stringify(completion('x')).slice(0, 60));
      setTimeout(() => response.write(' '.repeat(100_000), () => response.destroy()), 20);
    };
    const reply = await call('half', {}, (event) => {
      expect(event).toMatchObject({ status: 200, outcome: 'provider_cut', source: 'counted' });
      expect(event?.usage.input).toBeGreaterThan(5);
    });
    await expect(reply.text()).rejects.toThrow();
  });

  it('is 502 when the provider breaks off before anything was passed on', async () => {
    upstream.answer = (_asked, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '500' });
      response.write('{"id":', () => setImmediate(() => response.destroy()));
    };
    const reply = await call('broken', {}, (event) =>
      expect(event).toMatchObject({ status: 502, outcome: 'provider_cut' }),
    );
    expect(reply.status).toBe(502);
    expect(await reply.json()).toMatchObject({ error: { code: 'provider_cut' } });
  });

  it('is 504 when the provider stays silent, and charges the prompt that it had', async () => {
    upstream.answer = () => {};
    const reply = await call('silent', {}, (event) => {
      expect(event).toMatchObject({ status: 504, outcome: 'timeout', source: 'counted' });
      expect(event?.usage).toMatchObject({ output: 0 });
    });
    expect(reply.status).toBe(504);
    await until(() => upstream.aborted === 1);
  });

  it('ends a stream that stalls with an error in it', async () => {
    streamThen(() => {});
    const reply = await call('stalled', { stream: true }, (event) => {
      expect(event).toMatchObject({ status: 200, outcome: 'timeout', source: 'counted' });
      expect(event?.usage.output).toBe(4);
    });
    expect(await reply.text()).toContain('"error":');
  });

  it('costs nothing when the provider refuses it', async () => {
    upstream.answer = (_asked, response) =>
      sendJson(response, 400, { error: { message: 'no', type: 'x', param: null, code: null } });
    await call('refused', {}, (event) => {
      expect(event).toMatchObject({ status: 400, outcome: 'provider_error', source: 'none' });
      expect(event?.usage).toMatchObject({ input: 0, output: 0 });
    });
  });

  it('is counted where the provider states no usage', async () => {
    upstream.answer = (_asked, response) => sendJson(response, 200, completion('one two three four', null));
    await call('unstated', {}, (event) => {
      expect(event).toMatchObject({ status: 200, outcome: 'ok', source: 'counted' });
      expect(event?.usage.output).toBe(4);
    });
  });

  it('pauses the provider while the caller does not read, and cuts a caller that never does', async () => {
    let sent = 0;
    let stopped = false;
    upstream.answer = (_asked, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const event = `data: {"choices":[{"delta":{"content":"${'x'.repeat(60_000)}"}}]}\n\n`;
      const more = (): void => {
        while (!stopped && sent < 200_000_000) {
          sent += event.length;
          if (!response.write(event)) {
            response.once('drain', more);
            return;
          }
        }
      };
      response.on('close', () => {
        stopped = true;
      });
      more();
    };
    const before = process.memoryUsage().rss;
    const { hostname, port } = new URL(server.url);
    const { connect } = await import('node:net');
    const body = JSON.stringify({ model: 'slow', messages: MESSAGES, stream: true });
    done.push({
      name: 'slow',
      check: (event) => expect(event).toMatchObject({ outcome: 'client_closed', streamed: true }),
    });
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.pause();
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${server.projectKey}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await until(() => stopped);
    socket.destroy();
    // Sockets buffer a few megabytes in the kernel; the server must not add to that without end.
    expect(sent).toBeLessThan(40_000_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(200_000_000);
  });

  it('is 408 when its body does not arrive', async () => {
    const { hostname, port } = new URL(server.url);
    const { connect } = await import('node:net');
    const text = await new Promise<string>((resolve) => {
      let got = '';
      const socket = connect(Number(port), hostname, () =>
        socket.write(
          `POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${server.projectKey}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
        ),
      );
      socket.on('data', (data) => {
        got += data.toString();
        socket.destroy();
      });
      socket.on('close', () => resolve(got));
    });
    expect(text).toMatch(/^HTTP\/1.1 408 /);
  });

  it('finishes what is under way when the server is told to stop, and every call has its event', async () => {
    upstream.answer = (_asked, response) => {
      setTimeout(() => sendJson(response, 200, completion('late')), 300);
    };
    const late = call('late', {}, (event) =>
      expect(event).toMatchObject({ status: 200, outcome: 'ok', source: 'provider' }),
    );
    await until(() => upstream.asked.at(-1)?.json()['model'] === 'late');
    const stopping = server.stopAndReadEvents();
    expect(await (await late).json()).toEqual(completion('late'));
    const events = await stopping;
    for (const { name, check } of done) check(events.find((event) => event.modelAsked === name));
    expect(events.length).toBe(done.length);
  });
});
