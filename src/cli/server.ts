// The running server, as the command line talks to it: its HTTP API with an admin key, never its store.

import { z } from 'zod';
import { parseKey } from '../keys/format.ts';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { sessionFor } from './session-file.ts';

export const DEFAULT_URL = 'http://127.0.0.1:4141';

const ANSWER_MS = 30_000;
const PAGE = 100;

const Refusal = z.object({
  error: z.object({ message: z.string(), code: z.string().nullish() }),
});

const List = z.object({
  data: z.array(z.looseObject({ id: z.string() })),
  has_more: z.boolean(),
});

interface Body {
  readonly type: string;
  readonly text: string;
}

function json(body: object): Body {
  return { type: 'application/json', text: JSON.stringify(body) };
}

/** A schema of what this client needs of an object; everything else of it is kept for `--json`. */
type Shape<T> = z.ZodType<T>;

export class Server {
  readonly url: string;
  readonly #key: string | null;

  /** @param key null: for what needs none */
  constructor(url: string, key: string | null) {
    this.url = url;
    this.#key = key;
  }

  get<T>(path: string, shape: Shape<T>): Promise<T> {
    return this.#call('GET', path, undefined, shape);
  }

  /** @param answerMs how long the answer may take */
  post<T>(path: string, body: object, shape: Shape<T>, answerMs = ANSWER_MS): Promise<T> {
    return this.#call('POST', path, json(body), shape, answerMs);
  }

  /** A body that is not JSON. */
  postText<T>(path: string, type: string, text: string, shape: Shape<T>, answerMs = ANSWER_MS): Promise<T> {
    return this.#call('POST', path, { type, text }, shape, answerMs);
  }

  delete<T>(path: string, shape: Shape<T>): Promise<T> {
    return this.#call('DELETE', path, undefined, shape);
  }

  /** The first `limit` objects of a list, page by page, and whether there are more. */
  async list<T extends { readonly id: string }>(
    path: string,
    shape: Shape<T>,
    limit: number,
  ): Promise<{ data: T[]; has_more: boolean }> {
    const data: T[] = [];
    let after: string | undefined;
    for (;;) {
      const query = new URLSearchParams({ limit: String(Math.min(PAGE, limit - data.length)) });
      if (after !== undefined) query.set('after', after);
      const page = await this.get(`${path}${path.includes('?') ? '&' : '?'}${query}`, List);
      for (const item of page.data) data.push(expectShape(shape, item, this.url));
      const last = page.data.at(-1)?.id;
      if (!page.has_more || last === undefined || last === after) return { data, has_more: false };
      if (data.length >= limit) return { data, has_more: true };
      after = last;
    }
  }

  /** The lines of a reply that may be long, as they come. */
  async *lines(path: string): AsyncGenerator<string> {
    const headers: Record<string, string> =
      this.#key === null ? {} : { authorization: `Bearer ${this.#key}` };
    const reply = await reach(this.url, (signal) => headOf(this.url + path, headers, signal));
    if (!reply.ok) {
      throw refused(this.url, reply.status, reply.headers.get('x-request-id'), parseJson(await reply.text()));
    }
    if (reply.body === null) return;
    const decoder = new TextDecoder();
    let rest = '';
    try {
      for await (const chunk of reply.body) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
        rest = lines.pop() ?? '';
        yield* lines.filter((line) => line !== '');
      }
    } catch (error) {
      if (error instanceof CommandError) throw error;
      throw new CommandError(EXIT.refused, `The reply of ${this.url} broke off before its end: try again.`, {
        cause: error,
      });
    }
    if (rest !== '') yield rest;
  }

  async #call<T>(
    method: string,
    path: string,
    body: Body | undefined,
    shape: Shape<T>,
    answerMs = ANSWER_MS,
  ): Promise<T> {
    const exchange = async (signal: AbortSignal) => {
      const reply = await fetch(this.url + path, {
        method,
        headers: {
          ...(this.#key !== null && { authorization: `Bearer ${this.#key}` }),
          accept: 'application/json',
          ...(body && { 'content-type': body.type }),
        },
        body: body?.text ?? null,
        // A key follows no redirect: the address is the administrator's word.
        redirect: 'manual',
        signal,
      });
      const text = await reply.text();
      return { status: reply.status, requestId: reply.headers.get('x-request-id'), parsed: parseJson(text) };
    };
    const { status, requestId, parsed } = await reach(this.url, exchange, answerMs);
    if (status < 200 || status > 299) throw refused(this.url, status, requestId, parsed);
    return expectShape(shape, parsed, this.url);
  }
}

/** A reply's head within the time for it; its body has as long as it takes. */
async function headOf(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  const body = new AbortController();
  const late = () => body.abort(signal.reason);
  signal.addEventListener('abort', late, { once: true });
  try {
    return await fetch(url, { headers, redirect: 'manual', signal: body.signal });
  } finally {
    signal.removeEventListener('abort', late);
  }
}

/** Runs one exchange; no connection, no answer in time, or a broken one is "not reachable". */
export async function reach<T>(
  url: string,
  exchange: (signal: AbortSignal) => Promise<T>,
  answerMs = ANSWER_MS,
): Promise<T> {
  try {
    return await exchange(AbortSignal.timeout(answerMs));
  } catch (error) {
    if (error instanceof CommandError) throw error;
    if (error instanceof Error && error.name === 'TimeoutError') {
      throw new CommandError(
        EXIT.unreachable,
        `${url} did not answer within ${answerMs / 1000} seconds: try again, or look at the server's log.`,
      );
    }
    throw unreachable(url, error);
  }
}

export function unreachable(url: string, error: unknown): CommandError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
  return new CommandError(
    EXIT.unreachable,
    `No keygate answers at ${url}${code}: start it with \`npm run up\` or \`keygate serve\`, or set KEYGATE_URL.`,
  );
}

/** The server's own refusal, or word that what answered is no keygate. */
export function refused(url: string, status: number, requestId: string | null, json: unknown): CommandError {
  const refusal = Refusal.safeParse(json);
  if (!refusal.success) return notKeygate(url, `it answered ${status} without the API's error`);
  const request = requestId === null ? '' : `, ${requestId}`;
  const { message, code = null } = refusal.data.error;
  return new CommandError(EXIT.refused, `${message} (${status}${request})`, { reason: code });
}

function notKeygate(url: string, why: string): CommandError {
  return new CommandError(
    EXIT.unreachable,
    `What answers at ${url} is no keygate of this version: ${why}. Check KEYGATE_URL.`,
  );
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function expectShape<T>(shape: Shape<T>, value: unknown, url: string): T {
  const parsed = shape.safeParse(value);
  if (parsed.success) return parsed.data;
  const field = parsed.error.issues[0]?.path.join('.') || 'its reply';
  throw notKeygate(url, `${field} is not what it should be`);
}

/** The address of the server: without a path, so that both `http://host:4141` and `http://host:4141/v1` will do. */
export function serverUrl(text: string, name: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    !url ||
    (url.protocol !== 'http:' && url.protocol !== 'https:') ||
    url.username !== '' ||
    url.search !== ''
  ) {
    throw new CommandError(
      EXIT.configuration,
      `${name} must be the server's address, such as ${DEFAULT_URL}.`,
    );
  }
  return (url.origin + url.pathname).replace(/\/+$/, '').replace(/\/v1$/, '');
}

/** The server that the variables name, with the admin key that they hold, or the session of whoever signed in there. */
export function adminServer(io: Io): Server {
  const url = serverUrl(io.env['KEYGATE_URL'] ?? DEFAULT_URL, 'KEYGATE_URL');
  const name = io.env['KEYGATE_ADMIN_KEY'] === undefined ? 'OPENAI_ADMIN_KEY' : 'KEYGATE_ADMIN_KEY';
  const key = io.env[name]?.trim();
  if (key === undefined) {
    const session = sessionFor(io, url);
    if (session !== undefined) return new Server(url, session.value);
    throw new CommandError(
      EXIT.configuration,
      'This needs an admin key: set KEYGATE_ADMIN_KEY to the one that the first start of the server showed, or sign in with `keygate login`.',
    );
  }
  // Checked before anything is sent: another service's admin key must not leave for this server.
  const parsed = parseKey(key);
  if (!parsed.ok || parsed.type !== 'admin') {
    const what = parsed.ok ? `a ${parsed.type.replace('_', '-')} key` : 'no whole key of a keygate';
    throw new CommandError(
      EXIT.configuration,
      `${name} holds ${what}: set it to an admin key (sk-admin-…) of the server at ${url}.`,
    );
  }
  return new Server(url, key);
}

/** The server that KEYGATE_URL names, for what needs no key. */
export function openServer(io: Io): Server {
  return new Server(serverUrl(io.env['KEYGATE_URL'] ?? DEFAULT_URL, 'KEYGATE_URL'), null);
}
