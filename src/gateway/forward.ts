// Forward: sends the call upstream with the provider's own credential, and when that fails before anything was
// relayed, to the next target. The origin is the provider's; nothing in the request has a say in it.
//
// A target is given up for the next one when it cannot be reached, or answers 429 or 5xx. A connection that breaks
// before the first byte of the answer is tried once more on the same target: it is nearly always a kept connection
// that the provider closed at that moment.

import type { Client, Dispatcher } from 'undici';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { insertMember, ObjectScan, replaceMember } from '../platform/json-scan.ts';
import type { Waiting } from '../upstreams/connections.ts';
import { nextTarget, type Target } from '../upstreams/routes.ts';
import type { Resume } from './body.ts';
import type { Call } from './call.ts';
import { type ReplyHead, readReplyHead } from './reply-head.ts';
import { LATER, type Verdict } from './verdict.ts';

/** Takes the provider's answer as it comes: the relay. */
export interface Receiver {
  /** Returns whether more may come now. */
  data(chunk: Buffer): boolean;
  end(): void;
  /** The answer broke off. */
  cut(error: Error): void;
}

const RECONNECTS = 1;

/** One call's way to a provider and back, as undici drives it: plain callbacks, no promise and no header object. */
export class Exchange implements Dispatcher.DispatchHandler, Waiting {
  head: ReplyHead | null = null;
  receiver: Receiver | null = null;
  /** Asks undici for more after `data` said no. */
  more: (() => void) | null = null;

  readonly #call: Call;
  readonly #clock: Clock;
  readonly #resume: Resume;
  readonly #target: Target;
  /** The step of the road that waits for this exchange: a call that has moved on wants no connection any more. */
  readonly #step: number;
  #body: Buffer | null = null;
  #client: Client | null = null;
  #reconnects = 0;

  constructor(call: Call, target: Target, clock: Clock, resume: Resume) {
    this.#call = call;
    this.#clock = clock;
    this.#resume = resume;
    this.#target = target;
    this.#step = call.step;
  }

  dispatch(): void {
    const call = this.#call;
    const target = this.#target;
    const body = call.body === null ? null : bodyFor(call, target);
    if (body instanceof ApiError) return this.#resume(call, body);
    call.target = target;
    this.#body = body;
    target.provider.connections.acquire(this);
  }

  /** A connection is free for this call. */
  take(client: Client): void {
    const call = this.#call;
    const target = this.#target;
    if (call.over || call.step !== this.#step) return target.provider.connections.release(client);
    this.#client = client;
    target.provider.sent++;
    client.dispatch(
      {
        method: call.operation?.method ?? 'GET',
        path: pathFor(call, target),
        headers: headersFor(call, target),
        body: this.#body,
      },
      this,
    );
    this.#body = null;
  }

  #release(): void {
    const client = this.#client;
    this.#client = null;
    if (client !== null) this.#target.provider.connections.release(client);
  }

  onConnect(abort: (error?: Error) => void): void {
    if (this.#call.over) return abort(new Error('the caller is gone'));
    this.#call.abort = abort;
    this.#call.sent = true;
  }

  onHeaders(status: number, rawHeaders: Buffer[], more: () => void): boolean {
    const call = this.#call;
    if (call.over) return false;
    // 1xx: the answer proper is still to come (RFC 9110 section 15.2).
    if (status < 200) return true;
    call.active = this.#clock.monotonic();
    call.firstByte = call.active;
    if (status === 429 || status >= 500) {
      if (status >= 500) this.#target.provider.fell();
      const next = nextTarget(call.route ?? NO_ROUTE, call.tried, Math.random());
      if (next !== undefined) {
        this.#giveUp(next);
        return false;
      }
    } else this.#target.provider.succeeded();
    this.head = readReplyHead(status, rawHeaders);
    this.more = more;
    call.exchange = this;
    this.#resume(call, null);
    return !call.paused;
  }

  onData(chunk: Buffer): boolean {
    const call = this.#call;
    if (call.over || this.receiver === null) return true;
    call.active = this.#clock.monotonic();
    return this.receiver.data(chunk);
  }

  onComplete(): void {
    this.#release();
    if (!this.#call.over) this.receiver?.end();
  }

  onError(error: Error): void {
    const call = this.#call;
    this.#release();
    if (call.over) return;
    if (this.receiver !== null) return this.receiver.cut(error);
    if (this.head !== null || call.expired) return this.#resume(call, unreachable(call, error));
    this.#target.provider.fell();
    if (brokeOff(error) && this.#reconnects < RECONNECTS) {
      this.#reconnects++;
      return this.dispatch();
    }
    const next = nextTarget(call.route ?? NO_ROUTE, call.tried, Math.random());
    if (next === undefined) return this.#resume(call, unreachable(call, error));
    call.tried.push(next);
    new Exchange(call, next, this.#clock, this.#resume).dispatch();
  }

  /** Leaves this try for another target; what still comes of it goes to nobody. */
  #giveUp(next: Target): void {
    const call = this.#call;
    const abort = call.abort;
    this.receiver = NOBODY;
    call.tried.push(next);
    call.abort = null;
    new Exchange(call, next, this.#clock, this.#resume).dispatch();
    abort?.(new Error('another target is asked instead'));
  }
}

const NO_ROUTE = { model: '', targets: [] } as const;
const NOBODY: Receiver = { data: () => true, end: () => {}, cut: () => {} };

/** The step: asks the first target. Goes on to the relay when the head of an answer is there. */
export function forward(call: Call, clock: Clock, resume: Resume): Verdict {
  const first = call.route === null ? undefined : nextTarget(call.route, call.tried, Math.random());
  if (first === undefined) throw new Error('forward without a route');
  call.tried.push(first);
  new Exchange(call, first, clock, resume).dispatch();
  return LATER;
}

function pathFor(call: Call, target: Target): string {
  const operation = call.operation;
  let path = operation?.path ?? '';
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

function headersFor(call: Call, target: Target): string[] {
  const headers = target.provider.headers.concat(call.head.passed);
  if (call.body !== null) headers.push('content-type', call.head.contentType ?? 'application/json');
  if (call.head.accept !== null) headers.push('accept', call.head.accept);
  return headers;
}

/** The body as this target is to get it: its own name for the model, and usage asked for in streams of chat. */
function bodyFor(call: Call, target: Target): Buffer | ApiError {
  const body = call.body ?? Buffer.alloc(0);
  const { model, stream, wantsUsage } = call.asked;
  const renamed = model !== null && target.model !== model;
  const addsUsage = stream && !wantsUsage && (call.meter === 'chat' || call.meter === 'completions');
  if (!renamed && !addsUsage) return body;
  if (call.scan === null) return renamed ? renameInForm(call, body, model, target.model) : body;
  return addsUsage
    ? askUsage(withModel(body, call.scan, renamed ? target.model : null))
    : withModel(body, call.scan, target.model);
}

function withModel(body: Buffer, scan: ObjectScan, model: string | null): Buffer {
  const member = scan.members.get('model');
  return model === null || member === undefined ? body : replaceMember(body, member, JSON.stringify(model));
}

const OPTIONS: ReadonlySet<string> = new Set(['stream_options']);

function askUsage(body: Buffer): Buffer {
  const scan = ObjectScan.over(body, Number.POSITIVE_INFINITY, OPTIONS);
  if (!(scan instanceof ObjectScan)) return body;
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

function brokeOff(error: Error): boolean {
  const code = codeOf(error);
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** 504 where time was the reason, 502 otherwise. What the fault was stays in the log: it may name addresses. */
function unreachable(call: Call, error: Error): ApiError {
  if (call.expired || codeOf(error) === 'UND_ERR_CONNECT_TIMEOUT') {
    return new ApiError(504, 'The provider of this model did not answer in time. Please try again.', {
      code: 'provider_timeout',
    });
  }
  return new ApiError(502, 'The provider of this model could not be reached. Please try again.', {
    code: 'provider_unreachable',
  });
}
