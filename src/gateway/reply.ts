// How the data plane answers: the headers that every reply carries, and a refusal in the API's shape.

import type { Duplex } from 'node:stream';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import type { Call } from './call.ts';

/** The version that the platform states in `openai-version`. */
const API_VERSION = '2020-10-01';
const JSON_TYPE = 'application/json';

/** The headers of every reply, flat: name, value. */
export function replyHeaders(call: Call, clock: Clock): string[] {
  const headers = [
    'x-request-id',
    call.id,
    'openai-version',
    API_VERSION,
    'openai-processing-ms',
    String(Math.round(clock.monotonic() - call.began)),
  ];
  if (call.principal !== null) headers.push('openai-organization', call.principal.organizationId);
  for (const header of call.limitHeaders) headers.push(header);
  return headers;
}

/** Answers with a JSON value and ends the call. */
export function answer(
  call: Call,
  clock: Clock,
  status: number,
  value: unknown,
  extra: readonly string[] = [],
): void {
  const body = JSON.stringify(value);
  const headers = replyHeaders(call, clock);
  headers.push('content-type', JSON_TYPE, 'content-length', String(Buffer.byteLength(body)), ...extra);
  call.status = status;
  call.over = true;
  call.response.writeHead(status, headers);
  call.response.end(body);
}

/** Refuses the call. */
export function refuse(call: Call, clock: Clock, refusal: ApiError): void {
  if (call.over) return;
  if (!call.request.complete) drainAfter(call);
  answer(call, clock, refusal.status, refusal.body(), refusal.headers);
}

const DRAIN_MS = 5_000;

/**
 * Lets the rest of a refused body run out, for a moment: a socket that is closed with bytes unread is reset, and then a
 * caller in the middle of sending would not get to read the refusal. Node reads and drops the rest by itself once the
 * reply is out; what is added here is the end of its patience.
 */
function drainAfter({ request }: Call): void {
  const timer = setTimeout(() => request.socket.destroy(), DRAIN_MS).unref();
  request.on('close', () => clearTimeout(timer));
}

/** Answers a connection whose request could not even be read as HTTP. */
export function refuseSocket(socket: Duplex, refusal: ApiError): void {
  if (!socket.writable) return;
  const body = JSON.stringify(refusal.body());
  socket.end(
    `HTTP/1.1 ${refusal.status} ${REASONS[refusal.status] ?? 'Bad Request'}\r\ncontent-type: ${JSON_TYPE}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  413: 'Payload Too Large',
  431: 'Request Header Fields Too Large',
};

/** What a caller learns of a fault of ours: that it is ours, and nothing else. */
export function internalError(): ApiError {
  return new ApiError(500, 'The server had an error while processing your request. Sorry about that!');
}
