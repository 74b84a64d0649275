// Relays a stream whose reply nobody bounded, where the administrator chose to stop it when the spend limits bear no more
// (`spend.unbounded_replies: stop`): what may be written is reserved before it is, step by step.
//
// There is always room reserved for LEAD_TOKENS more than what has arrived: so many may be under way, or be written before
// the provider notices that it is to stop. The next step is asked for a whole step ahead, while the stream runs on; if
// the lead is touched before the answer is there, the provider is paused for it, WAIT_MS at most. If there is none to
// be had, the stream is ended as one that reached its length, the provider is told to stop, and the call is settled.
//
// A slow caller does not pause the provider here, because what a provider writes into buffers would not be counted; a
// caller that leaves UNSENT_BYTES unread is cut off.

import type { Clock } from '../platform/clock.ts';
import { ReplyTally } from '../spend/meter/tally.ts';
import type { Spending } from '../spend/spending.ts';
import type { Call } from './call.ts';
import type { Receiver } from './exchange.ts';
import type { StreamRelay } from './relay.ts';

const WAIT_MS = 1_000;
const RETRY_MS = 10;
const UNSENT_BYTES = 4 * 1024 * 1024;
const EVENT_BYTES = 8 * 1024 * 1024;

export class SteppedRelay implements Receiver {
  readonly #call: Call;
  readonly #inner: StreamRelay;
  readonly #spending: Spending;
  readonly #clock: Clock;
  readonly #tally: ReplyTally;
  /** The beginning of an event whose end has not come yet. */
  #rest: Buffer = EMPTY;
  #waitingSince = -1;

  constructor(call: Call, inner: StreamRelay, spending: Spending, clock: Clock) {
    this.#call = call;
    this.#inner = inner;
    this.#spending = spending;
    this.#clock = clock;
    this.#tally = new ReplyTally(call.meter);
  }

  data(chunk: Buffer): boolean {
    const all = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const end = all.length > EVENT_BYTES ? all.length : eventsEnd(all);
    if (end > 0) {
      const events = all.subarray(0, end);
      if (all.length > EVENT_BYTES) this.#tally.unread(events.length);
      else this.#tally.read(events.toString('utf8'));
      this.#inner.data(events);
    }
    // A copy: the connection's own buffer is used again.
    this.#rest = end === all.length ? EMPTY : Buffer.from(all.subarray(end));
    if (this.#call.peer.unsent > UNSENT_BYTES) {
      this.#call.peer.destroy();
      return true;
    }
    return this.#goOn();
  }

  end(): void {
    if (this.#rest.length > 0) this.#inner.data(this.#rest);
    this.#inner.end();
  }

  cut(): void {
    this.#inner.cut();
  }

  leave(): void {
    this.#inner.leave();
  }

  /** Whether the provider may write on. */
  #goOn(): boolean {
    const { reservation } = this.#call;
    if (reservation === null || this.#tally.ending.over) return true;
    switch (this.#spending.cover(reservation, this.#tally.tokens)) {
      case 'covered':
        this.#waitingSince = -1;
        return true;
      case 'later':
        return this.#wait();
      case 'refused':
        this.#stop();
        return true;
    }
  }

  #wait(): boolean {
    const now = this.#clock.monotonic();
    if (this.#waitingSince < 0) this.#waitingSince = now;
    if (now - this.#waitingSince >= WAIT_MS) {
      this.#stop();
      return true;
    }
    setTimeout(() => {
      if (!this.#call.over && this.#goOn()) this.#call.exchange?.more();
    }, RETRY_MS);
    return false;
  }

  #stop(): void {
    this.#inner.stop(this.#tally.ending.events());
  }
}

const EMPTY = Buffer.alloc(0);

/** Just past the last empty line, or 0. */
function eventsEnd(bytes: Buffer): number {
  const lf = bytes.lastIndexOf('\n\n');
  const crlf = bytes.lastIndexOf('\r\n\r\n');
  return Math.max(lf < 0 ? 0 : lf + 2, crlf < 0 ? 0 : crlf + 4);
}
