// Receive: is it well-formed HTTP within bounds, and which operation is it? Refuses what is ambiguous: two Host
// headers, a target in absolute form, a header of ours that stands twice. The parser has refused the rest
// (both lengths, bare line feeds, obsolete folding) before a request gets here.

import type { Bounds } from '../config/model.ts';
import { ApiError } from '../platform/errors.ts';
import { SCRIPT_HEADER } from '../upstreams/sandbox/script.ts';
import type { Call, Head } from './call.ts';
import { matchOperation, type Operation } from './operations.ts';
import type { Verdict } from './verdict.ts';

const PREFIX = '/v1';
const CLIENT_ID_MAX = 512;

/** Fields of `Head` by header name; `passed` are sent on as they came. */
type Single = Exclude<keyof Head, 'passed'>;
const SINGLE: Readonly<Record<string, Single>> = {
  authorization: 'authorization',
  'openai-organization': 'organization',
  'openai-project': 'project',
  'content-type': 'contentType',
  'content-encoding': 'contentEncoding',
  'content-length': 'contentLength',
  accept: 'accept',
  'x-forwarded-for': 'forwardedFor',
};
const PASSED: ReadonlySet<string> = new Set([
  'openai-beta',
  'idempotency-key',
  'x-client-request-id',
  SCRIPT_HEADER,
]);

type Use = Single | 'host' | 'passed' | 'dropped';

// Callers spell names in a few ways; each spelling is resolved once. Bounded: unknown spellings are not kept.
const uses = new Map<string, Use>();
for (const name of [
  ...Object.keys(SINGLE),
  ...PASSED,
  'host',
  'user-agent',
  'connection',
  'accept-encoding',
]) {
  const title = name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
  for (const spelling of [name, title, title.replace(/^Openai/, 'OpenAI')]) uses.set(spelling, useOf(name));
}

function useOf(name: string): Use {
  if (name === 'host') return 'host';
  return SINGLE[name] ?? (PASSED.has(name) ? 'passed' : 'dropped');
}

/** The first step: the head alone. The body is read after the key is known, so that strangers cannot fill memory. */
export function receive(call: Call, bounds: Bounds): Verdict {
  const target = call.peer.target;
  const method = call.peer.method;
  if (target.charCodeAt(0) !== 0x2f) {
    return new ApiError(400, 'The request target must be a path that begins with "/", not a whole URL.');
  }
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  call.query = mark < 0 ? '' : target.slice(mark);
  const match = path.startsWith(`${PREFIX}/`) ? matchOperation(method, path.slice(PREFIX.length)) : 'unknown';
  if (match === 'unknown') return unknownUrl(method, path);
  if (match === 'method') {
    return new ApiError(
      405,
      `Not allowed to ${method} on ${path}. (HINT: Perhaps you meant to use a different HTTP method?)`,
      { code: 'method_not_supported' },
    );
  }
  call.operation = match.found;
  call.parameters = match.parameters;
  return readHead(call) ?? checkBody(call, match.found, bounds);
}

/** The published refusal of an unknown path. */
export function unknownUrl(method: string, path: string): ApiError {
  const shown = path.length > 200 ? `${path.slice(0, 200)}…` : path;
  return new ApiError(404, `Invalid URL (${method} ${shown})`);
}

function readHead(call: Call): Verdict {
  const raw = call.peer.headers;
  const head = call.head;
  let hosts = 0;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    const use = uses.get(name) ?? useOf(name.toLowerCase());
    if (use === 'dropped') continue;
    if (use === 'host') {
      if (++hosts > 1) return new ApiError(400, 'The request has more than one Host header.');
    } else if (use === 'passed') {
      const lower = name.toLowerCase();
      if (lower === 'x-client-request-id' && !isClientId(value)) {
        return new ApiError(400, `X-Client-Request-Id must be at most ${CLIENT_ID_MAX} ASCII characters.`);
      }
      head.passed.push(lower, value);
    } else if (use === 'forwardedFor' && head.forwardedFor !== null) {
      // RFC 9110 section 5.3: repeated fields of a list are one list.
      head.forwardedFor += `,${value}`;
    } else if (head[use] !== null) {
      return new ApiError(400, `The request has more than one ${name} header.`);
    } else {
      head[use] = value;
    }
  }
  return null;
}

function isClientId(value: string): boolean {
  return value.length <= CLIENT_ID_MAX && /^[\x20-\x7e]*$/.test(value);
}

function checkBody(call: Call, operation: Operation, bounds: Bounds): Verdict {
  if (operation.body === 'none') return null;
  const { contentType, contentEncoding, contentLength } = call.head;
  if (contentEncoding !== null && contentEncoding !== 'identity') {
    return new ApiError(
      415,
      `Content-Encoding ${contentEncoding.slice(0, 40)} is not supported: send the body as it is.`,
    );
  }
  const wanted = operation.body === 'json' ? 'application/json' : 'multipart/form-data';
  if (contentType === null || !isType(contentType, wanted)) {
    return new ApiError(
      415,
      `Unsupported Content-Type${contentType === null ? '' : ` ${contentType.slice(0, 80)}`}: this operation takes ${wanted}.`,
    );
  }
  if (contentLength !== null && Number(contentLength) > bounds.bodyBytes) return tooLarge(bounds.bodyBytes);
  return null;
}

function isType(header: string, wanted: string): boolean {
  if (!header.startsWith(wanted)) {
    return header.slice(0, wanted.length).toLowerCase() === wanted && endsThere(header, wanted.length);
  }
  return endsThere(header, wanted.length);
}

function endsThere(header: string, at: number): boolean {
  const next = header.charCodeAt(at);
  return Number.isNaN(next) || next === 0x3b || next === 0x20;
}

export function tooLarge(limit: number): ApiError {
  return new ApiError(413, `The request body is larger than this server takes (${limit} bytes).`, {
    code: 'request_too_large',
  });
}
