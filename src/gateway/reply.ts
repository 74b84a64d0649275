// How the data plane answers: the headers that every reply carries, and a refusal in the API's shape.

import type { Duplex } from 'node:stream';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { headerLine } from '../upstreams/http1/connection.ts';
import type { Call } from './call.ts';

/** The version that the platform states in `openai-version`. */
const API_VERSION = '2020-10-01';
const JSON_TYPE = 'application/json';

/** The header lines of every reply. */
export function replyLines(call: Call, clock: Clock): string {
  const took = Math.round(clock.monotonic() - call.began);
  const organization =
    call.principal === null ? '' : `openai-organization: ${call.principal.organizationId}\r\n`;
  return `x-request-id: ${call.id}\r\nopenai-version: ${API_VERSION}\r\nopenai-processing-ms: ${took}\r\n${organization}${call.limitLines}`;
}

/** Header lines of flat pairs. Throws on what would end a line early: it would begin another header. */
export function headerLines(pairs: readonly string[]): string {
  let lines = '';
  for (let i = 0; i + 1 < pairs.length; i += 2) lines += headerLine(pairs[i] ?? '', pairs[i + 1] ?? '');
  return lines;
}

/** Answers with a JSON value and ends the call. */
export function answer(
  call: Call,
  clock: Clock,
  status: number,
  value: unknown,
  extra: readonly string[] = [],
): void {
  const lines = `${replyLines(call, clock)}content-type: ${JSON_TYPE}\r\n${headerLines(extra)}`;
  call.status = status;
  call.over = true;
  call.peer.answer(status, lines, Buffer.from(JSON.stringify(value)));
}

/** Refuses the call. */
export function refuse(call: Call, clock: Clock, refusal: ApiError): void {
  if (!call.over) answer(call, clock, refusal.status, refusal.body(), refusal.headers);
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
