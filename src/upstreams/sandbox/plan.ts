// From a reply and a script to the steps in which the reply is sent: what is waited for, what goes out, and where
// it breaks. Pure: a test reads the steps, and the server performs them.

import { ApiError } from '../../platform/errors.ts';
import type { Fault, Script } from './script.ts';

export type Reply =
  | {
      readonly kind: 'whole';
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string | Uint8Array;
    }
  | {
      readonly kind: 'stream';
      /** Server-sent events, each whole with its empty line; made as they are read. */
      readonly events: Iterable<string>;
      /** How many they are. */
      readonly count: number;
      /** What ends the stream after the events; empty for nothing. */
      readonly end: string;
      /** The event that says, in this API's form, that the rest will not come. */
      readonly errorEvent: string;
    };

export type Step =
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'head' }
  | { readonly do: 'send'; readonly data: string | Uint8Array }
  /** The connection is destroyed. */
  | { readonly do: 'cut' }
  /** Nothing more is done until the other side goes away. */
  | { readonly do: 'stall' };

/** A status and headers, and the steps; when they are all done the reply is ended, unless it was cut or stalls. */
export interface Plan {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly steps: Iterable<Step>;
}

export function jsonReply(body: unknown, status = 200): Reply {
  return {
    kind: 'whole',
    status,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  };
}

export function errorReply(error: ApiError): Reply {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  for (let i = 0; i + 1 < error.headers.length; i += 2) {
    headers[error.headers[i] ?? ''] = error.headers[i + 1] ?? '';
  }
  return { kind: 'whole', status: error.status, headers, body: JSON.stringify(error.body()) };
}

export const SERVER_ERROR = {
  message: 'The server had an error while processing your request. Sorry about that!',
  type: 'server_error',
  param: null,
  code: null,
} as const;

/** The refusal that a script asks for instead of a reply; null if it asks for none. */
export function scriptedRefusal(fault: Fault | null, model: string): ApiError | null {
  if (fault?.kind === 'quota') {
    return new ApiError(
      429,
      'You exceeded your current quota, please check your plan and billing details. For more information on this ' +
        'error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.',
      { type: 'insufficient_quota', code: 'insufficient_quota' },
    );
  }
  if (fault?.kind !== 'status') return null;
  const { message, type, code } = refusalOf(fault.status, model, fault.retryAfterMs);
  const headers: string[] = [];
  if (fault.retryAfterMs !== null) {
    // Seconds are whole in Retry-After (RFC 9110, section 10.2.3): never sooner than asked for.
    headers.push('retry-after', String(Math.ceil(fault.retryAfterMs / 1000)));
    headers.push('retry-after-ms', String(fault.retryAfterMs));
  }
  if (fault.status === 429)
    headers.push('x-ratelimit-limit-requests', '3', 'x-ratelimit-remaining-requests', '0');
  return new ApiError(fault.status, message, { type, code, headers });
}

function refusalOf(status: number, model: string, retryAfterMs: number | null) {
  switch (status) {
    case 401:
      return {
        message: 'Incorrect API key provided: sandbox. You can find your API key in the sandbox script.',
        type: 'invalid_request_error',
        code: 'invalid_api_key',
      };
    case 429: {
      const wait = retryAfterMs === null ? '' : ` Please try again in ${retryAfterMs}ms.`;
      return {
        message: `Rate limit reached for ${model} in the sandbox on requests per min (RPM): Limit 3, Used 3, Requested 1.${wait}`,
        type: 'requests',
        code: 'rate_limit_exceeded',
      };
    }
    case 503:
      return {
        message: 'The engine is currently overloaded, please try again later.',
        type: 'service_unavailable_error',
        code: 'server_is_overloaded',
      };
    default:
      if (status >= 500) return { message: SERVER_ERROR.message, type: 'server_error', code: null };
      return {
        message: `The sandbox script asks for a refusal with status ${status}.`,
        type: 'invalid_request_error',
        code: null,
      };
  }
}

/** The plan that sends this reply in the way that the script says. */
export function planFor(reply: Reply, script: Script): Plan {
  if (reply.kind === 'stream') {
    return {
      status: 200,
      headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' },
      steps: paced(script, streamChunks(reply, script)),
    };
  }
  const midway = midwayFault(script);
  // A whole reply has no middle in which an error could be told: it is the reply.
  if (midway?.kind === 'error')
    return planFor(jsonReply({ error: SERVER_ERROR }, 500), { ...script, fault: null });
  const body = typeof reply.body === 'string' ? Buffer.from(reply.body) : reply.body;
  const sent = midway?.kind === 'malformed' ? body.subarray(0, body.length >> 1) : body;
  return {
    status: reply.status,
    headers: { ...reply.headers, 'content-length': String(sent.length) },
    steps: paced(script, wholeChunks(sent, midway)),
  };
}

type Chunk = string | Uint8Array | { readonly ends: 'cut' | 'stall' };

function* wholeChunks(body: Uint8Array, fault: Midway | null): Generator<Chunk> {
  if (fault?.kind !== 'cut' && fault?.kind !== 'stall') {
    yield body;
    return;
  }
  const half = body.subarray(0, body.length >> 1);
  if (fault.after !== 0 && half.length > 0) yield half;
  yield { ends: fault.kind };
}

function* streamChunks(reply: Reply & { kind: 'stream' }, script: Script): Generator<Chunk> {
  const fault = midwayFault(script);
  const at = fault === null ? -1 : (fault.after ?? reply.count >> 1);
  let index = 0;
  for (const event of reply.events) {
    if (index++ !== at) {
      yield event;
    } else if (fault?.kind === 'malformed') {
      yield `${event.slice(0, Math.max(8, event.length >> 1)).trimEnd()}\n\n`;
    } else if (fault?.kind === 'error') {
      yield reply.errorEvent;
      return;
    } else if (fault) {
      yield { ends: fault.kind };
      return;
    }
  }
  // A fault beyond the last chunk meets the end of the stream.
  if (at >= index && fault && (fault.kind === 'cut' || fault.kind === 'stall')) yield { ends: fault.kind };
  else if (at >= index && fault?.kind === 'error') yield reply.errorEvent;
  else if (script.done && reply.end !== '') yield reply.end;
}

function* paced(script: Script, chunks: Iterable<Chunk>): Generator<Step> {
  if (script.fault?.kind === 'reset') {
    yield { do: 'cut' };
    return;
  }
  if (script.firstByteMs > 0) yield { do: 'wait', ms: script.firstByteMs };
  let headSent = false;
  let sent = 0;
  for (const chunk of pieces(chunks, script.trickleBytes)) {
    const ends = typeof chunk === 'object' && 'ends' in chunk ? chunk.ends : null;
    // Stalled before its first chunk, a reply sends no head either: the caller waits for a first byte.
    if (!headSent && ends !== 'stall') {
      yield { do: 'head' };
      headSent = true;
    }
    // A trickle without a pace of its own still leaves in separate packets.
    const pause = script.chunkMs || (script.trickleBytes === null ? 0 : 1);
    if (sent++ > 0 && pause > 0) yield { do: 'wait', ms: pause };
    if (ends !== null) {
      yield { do: ends };
      return;
    }
    if (typeof chunk === 'string' || chunk instanceof Uint8Array) yield { do: 'send', data: chunk };
  }
  if (!headSent) yield { do: 'head' };
}

function* pieces(chunks: Iterable<Chunk>, size: number | null): Generator<Chunk> {
  for (const chunk of chunks) {
    if (size === null || (typeof chunk === 'object' && 'ends' in chunk)) {
      yield chunk;
      continue;
    }
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
}

type Midway = Extract<Fault, { readonly after: number | null }>;

function midwayFault(script: Script): Midway | null {
  return script.fault !== null && 'after' in script.fault ? script.fault : null;
}
