// The road of one request. Each step is one module with one verb, and a call takes them in this order:
//
//     receive → authenticate → body → authorize → admit → reserve → forward → relay → settle → record
//
// A step says one of three things: go on (null), no (an ApiError, which the caller gets), or later (it resumes the
// call itself when it is done). Up to `forward` a "no" ends the call and gives back what was taken. From `forward` on
// the provider may bill it, so whatever happens it is settled and recorded.
//
// The body is read after the key is known, so that strangers cannot fill memory. A caller that goes away is noticed
// on its connection; what idles or takes too long is ended by a sweep over the calls under way, once a second, which
// is cheaper than a timer a call and exact to that second.

import type { Order, Performed } from '../batches/model.ts';
import type { Bounds } from '../config/model.ts';
import type { Pseudonyms } from '../controls/pseudonyms.ts';
import type { Proofs } from '../identity/proof/prove.ts';
import type { AddressRanges } from '../keys/model.ts';
import type { KeyRegistry } from '../keys/registry.ts';
import type { RateLimits } from '../limits/rate-limits.ts';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { newRequestId } from '../platform/ids.ts';
import type { PromptLog } from '../prompts/log.ts';
import type { TokenCounter } from '../spend/count.ts';
import type { Journal } from '../spend/journal.ts';
import type { Spending } from '../spend/spending.ts';
import type { OwnedObjects } from '../upstreams/objects.ts';
import type { Routes } from '../upstreams/routes.ts';
import { Admission } from './admit.ts';
import { authenticate } from './authenticate.ts';
import { authorize } from './authorize.ts';
import { readBody } from './body.ts';
import { Call, type Keeper } from './call.ts';
import { forward } from './forward.ts';
import { answerKept, type KeptHandlers } from './kept.ts';
import type { Metrics } from './metrics.ts';
import { answerModels } from './models.ts';
import { OrderPeer } from './order-peer.ts';
import type { Peer } from './peer.ts';
import { receive } from './receive.ts';
import { record } from './record.ts';
import { leaveRelay, relay } from './relay.ts';
import { internalError, refuse } from './reply.ts';
import { reserve, unreserve } from './reserve.ts';
import { settle } from './settle.ts';
import { Underway } from './underway.ts';
import { FORWARD, LATER, type Verdict } from './verdict.ts';

export interface RoadParts {
  readonly clock: Clock;
  readonly bounds: Bounds;
  readonly keys: KeyRegistry;
  readonly routes: Routes;
  readonly objects: OwnedObjects;
  readonly limits: RateLimits;
  readonly journal: Journal;
  readonly spending: Spending;
  readonly counter: TokenCounter;
  readonly metrics: Metrics;
  readonly kept: KeptHandlers;
  readonly proxies: AddressRanges | null;
  readonly proofs: Proofs;
  readonly pseudonyms: Pseudonyms;
  /** Null: prompts are not logged. */
  readonly prompts: PromptLog | null;
  /** Told of faults that are ours; never of a key or a body. */
  readonly complain: (error: unknown) => void;
}

/** The caller is gone: what is written in its place in the records (nginx's 499). */
const CLIENT_CLOSED = 499;
const SWEEP_MS = 1_000;
const LAST_COUNTS_MS = 5_000;

const SETTLE = 8;
const END = 10;

export class Road implements Keeper {
  readonly #parts: RoadParts;
  readonly admission: Admission;
  readonly #underway = new Underway();
  #stopping = false;
  readonly #sweeping: NodeJS.Timeout;
  readonly #now = (): number => this.#parts.clock.monotonic();

  constructor(parts: RoadParts) {
    this.#parts = parts;
    this.admission = new Admission(parts.bounds, parts.limits, parts.counter);
    this.#sweeping = setInterval(() => this.sweep(), SWEEP_MS).unref();
  }

  /** Takes a request on. It is answered, whatever happens; nothing is thrown. */
  take(peer: Peer): void {
    const { clock } = this.#parts;
    const at = clock.now();
    const call = new Call(peer, this, newRequestId(at), at, clock.monotonic());
    this.#underway.enter(call);
    // A connection that is kept would bring the next call to a server that is stopping.
    if (this.#stopping) peer.keepNoMore();
    peer.watch(call);
    this.#go(call);
  }

  /** Takes a call on that no connection brought. Resolves when it has ended, however it did; `record`ing it is the caller's. */
  perform(order: Order): Promise<Performed> {
    const { clock } = this.#parts;
    const at = clock.now();
    const peer = new OrderPeer(order.path, order.body, order.idempotencyKey);
    const call = new Call(peer, this, newRequestId(at), at, clock.monotonic());
    call.order = order;
    return new Promise((resolve) => {
      call.onEnded = (event) => {
        const { status, lines, complete } = peer;
        resolve({ requestId: call.id, status, lines, reply: peer.reply(), complete, event });
      };
      this.#underway.enter(call);
      peer.watch(call);
      this.#go(call);
    });
  }

  /** One step of the road, by its number. */
  #step(call: Call): Verdict {
    const { bounds, clock, counter, journal, keys, metrics, objects, proofs, spending } = this.#parts;
    switch (call.step) {
      case 0:
        return receive(call, bounds);
      case 1:
        return authenticate(call, keys, proofs, this.#resume);
      case 2:
        return readBody(call, bounds, this.#now, this.#resume);
      case 3:
        return authorize(call, this.#parts, this.#resume);
      case 4:
        return this.admission.admit(call, this.#resume);
      case 5:
        return reserve(call, journal, spending, this.#resume);
      case FORWARD:
        return call.operation?.served === 'here'
          ? this.#answerHere(call, call.operation.name)
          : forward(call, clock, this.#resume);
      case 7:
        return call.over ? null : relay(call, clock, spending, this.#resume);
      case SETTLE:
        return settle(call, this.admission, objects, counter, spending, this.#resume);
      default:
        return record(call, clock, journal, metrics, this.#parts.prompts);
    }
  }

  #answerHere(call: Call, name: string): Verdict {
    const { clock, kept, routes } = this.#parts;
    const handler = kept.get(name);
    return handler === undefined
      ? answerModels(call, clock, routes)
      : answerKept(call, handler, this.#parts, this.#resume);
  }

  #go(call: Call): void {
    try {
      while (call.step < END) {
        const verdict = this.#step(call);
        if (verdict === LATER) return;
        if (verdict !== null) this.#refuse(call, verdict);
        else call.step++;
      }
    } catch (error) {
      this.#parts.complain(error);
      this.#refuse(call, internalError());
      if (call.step < END) this.#go(call);
    }
  }

  /** What a step calls when it is done later. A call that ended meanwhile stays ended. */
  readonly #resume = (call: Call, refusal: ApiError | null): void => {
    if (call.step >= END) return;
    if (refusal !== null) this.#refuse(call, refusal);
    else call.step++;
    this.#go(call);
  };

  /** Answers with a refusal, and moves the call to where it must go from there. */
  #refuse(call: Call, refusal: ApiError): void {
    refuse(call, this.#parts.clock, refusal);
    if (call.step < FORWARD || call.operation?.served === 'here') {
      this.#parts.metrics.refused(refusal.status, refusal.code);
      this.#release(call);
      return;
    }
    if (call.outcome === 'ok') call.outcome = 'provider_cut';
    call.step = call.step < SETTLE ? SETTLE : call.step + 1;
  }

  /** Gives back what was taken for a call that was not forwarded. */
  #release(call: Call): void {
    this.admission.release(call, null);
    unreserve(call, this.#parts.journal, this.#parts.spending);
    call.step = END;
    call.onEnded?.(null);
  }

  /** The connection let go of the call: at its end as a rule, before it when the caller went away. */
  gone(call: Call): void {
    this.#underway.leave(call);
    if (call.over) return;
    call.over = true;
    call.status = CLIENT_CLOSED;
    if (call.step < FORWARD) return this.#release(call);
    if (call.step >= SETTLE) return;
    if (call.outcome === 'ok') call.outcome = 'client_closed';
    leaveRelay(call);
    call.abort?.(new Error('the caller is gone'));
    call.step = SETTLE;
    this.#go(call);
  }

  /** Ends what idles or takes too long. Runs once a second by itself. */
  sweep(): void {
    const { bounds, clock } = this.#parts;
    const now = clock.monotonic();
    for (const call of this.#underway.calls()) {
      const idle = now - call.active;
      if (call.over || call.paused) {
        // The caller reads nothing of what waits for it.
        if (idle > bounds.idleMs && call.peer.unsent > 0) call.peer.destroy();
      } else if (call.receiving) {
        if (idle > bounds.idleMs) this.#late(call, 408, 'The request body did not arrive in time.');
      } else if (
        now - call.began > bounds.totalMs ||
        (call.step >= FORWARD && idle > bounds.providerIdleMs)
      ) {
        this.#expire(call);
      }
    }
  }

  #late(call: Call, status: number, message: string): void {
    call.receiving = false;
    this.#resume(call, new ApiError(status, message));
  }

  /** Its time is up: the provider is told to stop, and the caller learns it as far as it still can. */
  #expire(call: Call): void {
    call.expired = true;
    if (call.step >= FORWARD) call.outcome = 'timeout';
    if (call.abort !== null) return call.abort(new Error('the time for this call is up'));
    if (call.step < SETTLE) this.#late(call, 504, 'The call took longer than this server allows.');
  }

  /** Calls whose connection has not let go of them yet. */
  get underway(): number {
    return this.#underway.size;
  }

  /** Waits until every call has ended, at most `ms`; then ends those that are left, which are settled too. */
  async drain(ms: number): Promise<void> {
    const { clock, journal } = this.#parts;
    this.#stopping = true;
    const until = clock.monotonic() + ms;
    while (this.#underway.size > 0 && clock.monotonic() < until) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const call of this.#underway.calls()) call.peer.destroy();
    clearInterval(this.#sweeping);
    // Calls that were cut a moment ago are still being counted; each has a place in the journal.
    const last = clock.monotonic() + LAST_COUNTS_MS;
    do await new Promise((resolve) => setTimeout(resolve, 5));
    while (journal.unwritten < journal.pending && clock.monotonic() < last);
    await journal.close();
  }
}
