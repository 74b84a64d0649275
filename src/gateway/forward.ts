// Forward: sends the call upstream with the provider's own credential, and when that fails before anything was
// relayed, to the next target. The origin is the provider's; nothing in the request has a say in it.
//
// A target is given up for the next one when it cannot be reached, or answers 429 or 5xx. A connection that breaks
// before the first byte of the answer is tried once more on the same target: it is nearly always a kept connection
// that the provider closed at that moment.

import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { insertMember, ObjectScan, replaceMember } from '../platform/json-scan.ts';
import {
  type Connection,
  ConnectionError,
  headerLine,
  requestLine,
  type Exchange as Sending,
} from '../upstreams/http1/connection.ts';
import type { Waiting } from '../upstreams/http1/connections.ts';
import type { ResponseHead } from '../upstreams/http1/response-parser.ts';
import { nextTarget, type Target } from '../upstreams/routes.ts';
import { SCRIPT_HEADER } from '../upstreams/sandbox/script.ts';
import type { Call } from './call.ts';
import type { Exchange, Receiver } from './exchange.ts';
import { type ReplyHead, readReplyHead } from './reply-head.ts';
import { FORWARD, LATER, type Resume, type Verdict } from './verdict.ts';

const RECONNECTS = 1;
const SANDBOX = 'sandbox';

/** One call's try of one target: sends it and takes the answer, by plain callbacks. */
class Attempt implements Exchange, Waiting, Sending {
  reply: ReplyHead | null = null;
  receiver: Receiver | null = null;

  readonly #call: Call;
  readonly #clock: Clock;
  readonly #resume: Resume;
  readonly #target: Target;
  #connection: Connection | null = null;
  #reconnects = 0;

  constructor(call: Call, target: Target, clock: Clock, resume: Resume) {
    this.#call = call;
    this.#clock = clock;
    this.#resume = resume;
    this.#target = target;
  }

  begin(): void {
    this.#call.target = this.#target;
    this.#target.provider.connections.acquire(this);
  }

  /** The provider may send more: the caller has read what there was. */
  more(): void {
    this.#connection?.resume();
  }

  /** A connection is free for this call. */
  take(connection: Connection): void {
    const call = this.#call;
    const { provider } = this.#target;
    this.#connection = connection;
    // While it waited for a connection its caller may have gone or its time run out.
    if (call.over || call.step !== FORWARD) return this.#release();
    const request = requestFor(call, this.#target);
    if (request instanceof ApiError) {
      this.#release();
      return this.#resume(call, request);
    }
    provider.sent++;
    call.sent = true;
    call.abort = (error) => connection.abort(error);
    connection.send(call.operation?.method ?? 'GET', request.head, request.body, this);
  }

  head(head: ResponseHead): void {
    const call = this.#call;
    const { provider } = this.#target;
    call.active = this.#clock.monotonic();
    call.firstByte = call.active;
    if (head.status >= 500) provider.fell();
    else if (head.status !== 429) provider.succeeded();
    const next = head.status === 429 || head.status >= 500 ? this.#next() : undefined;
    if (next !== undefined) return this.#leaveFor(next);
    this.reply = readReplyHead(head);
    call.exchange = this;
    this.#resume(call, null);
  }

  data(chunk: Buffer): boolean {
    const call = this.#call;
    if (call.over || this.receiver === null) return true;
    call.active = this.#clock.monotonic();
    return this.receiver.data(chunk);
  }

  complete(): void {
    this.#release();
    if (!this.#call.over) this.receiver?.end();
  }

  failed(error: Error): void {
    const call = this.#call;
    this.#release();
    if (call.over) return;
    if (this.receiver !== null) return this.receiver.cut(error);
    if (call.expired) return this.#resume(call, unreachable(call, error));
    this.#target.provider.fell();
    if (brokeOff(error) && call.sent && this.#reconnects++ < RECONNECTS) return this.begin();
    const next = this.#next();
    if (next === undefined) return this.#resume(call, unreachable(call, error));
    this.#tryNext(next);
  }

  #next(): Target | undefined {
    return this.#call.route === null
      ? undefined
      : nextTarget(this.#call.route, this.#call.tried, Math.random());
  }

  #tryNext(next: Target): void {
    this.#call.tried.push(next);
    new Attempt(this.#call, next, this.#clock, this.#resume).begin();
  }

  /** Gives this answer up for another target's; what still comes of it goes to nobody. */
  #leaveFor(next: Target): void {
    const connection = this.#connection;
    this.receiver = NOBODY;
    this.#call.abort = null;
    this.#tryNext(next);
    connection?.abort(new Error('another target is asked instead'));
  }

  #release(): void {
    const connection = this.#connection;
    this.#connection = null;
    if (connection !== null) this.#target.provider.connections.release(connection);
  }
}

const NOBODY: Receiver = { data: () => true, end: () => {}, cut: () => {} };

/** The step: asks the first target. Goes on to the relay when the head of an answer is there. */
export function forward(call: Call, clock: Clock, resume: Resume): Verdict {
  const first = call.route === null ? undefined : nextTarget(call.route, call.tried, Math.random());
  if (first === undefined) throw new Error('forward without a route');
  call.tried.push(first);
  new Attempt(call, first, clock, resume).begin();
  return LATER;
}

interface OutgoingRequest {
  readonly head: string;
  readonly body: Buffer | null;
}

function requestFor(call: Call, target: Target): OutgoingRequest | ApiError {
  const lines = call.caller?.project.credentials?.get(target.provider.name) ?? target.provider.headerLines;
  if (lines === null) return noCredential();
  const body = call.body === null ? null : bodyFor(call, target);
  if (body instanceof ApiError) return body;
  try {
    return { head: headFor(call, target, lines), body };
  } catch (error) {
    if (error instanceof ConnectionError)
      return new ApiError(400, 'The request has a path or a header that cannot be sent on.');
    throw error;
  }
}

function headFor(call: Call, target: Target, lines: string): string {
  const { passed, contentType, accept } = call.head;
  let head = requestLine(call.operation?.method ?? 'GET', pathFor(call, target)) + lines;
  if (call.body !== null) head += headerLine('content-type', contentType ?? 'application/json');
  if (accept !== null) head += headerLine('accept', accept);
  for (let i = 0; i + 1 < passed.length; i += 2) {
    const name = passed[i] ?? '';
    if (name !== SCRIPT_HEADER || target.provider.name === SANDBOX)
      head += headerLine(name, passed[i + 1] ?? '');
  }
  return head;
}

function pathFor(call: Call, target: Target): string {
  let path = call.operation?.path ?? '';
  for (const parameter of call.parameters)
    path = path.replace('{}', encodeURIComponent(safeDecode(parameter)));
  return target.provider.basePath + path + call.query;
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The body as this target is to get it: its own name for the model, and usage asked for in streams of chat. */
function bodyFor(call: Call, target: Target): Buffer | ApiError {
  const body = call.body ?? Buffer.alloc(0);
  const { model, stream, wantsUsage } = call.asked;
  const renamed = model !== null && target.model !== model;
  const bound = call.reservation?.boundFor(target.provider.name) ?? null;
  const addsUsage = stream && !wantsUsage && (call.meter === 'chat' || call.meter === 'completions');
  if (!renamed && !addsUsage && bound === null && call.members === null) return body;
  if (call.operation?.body === 'multipart')
    return renamed ? renameInForm(call, body, model, target.model) : body;
  let sent = edited(body, renamed ? target.model : null, addsUsage);
  if (call.members !== null) for (const [name, value] of call.members) sent = withMember(sent, name, value);
  return bound === null ? sent : withMember(sent, bound.name, String(bound.tokens));
}

/** Sets a member of the body, which may stand there as null. */
function withMember(body: Buffer, name: string, value: string): Buffer {
  const scan = ObjectScan.over(body, Number.POSITIVE_INFINITY, new Set([name]));
  if (!(scan instanceof ObjectScan)) throw new Error('a body that was received cannot be read again');
  const member = scan.members.get(name);
  return member === undefined ? insertMember(body, scan, name, value) : replaceMember(body, member, value);
}

const EDITED: ReadonlySet<string> = new Set(['model', 'stream_options']);

function edited(body: Buffer, model: string | null, addsUsage: boolean): Buffer {
  const renamed = model === null ? body : withModel(body, scanned(body), model);
  return addsUsage ? askUsage(renamed) : renamed;
}

function scanned(body: Buffer): ObjectScan {
  const scan = ObjectScan.over(body, Number.POSITIVE_INFINITY, EDITED);
  // Receiving found it to be an object that can be read in one way only.
  if (!(scan instanceof ObjectScan)) throw new Error('a body that was received cannot be read again');
  return scan;
}

function withModel(body: Buffer, scan: ObjectScan, model: string): Buffer {
  const member = scan.members.get('model');
  return member === undefined ? body : replaceMember(body, member, JSON.stringify(model));
}

function askUsage(body: Buffer): Buffer {
  const scan = scanned(body);
  const member = scan.members.get('stream_options');
  if (member === undefined) return insertMember(body, scan, 'stream_options', '{"include_usage":true}');
  const given: unknown = JSON.parse(body.toString('utf8', member.start, member.end));
  const merged =
    typeof given === 'object' && given !== null ? { ...given, include_usage: true } : { include_usage: true };
  return replaceMember(body, member, JSON.stringify(merged));
}

/** Replaces the value of a form's `model` field, whose place is where its name and its value stand together. */
function renameInForm(call: Call, body: Buffer, from: string, to: string): Buffer | ApiError {
  const boundary = /boundary="?([^";]+)"?/i.exec(call.head.contentType ?? '')?.[1] ?? '';
  const name = body.indexOf('name="model"');
  const value = Buffer.from(`\r\n\r\n${from}\r\n--${boundary}`);
  const start = name < 0 ? -1 : body.indexOf(value, name);
  if (start < 0 || body.indexOf('name="model"', name + 1) >= 0) {
    return new ApiError(
      400,
      'The form could not be sent on under the name that the provider knows this model by: write its model field as name="model".',
      {
        param: 'model',
      },
    );
  }
  return replaceMember(body, { start: start + 4, end: start + 4 + Buffer.byteLength(from) }, to);
}

function noCredential(): ApiError {
  return new ApiError(503, 'The credential for the provider of this model cannot be read at the moment.', {
    type: 'service_unavailable_error',
    code: 'provider_credential_unavailable',
  });
}

function brokeOff(error: Error): boolean {
  const code = codeOf(error);
  return code === 'ECONNRESET' || code === 'EPIPE';
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** 504 where time was the reason, 502 otherwise. What the fault was stays in the log: it may name addresses. */
function unreachable(call: Call, error: Error): ApiError {
  if (call.expired || codeOf(error) === 'ETIMEDOUT') {
    return new ApiError(504, 'The provider of this model did not answer in time. Please try again.', {
      code: 'provider_timeout',
    });
  }
  return new ApiError(502, 'The provider of this model could not be reached. Please try again.', {
    code: 'provider_unreachable',
  });
}
