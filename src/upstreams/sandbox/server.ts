// The sandbox as an HTTP server: reads a request whole, asks answer.ts for a plan, and performs it.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { ApiError } from '../../platform/errors.ts';
import { answer } from './answer.ts';
import { readForm } from './form.ts';
import type { Form } from './inquiry.ts';
import { perform, type Wait } from './perform.ts';
import { errorReply, jsonReply, type Plan, planFor, SERVER_ERROR } from './plan.ts';
import { NO_SCRIPT, SCRIPT_HEADER } from './script.ts';
import type { Setting } from './setting.ts';

export interface SandboxServerOptions {
  readonly setting: Setting;
  readonly wait: Wait;
  /** Told of what should not have happened; the caller gets a 500. */
  readonly onFault?: (error: unknown) => void;
}

const BODY_BYTES = 64 * 2 ** 20;
// As large as a gateway before it may let through.
const HEADER_BYTES = 128 * 1024;
// Longer than a client keeps a connection, so that it is the client that closes idle ones.
const KEEP_ALIVE_MS = 75_000;

export function createSandboxServer(options: SandboxServerOptions): Server {
  const server = createServer(
    { maxHeaderSize: HEADER_BYTES, keepAliveTimeout: KEEP_ALIVE_MS },
    (request, response) => {
      serve(request, response, options).catch((error: unknown) => {
        options.onFault?.(error);
        response.destroy();
      });
    },
  );
  // The road before it bounds times; the sandbox stalls when it is asked to.
  server.requestTimeout = 0;
  return server;
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  options: SandboxServerOptions,
): Promise<void> {
  const { setting, wait } = options;
  response.setHeader('x-request-id', setting.newId('req_'));
  response.setHeader('openai-version', '2020-10-01');
  response.setHeader('openai-organization', 'sandbox');
  const started = performance.now();
  const plan = await planOf(request, options);
  response.setHeader('openai-processing-ms', String(Math.round(performance.now() - started)));
  await perform(plan, response, wait);
}

async function planOf(request: IncomingMessage, options: SandboxServerOptions): Promise<Plan> {
  try {
    const [path = ''] = (request.url ?? '').split('?', 1);
    const multipart =
      request.headers['content-type']?.toLowerCase().startsWith('multipart/form-data') === true;
    const form: Form | null = multipart ? await readForm(request) : null;
    const body = multipart ? new Uint8Array() : await readBody(request);
    const header = request.headers[SCRIPT_HEADER];
    const script = typeof header === 'string' ? header : '';
    return answer({ method: request.method ?? '', path, script, body, form }, options.setting);
  } catch (error) {
    if (error instanceof ApiError) return planFor(errorReply(error), NO_SCRIPT);
    options.onFault?.(error);
    return planFor(jsonReply({ error: SERVER_ERROR }, 500), NO_SCRIPT);
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request) {
    if (!Buffer.isBuffer(part)) continue;
    length += part.length;
    if (length > BODY_BYTES) throw new ApiError(413, `Maximum content size limit (${BODY_BYTES}) exceeded.`);
    parts.push(part);
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts, length);
}
