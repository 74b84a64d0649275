// Relay: passes the provider's answer on as it comes and watches it for usage. A stream is not held up: bytes go on
// when they arrive, and when the caller reads slowly the provider is paused, so that memory does not grow. A plain
// JSON answer that is all there goes out in one write.

import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { factsOf, outputText } from '../spend/meter/reply.ts';
import { StreamMeter } from '../spend/meter/stream.ts';
import type { Spending } from '../spend/spending.ts';
import { noUsage } from '../spend/usage.ts';
import type { Call } from './call.ts';
import type { Receiver } from './exchange.ts';
import { SteppedRelay } from './relay-steps.ts';
import { headerLines, replyLines } from './reply.ts';
import type { ReplyHead } from './reply-head.ts';
import { LATER, type Resume, type Verdict } from './verdict.ts';

/** A JSON answer beyond this is passed on unread; what it used is counted by a tokenizer. */
const READ_BYTES = 64 * 1024 * 1024;

/** The step: attaches the relay that fits the answer. Goes on to settle when the answer has ended. */
export function relay(call: Call, clock: Clock, spending: Spending, resume: Resume): Verdict {
  const exchange = call.exchange;
  const head = exchange?.reply;
  if (!exchange || !head) throw new Error('relay without an answer');
  call.status = head.status;
  if (head.status >= 400) call.outcome = 'provider_error';
  if (head.status === 401 || head.status === 407) {
    // The provider refused keygate's credential. The caller's key is good, and must not be told otherwise.
    exchange.receiver = IGNORED;
    call.abort?.(new Error('the provider refused the credential'));
    return new ApiError(
      502,
      "The provider refused this server's credential. Whoever runs this keygate server must renew it.",
      {
        code: 'provider_authentication',
      },
    );
  }
  if ((head.status >= 400 && !head.isJson) || (head.status >= 300 && head.status < 400)) {
    exchange.receiver = IGNORED;
    call.abort?.(new Error('the answer is not of the API'));
    return new ApiError(
      head.status >= 400 && head.status < 500 ? head.status : 502,
      `The provider answered ${head.status} without saying why.`,
      {
        code: 'provider_error',
        headers: head.passed,
      },
    );
  }
  if (!head.isEventStream) exchange.receiver = new WholeRelay(call, head, clock, resume);
  else {
    const stream = new StreamRelay(call, head, clock, resume);
    const stepped = call.reservation !== null && call.reservation.steps !== null;
    exchange.receiver = stepped ? new SteppedRelay(call, stream, spending, clock) : stream;
  }
  return LATER;
}

const IGNORED: Receiver = { data: () => true, end: () => {}, cut: () => {} };

/** The header lines of a relayed answer. Those of the provider's that are passed on came through a parser. */
function linesOf(call: Call, head: ReplyHead, clock: Clock): string {
  const type = head.contentType === '' ? '' : `content-type: ${head.contentType}\r\n`;
  return `${replyLines(call, clock)}${type}${headerLines(head.passed)}`;
}

/** Writes, and says whether more may come; if not, the provider is paused until the caller has read. */
function writeOn(call: Call, chunk: Buffer): boolean {
  if (call.peer.write(chunk)) return true;
  call.paused = true;
  return false;
}

const NOTHING = Buffer.alloc(0);

/** An answer that is one piece: JSON, or bytes of audio. */
class WholeRelay implements Receiver {
  readonly #call: Call;
  readonly #head: ReplyHead;
  readonly #clock: Clock;
  readonly #resume: Resume;
  /** What JSON there is so far, to be read at the end. */
  #parts: Buffer[] = [];
  #bytes = 0;
  #begun = false;

  constructor(call: Call, head: ReplyHead, clock: Clock, resume: Resume) {
    this.#call = call;
    this.#head = head;
    this.#clock = clock;
    this.#resume = resume;
  }

  data(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    // The whole answer at once is read before this returns; a part of one waits for the rest.
    const isWhole = chunk.length === this.#head.contentLength;
    if (this.#head.isJson && this.#bytes <= READ_BYTES)
      this.#parts.push(isWhole ? chunk : Buffer.from(chunk));
    else this.#parts = [];
    if (this.#head.isJson) this.#call.transcript?.add(chunk);
    // The first piece of JSON waits, because it is nearly always all of it and then goes out in one write.
    if (!this.#begun && this.#head.isJson && this.#parts.length === 1) return true;
    if (this.#begun) return writeOn(this.#call, chunk);
    this.#begin();
    const earlier = this.#parts.length > 1 ? this.#parts[0] : undefined;
    if (earlier !== undefined) this.#call.peer.write(earlier);
    return writeOn(this.#call, chunk);
  }

  end(): void {
    const call = this.#call;
    if (this.#begun) call.peer.end(null);
    else call.peer.answer(call.status, linesOf(call, this.#head, this.#clock), this.#parts[0] ?? NOTHING);
    call.over = true;
    this.#read();
    this.#resume(call, null);
  }

  cut(): void {
    const call = this.#call;
    if (call.outcome !== 'timeout') call.outcome = 'provider_cut';
    if (!this.#begun) {
      const refusal = new ApiError(
        call.outcome === 'timeout' ? 504 : 502,
        'The provider broke off before its answer was complete. Please try again.',
        { code: 'provider_cut' },
      );
      return this.#resume(call, refusal);
    }
    // Headers are out and promise more: only a broken connection can say that this is not all.
    call.over = true;
    call.peer.destroy();
    this.#resume(call, null);
  }

  #begin(): void {
    this.#begun = true;
    const call = this.#call;
    call.peer.begin(call.status, linesOf(call, this.#head, this.#clock), this.#head.contentLength);
  }

  #read(): void {
    const call = this.#call;
    if (call.status >= 400) return;
    if (call.meter === 'speech') {
      call.usage = noUsage();
      call.usage.characters = call.asked.characters;
      call.source = 'provider';
      return;
    }
    const only = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    this.#parts = [];
    if (only === undefined || only.length === 0) return;
    const facts = factsOf(call.meter, only);
    call.usage = facts.usage;
    if (facts.usage !== null) call.source = 'provider';
    else call.output = Buffer.from(outputText(only));
    call.modelServed = facts.model;
    call.serviceTier = facts.serviceTier;
    if (call.asked.keeps && facts.id !== '') call.objectId = facts.id;
  }
}

/** A stream of server-sent events. */
export class StreamRelay implements Receiver {
  readonly #call: Call;
  readonly #head: ReplyHead;
  readonly #clock: Clock;
  readonly #resume: Resume;
  readonly #watch: StreamMeter;

  constructor(call: Call, head: ReplyHead, clock: Clock, resume: Resume) {
    this.#call = call;
    this.#head = head;
    this.#clock = clock;
    this.#resume = resume;
    call.streamed = true;
    const strips = !call.asked.wantsUsage && (call.meter === 'chat' || call.meter === 'completions');
    this.#watch = new StreamMeter(call.meter, strips, call.asked.keeps);
  }

  data(chunk: Buffer): boolean {
    const call = this.#call;
    call.transcript?.add(chunk);
    const out = this.#watch.push(chunk);
    this.#begin();
    return out === null ? true : writeOn(call, out);
  }

  end(): void {
    const call = this.#call;
    this.#begin();
    const rest = this.#watch.end();
    call.peer.end(rest);
    call.over = true;
    this.leave();
    this.#resume(call, null);
  }

  cut(): void {
    const call = this.#call;
    if (call.outcome !== 'timeout') call.outcome = 'provider_cut';
    const message =
      call.outcome === 'timeout'
        ? 'The call took longer than this server allows.'
        : 'The provider broke off before the end of the stream.';
    if (!call.peer.begun) {
      this.leave();
      return this.#resume(
        call,
        new ApiError(call.outcome === 'timeout' ? 504 : 502, message, { code: 'provider_cut' }),
      );
    }
    // In the published form, so that an SDK raises it instead of taking the stream for complete.
    const error = { error: { message, type: 'server_error', param: null, code: 'provider_cut' } };
    const name = call.meter === 'responses' ? 'event: error\n' : '';
    call.peer.end(Buffer.from(`${name}data: ${JSON.stringify(error)}\n\n`));
    call.over = true;
    this.leave();
    this.#resume(call, null);
  }

  /** Ends the stream here, with these events: the spend limits bear no more of it. */
  stop(ending: Buffer): void {
    const call = this.#call;
    call.outcome = 'budget_stop';
    this.#begin();
    call.peer.end(ending);
    call.over = true;
    this.leave();
    call.abort?.(new Error('the spend limits bear no more of this reply'));
    this.#resume(call, null);
  }

  #begin(): void {
    const call = this.#call;
    if (!call.peer.begun) call.peer.begin(call.status, linesOf(call, this.#head, this.#clock), -1);
  }

  /** Notes what was learnt of the stream, however it ended. */
  leave(): void {
    const call = this.#call;
    call.usage = this.#watch.usage;
    call.objectId = this.#watch.objectId;
    if (call.usage !== null) call.source = 'provider';
    else if (this.#head.status < 400) {
      call.output = this.#watch.words();
      call.unkept = this.#watch.unkept;
    }
  }
}

/** The caller went away in the middle of an answer: notes what came until then. */
export function leaveRelay(call: Call): void {
  const receiver = call.exchange?.receiver;
  if (receiver instanceof StreamRelay || receiver instanceof SteppedRelay) receiver.leave();
}
