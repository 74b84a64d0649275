// A provider for tests: an HTTP server on loopback that answers as each test says and remembers what it was asked.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  readonly json: () => Record<string, unknown>;
}

export type Answer = (asked: Asked, response: ServerResponse, request: IncomingMessage) => void;

export interface Upstream {
  readonly url: string;
  readonly asked: Asked[];
  answer: Answer;
  /** Connections that broke before their answer was complete. */
  aborted: number;
  readonly server: Server;
  close(): Promise<void>;
}

export async function startUpstream(answer: Answer = chatReply()): Promise<Upstream> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts);
      const call: Asked = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body,
        json: () => JSON.parse(body.toString('utf8')) as Record<string, unknown>,
      };
      asked.push(call);
      response.on('close', () => {
        if (!response.writableFinished) upstream.aborted++;
      });
      upstream.answer(call, response, request);
    });
    request.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const upstream: Upstream = {
    url: `http://127.0.0.1:${port}/v1`,
    asked,
    answer,
    aborted: 0,
    server,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return upstream;
}

export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}

export function completion(
  content: string,
  usage: object | null = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 },
): object {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model: 'mock-1',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop', logprobs: null }],
    ...(usage === null ? {} : { usage }),
    service_tier: 'default',
  };
}

export function chatReply(content = 'hello'): Answer {
  return (_asked, response) => sendJson(response, 200, completion(content));
}

/** The events of a streamed chat completion: a chunk a word, then the usage chunk if it was asked for. */
export function chatEvents(words: readonly string[], includeUsage: boolean): string[] {
  const chunk = (choices: object[], usage: object | null): string =>
    `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'mock-1', choices, ...(includeUsage ? { usage } : {}) })}\n\n`;
  const events = words.map((content) => chunk([{ index: 0, delta: { content }, finish_reason: null }], null));
  events.push(chunk([{ index: 0, delta: {}, finish_reason: 'stop' }], null));
  if (includeUsage)
    events.push(
      chunk([], { prompt_tokens: 7, completion_tokens: words.length, total_tokens: 7 + words.length }),
    );
  events.push('data: [DONE]\n\n');
  return events;
}

export function wantsUsage(asked: Asked): boolean {
  const options = asked.json()['stream_options'];
  return typeof options === 'object' && options !== null && Reflect.get(options, 'include_usage') === true;
}
