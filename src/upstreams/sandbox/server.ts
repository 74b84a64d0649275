// The sandbox as an HTTP server: reads a request whole, asks answer.ts for a plan, and performs it.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { ApiError, unavailable } from '../../platform/errors.ts';
import { answer } from './answer.ts';
import { readForm } from './form.ts';
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
// Of all calls together.
const HELD_BYTES = 256 * 2 ** 20;
// As large as a gateway before it may let through.
const HEADER_BYTES = 128 * 1024;
// Longer than a client keeps a connection, so that it is the client that closes idle ones.
const KEEP_ALIVE_MS = 75_000;

export function createSandboxServer(options: SandboxServerOptions): Server {
  const held: Held = { bytes: 0 };
  const server = createServer(
    { maxHeaderSize: HEADER_BYTES, keepAliveTimeout: KEEP_ALIVE_MS },
    (request, response) => {
      serve(request, response, options, held).catch((error: unknown) => {
        options.onFault?.(error);
        response.destroy();
      });
    },
  );
  // The road before it bounds times; the sandbox stalls when it is asked to.
  server.requestTimeout = 0;
  return server;
}

/** What the bodies that are being read take together. */
interface Held {
  bytes: number;
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  options: SandboxServerOptions,
  held: Held,
): Promise<void> {
  const { setting, wait } = options;
  response.setHeader('x-request-id', setting.newId('req_'));
  response.setHeader('openai-version', '2020-10-01');
  response.setHeader('openai-organization', 'sandbox');
  const started = performance.now();
  let own = 0;
  request.on('data', (part: Buffer) => {
    own += part.length;
    held.bytes += part.length;
  });
  const plan = await planOf(request, options, held);
  held.bytes -= own;
  own = 0;
  // Refused before it was read to its end: the rest is let run out, and the connection is not used again.
  if (!request.complete) {
    response.shouldKeepAlive = false;
    request.removeAllListeners('data').resume();
  }
  response.setHeader('openai-processing-ms', String(Math.round(performance.now() - started)));
  await perform(plan, response, wait);
}

async function planOf(request: IncomingMessage, options: SandboxServerOptions, held: Held): Promise<Plan> {
  try {
    const [path = ''] = (request.url ?? '').split('?', 1);
    const type = request.headers['content-type']?.toLowerCase() ?? '';
    const multipart = type.startsWith('multipart/form-data');
    const [form, body] = await Promise.all([
      multipart ? readForm(request) : null,
      readBody(request, held, !multipart),
    ]);
    const header = request.headers[SCRIPT_HEADER];
    const script = typeof header === 'string' ? header : '';
    return answer({ method: request.method ?? '', path, script, body, form }, options.setting);
  } catch (error) {
    if (error instanceof ApiError) return planFor(errorReply(error), NO_SCRIPT);
    options.onFault?.(error);
    return planFor(jsonReply({ error: SERVER_ERROR }, 500), NO_SCRIPT);
  }
}

/** @param keep whether the bytes are wanted; else they are only watched, while a form is read from them */
function readBody(request: IncomingMessage, held: Held, keep: boolean): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let length = 0;
    request.on('data', (part: Buffer) => {
      length += part.length;
      if (length > BODY_BYTES)
        reject(new ApiError(413, `Maximum content size limit (${BODY_BYTES}) exceeded.`));
      else if (held.bytes > HELD_BYTES) reject(unavailable('The sandbox is busy with other large requests.'));
      else if (keep) parts.push(part);
    });
    request.on('end', () => resolve(Buffer.concat(parts)));
    request.on('error', () => reject(new ApiError(400, 'The request ended before its body did.')));
  });
}
