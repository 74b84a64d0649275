// The courier: works off the outbox. Of all nodes one at a time does it, whoever holds the lease; when that node dies,
// another takes over within LEASE_MS, and what was sent and not marked is sent again.
//
// Messages go out side by side, at most two at once to one target. A target that failed is left alone for a while
// (PAUSE_MS at most), so that one that is down holds up nobody else and is not hammered with all that waits for it.

import type { Clock } from '../platform/clock.ts';
import type { DeliveryId } from '../platform/ids.ts';
import { StoreLease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import type { Attempt, Delivery } from './model.ts';
import { backlog, due, purge, settle } from './outbox.ts';

const LEASE_MS = 15_000;
const RENEW_MS = 5_000;
const LOOK_MS = 1_000;
/** How often a node that does not hold the lease looks whether it can. */
const STANDBY_MS = 5_000;
const COUNT_MS = 5_000;
const PURGE_MS = 3_600_000;
const AT_ONCE = 32;
const AT_ONCE_A_TARGET = 2;
const PAUSE_MS = 60_000;

export interface CourierOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly node: string;
  /** Sends one message. What it rejects with is a fault of ours, and tried again. */
  readonly send: (delivery: Delivery, signal: AbortSignal) => Promise<Attempt>;
  /** Under the lease, before messages are looked for: what has to be put into the outbox, or is worked off beside it. */
  readonly chores?: readonly (() => Promise<void>)[];
  readonly onError: (error: unknown) => void;
  /** From 0 to 1. */
  readonly random?: () => number;
}

export class Courier {
  readonly counts = { sent: { webhook: 0, email: 0 }, failed: { webhook: 0, email: 0 }, dead: 0 };
  /** What waited when it was last counted. */
  waiting: { depth: number; oldestAt: number | null } = { depth: 0, oldestAt: null };
  readonly #options: CourierOptions;
  readonly #lease: StoreLease;
  readonly #underway = new Map<DeliveryId, Promise<void>>();
  readonly #busy = new Map<string, number>();
  readonly #resting = new Map<string, number>();
  readonly #abort = new AbortController();
  #holdsUntil = Number.NEGATIVE_INFINITY;
  #renewAt = Number.NEGATIVE_INFINITY;
  #countAt = Number.NEGATIVE_INFINITY;
  #purgeAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> | null = null;
  #again = false;
  #stopped = false;

  constructor(options: CourierOptions) {
    this.#options = options;
    this.#lease = new StoreLease(options.store, 'courier', options.node, options.clock);
  }

  start(): void {
    this.#later(0);
  }

  /** Something may be due now. */
  wake(): void {
    if (this.#looking !== null) this.#again = true;
    else if (this.#timer !== null) this.#later(0);
  }

  /** One look by hand: does what is due, and resolves when that is done. False: another node holds the lease. */
  async pass(): Promise<boolean> {
    await this.#look();
    while (this.#underway.size > 0) {
      await Promise.all(this.#underway.values());
      await this.#look();
    }
    return this.#holds;
  }

  /** Ends after what is being sent now, which has `waitMs` for it, and lets another node take over. */
  async stop(waitMs = 2_000): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const abort = setTimeout(() => this.#abort.abort(), waitMs).unref();
    await this.#looking;
    await Promise.all(this.#underway.values());
    clearTimeout(abort);
    if (this.#holds) await this.#lease.release();
  }

  get #holds(): boolean {
    return this.#holdsUntil > this.#options.clock.monotonic();
  }

  #later(ms: number): void {
    if (this.#stopped) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#again = false;
      this.#looking = this.#look().finally(() => {
        this.#looking = null;
        this.#later(this.#again ? 0 : this.#holds ? LOOK_MS : STANDBY_MS);
      });
    }, ms).unref();
  }

  async #look(): Promise<void> {
    const { store, clock, chores = [], onError } = this.#options;
    try {
      const mono = clock.monotonic();
      if (this.#countAt <= mono) {
        this.#countAt = mono + COUNT_MS;
        this.waiting = await backlog(store.db);
      }
      if (!(await this.#keepLease(mono))) return;
      for (const chore of chores) {
        // One that fails must not keep the others, and the messages, from their turn.
        await chore().catch(onError);
        if (this.#stopped) return;
      }
      await this.#send(clock.now());
      if (this.#purgeAt <= mono && !(await purge(store.db, clock.now()))) this.#purgeAt = mono + PURGE_MS;
    } catch (error) {
      onError(error);
    }
  }

  async #keepLease(mono: number): Promise<boolean> {
    if (this.#holds && this.#renewAt > mono) return true;
    const taken = await this.#lease.take(LEASE_MS);
    this.#holdsUntil = taken ? mono + LEASE_MS : Number.NEGATIVE_INFINITY;
    this.#renewAt = mono + RENEW_MS;
    return taken;
  }

  async #send(now: number): Promise<void> {
    for (const [target, until] of this.#resting) if (until <= now) this.#resting.delete(target);
    const room = AT_ONCE - this.#underway.size;
    if (room <= 0 || this.#stopped) return;
    const full = [...this.#busy].filter(([, count]) => count >= AT_ONCE_A_TARGET).map(([target]) => target);
    const except = { ids: [...this.#underway.keys()], targets: [...this.#resting.keys(), ...full] };
    for (const delivery of await due(this.#options.store.db, now, room, except)) {
      const busy = this.#busy.get(delivery.target) ?? 0;
      if (busy >= AT_ONCE_A_TARGET) continue;
      this.#busy.set(delivery.target, busy + 1);
      const sending = this.#deliver(delivery)
        .catch(this.#options.onError)
        .finally(() => {
          this.#underway.delete(delivery.id);
          const left = (this.#busy.get(delivery.target) ?? 1) - 1;
          if (left > 0) this.#busy.set(delivery.target, left);
          else this.#busy.delete(delivery.target);
          this.wake();
        });
      this.#underway.set(delivery.id, sending);
    }
  }

  async #deliver(delivery: Delivery): Promise<void> {
    const { store, clock, send, onError, random = Math.random } = this.#options;
    let attempt: Attempt;
    try {
      attempt = await send(delivery, this.#abort.signal);
    } catch (error) {
      onError(error);
      attempt = { kind: 'failed', reason: 'The server had an error while sending.', final: false };
    }
    // Cut off by the stop: it was no attempt, and the next node makes it.
    if (attempt.kind === 'failed' && this.#abort.signal.aborted) return;
    const now = clock.now();
    const became = await settle(store, delivery, attempt, now, random());
    if (became === 'sent') this.counts.sent[delivery.channel]++;
    else {
      this.counts.failed[delivery.channel]++;
      if (became === 'dead') this.counts.dead++;
      else {
        const pause = 1_000 * 2 ** Math.min(10, delivery.attempts);
        this.#resting.set(delivery.target, now + Math.min(PAUSE_MS, pause));
      }
    }
  }
}
