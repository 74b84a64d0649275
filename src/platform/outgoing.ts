// The one client for requests to addresses that people configure: webhooks, key sets, discovery, key services,
// storage. It goes to https only, and to plain http only where the administrator's list names the place; the name is
// resolved once, checked, and the connection pinned to what was checked (addresses.ts); no redirect is followed; time
// and size are bounded; and no error holds more of the address than its host, because paths and queries hold secrets.
//
// Sources: OWASP Server-Side Request Forgery Prevention, case 2 (allow-listing is not possible); RFC 9110 section 15.4
// (redirects are given back as they are).

import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import {
  type Address,
  admitted,
  namedIn,
  pinned,
  publicAnd,
  type Resolve,
  systemResolve,
} from './addresses.ts';

export interface OutgoingRequest {
  readonly url: URL | string;
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** From the look-up of the name to the last byte, in milliseconds; 10 s if it is not said. */
  readonly timeoutMs?: number;
  /** Of the reply's body; 1 MB if it is not said. Beyond: `too_large`. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
  /** A certificate authority beside the system's, a certificate of our own. The server's name stays the host's. */
  readonly tls?: Pick<SecureContextOptions, 'ca' | 'cert' | 'key'>;
}

export interface OutgoingReply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

export type OutgoingFault =
  /** The address is none, holds a password, or is of another scheme. */
  | 'url'
  /** It is none of the public Internet, or has no TLS, and the configuration does not name it. */
  | 'not_allowed'
  | 'unresolved'
  | 'connect'
  | 'tls'
  | 'timeout'
  | 'aborted'
  | 'too_large'
  | 'broken';

/** A request that got no reply. Its message names the host and nothing else of the address. */
export class OutgoingError extends Error {
  override readonly name = 'OutgoingError';
  readonly fault: OutgoingFault;
  constructor(fault: OutgoingFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

export interface OutgoingRules {
  /** CIDR ranges and host names beyond the public Internet: `outgoing.allow_private`. */
  readonly allowPrivate: readonly string[];
  /** The system's resolver if it is not said. */
  readonly resolve?: Resolve;
}

export interface Outgoing {
  /** @throws OutgoingError */
  send(request: OutgoingRequest): Promise<OutgoingReply>;
  /** The same as `fetch`, for libraries that take one. Redirects are given back; rejects with OutgoingError. */
  readonly fetch: (url: string | URL | Request, init?: RequestInit) => Promise<Response>;
  /** The checked addresses of a host to which something other than HTTP is spoken. @throws OutgoingError */
  reach(host: string): Promise<readonly [Address, ...Address[]]>;
  /** What is wrong with an address, before it is kept: a sentence, or null. Names are resolved only when used. */
  flaw(url: string): string | null;
}

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 1024 * 1024;

export function outgoing(rules: OutgoingRules): Outgoing {
  const resolve = rules.resolve ?? systemResolve;
  const named = namedIn(rules.allowPrivate);
  const publicOrNamed = publicAnd(rules.allowPrivate);

  async function reach(host: string, secure: boolean): Promise<readonly [Address, ...Address[]]> {
    let usable: readonly Address[];
    try {
      usable = await admitted(host, secure ? publicOrNamed : named, resolve);
    } catch {
      throw new OutgoingError('unresolved', `The name ${host} could not be resolved.`);
    }
    const [first, ...rest] = usable;
    if (first !== undefined) return [first, ...rest];
    throw new OutgoingError('not_allowed', notAllowed(host, secure));
  }

  async function send(request: OutgoingRequest): Promise<OutgoingReply> {
    const url = parse(request.url);
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const timeout = AbortSignal.timeout(request.timeoutMs ?? TIMEOUT_MS);
    const signal = request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal]);
    const ended = (error: unknown) =>
      timeout.aborted
        ? new OutgoingError('timeout', `${host} did not answer in time.`)
        : request.signal?.aborted
          ? new OutgoingError('aborted', `The request to ${host} was given up.`)
          : asFault(error, host);
    try {
      const addresses = await unlessAborted(reach(host, url.protocol === 'https:'), signal);
      return await exchange(url, addresses, request, signal);
    } catch (error) {
      throw ended(error);
    }
  }

  return {
    send,
    reach: (host) => reach(host, true),
    fetch: async (input, init) => await asResponse(await send(await fromFetch(input, init))),
    flaw(text) {
      try {
        const url = parse(text);
        const host = url.hostname.replace(/^\[|\]$/g, '');
        const secure = url.protocol === 'https:';
        // A name may be named itself, or stand for an address in a range that is: known when it is resolved.
        if (!isLiteral(host)) {
          return secure || rules.allowPrivate.length > 0 ? null : notAllowed(host, secure);
        }
        return (secure ? publicOrNamed : named)(host, host) ? null : notAllowed(host, secure);
      } catch (error) {
        if (error instanceof OutgoingError) return error.message;
        throw error;
      }
    },
  };
}

function notAllowed(host: string, secure: boolean): string {
  return secure
    ? `${host} is not on the public Internet. If it is meant, the administrator adds it to outgoing.allow_private.`
    : `${host} is addressed without TLS: use https://. Plain http is only for what outgoing.allow_private names.`;
}

function parse(given: URL | string): URL {
  const url = typeof given !== 'string' ? given : URL.canParse(given) ? new URL(given) : null;
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new OutgoingError('url', 'The address must be one that begins with https://.');
  }
  if (url.username !== '' || url.password !== '') {
    throw new OutgoingError('url', 'The address must hold no user name and no password.');
  }
  return url;
}

function isLiteral(host: string): boolean {
  return /^[\d.]+$/.test(host) || host.includes(':');
}

function exchange(
  url: URL,
  addresses: readonly [Address, ...Address[]],
  request: OutgoingRequest,
  signal: AbortSignal,
): Promise<OutgoingReply> {
  const { body, maxBytes = MAX_BYTES, method = body === undefined ? 'GET' : 'POST' } = request;
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  return new Promise((resolve, reject) => {
    const sent = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      method,
      // One connection for one request: nothing is reused that was checked for another.
      agent: false,
      lookup: pinned(addresses),
      signal,
      maxHeaderSize: 64 * 1024,
      headers: {
        'user-agent': 'keygate',
        ...request.headers,
        // What is compressed could unfold beyond any bound.
        'accept-encoding': 'identity',
        ...(bytes !== undefined && { 'content-length': String(bytes.byteLength) }),
      },
      ...request.tls,
    });
    sent.once('error', reject);
    sent.once('response', (reply) => {
      collect(reply, maxBytes).then(
        (collected) => resolve({ status: reply.statusCode ?? 0, headers: headersOf(reply), body: collected }),
        (error: unknown) => {
          sent.destroy();
          reject(error);
        },
      );
    });
    sent.end(bytes);
  });
}

async function collect(reply: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of reply) {
    const piece: Buffer = chunk;
    size += piece.byteLength;
    if (size > maxBytes) throw new OutgoingError('too_large', `The reply is longer than ${maxBytes} bytes.`);
    chunks.push(piece);
  }
  return Buffer.concat(chunks, size);
}

function headersOf(reply: IncomingMessage): Headers {
  const headers = new Headers();
  for (let at = 0; at + 1 < reply.rawHeaders.length; at += 2) {
    headers.append(reply.rawHeaders[at] ?? '', reply.rawHeaders[at + 1] ?? '');
  }
  return headers;
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return await Promise.race([
    work,
    new Promise<never>((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    }),
  ]);
}

function asFault(error: unknown, host: string): OutgoingError {
  if (error instanceof OutgoingError) return error;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ETIMEDOUT)$/.test(code)) {
    return new OutgoingError('connect', `${host} could not be connected to (${code}).`);
  }
  if (/CERT|TLS|SSL|ISSUER|SELF_SIGNED|VERIFY/.test(code)) {
    return new OutgoingError('tls', `The TLS connection to ${host} failed (${code}).`);
  }
  return new OutgoingError(
    'broken',
    `The exchange with ${host} broke off${code === '' ? '' : ` (${code})`}.`,
  );
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

async function fromFetch(input: string | URL | Request, init?: RequestInit): Promise<OutgoingRequest> {
  const asked = new Request(input, init);
  const method = METHODS.find((one) => one === asked.method);
  if (method === undefined) throw new OutgoingError('url', `${asked.method} is not a method that is sent.`);
  return {
    url: asked.url,
    method,
    headers: Object.fromEntries(asked.headers),
    signal: asked.signal,
    ...(asked.body !== null && { body: new Uint8Array(await asked.arrayBuffer()) }),
  };
}

function asResponse({ status, headers, body }: OutgoingReply): Response {
  const none = status === 101 || status === 204 || status === 205 || status === 304;
  return new Response(none ? null : new Uint8Array(body), { status, headers });
}
