// Keeps a node's escrow true to the store: sends its turns, one at a time, off the road; renews its lease; fences the
// leases of nodes that are gone. Reads the clock and owns the timers; what is said is book.ts's business.
//
// Failure: a turn that gets no answer in TURN_MS, or an error, is said again after a pause that grows to LAST_RETRY_MS.
// Meanwhile the road spends what it has, and calls that need more wait as long as they were told to.

import type { Clock } from '../../platform/clock.ts';
import { within } from '../../store/turn.ts';
import type { Turn } from './book.ts';
import type { Escrow } from './escrow.ts';
import {
  type EscrowBudget,
  type EscrowStore,
  type FencedLease,
  LEASE_MS,
  type TurnReply,
} from './protocol.ts';

/** Longest wait for the answer to a turn, in milliseconds. */
const TURN_MS = 5_000;
/**
 * A turn that nobody waits for is put off so long, so that others can join it: a turn is a transaction, and an account
 * asks when it still holds a second's spend. With 5 ms, 82 busy accounts cost the road a quarter of its calls.
 */
const GATHER_MS = 50;
const TICK_MS = 250;
const FIRST_RETRY_MS = 25;
const LAST_RETRY_MS = 1_000;

export interface EscrowSettings {
  readonly clock: Clock;
  /** Told what goes wrong; must not throw. */
  readonly onError: (error: unknown) => void;
  /** A node died: what the usage log shows of its lease should be given to `store.reconcile`. */
  readonly onFenced?: (lease: FencedLease) => Promise<void>;
}

export class EscrowKeeper<B extends EscrowBudget> {
  private readonly escrow: Escrow<B>;
  private readonly store: EscrowStore;
  private readonly settings: EscrowSettings;
  private readonly ticking: NodeJS.Timeout;
  private readonly fencing: NodeJS.Timeout;
  private readonly atRest: (() => void)[] = [];
  /** The next turn is on its way: put off, or now. */
  private timer: NodeJS.Timeout | null = null;
  private immediate: NodeJS.Immediate | null = null;
  private busy = false;
  private retryMs = 0;
  private ended = false;

  constructor(escrow: Escrow<B>, store: EscrowStore, settings: EscrowSettings) {
    this.escrow = escrow;
    this.store = store;
    this.settings = settings;
    escrow.onWanted = () => this.soon();
    this.ticking = setInterval(() => this.tick(), TICK_MS);
    this.fencing = setInterval(() => void this.fence(), LEASE_MS);
    this.ticking.unref();
    this.fencing.unref();
  }

  /**
   * Takes no more calls, and resolves when those under way are settled and everything was given back, or after
   * `waitMs`. False: something is still out; it stays counted as spent until it is reconciled.
   */
  async stop(waitMs: number): Promise<boolean> {
    this.escrow.stop();
    this.soon();
    if (!this.escrow.stopped) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, waitMs);
      });
      await Promise.race([new Promise<void>((resolve) => this.atRest.push(resolve)), late]);
      clearTimeout(timer);
    }
    this.ended = true;
    clearInterval(this.ticking);
    clearInterval(this.fencing);
    if (this.timer !== null) clearTimeout(this.timer);
    if (this.immediate !== null) clearImmediate(this.immediate);
    return this.escrow.stopped;
  }

  private tick(): void {
    this.escrow.tick(this.settings.clock.monotonic());
    this.rest();
  }

  private soon(): void {
    if (this.immediate !== null || this.busy || this.ended) return;
    const hurry = this.retryMs === 0 && this.escrow.waiting > 0;
    if (hurry) {
      if (this.timer !== null) clearTimeout(this.timer);
      this.timer = null;
      this.immediate = setImmediate(() => {
        this.immediate = null;
        void this.run();
      });
    } else {
      this.timer ??= setTimeout(() => {
        this.timer = null;
        void this.run();
      }, this.retryMs || GATHER_MS);
    }
  }

  private async run(): Promise<void> {
    const turn = this.escrow.next(this.settings.clock.monotonic(), this.settings.clock.now());
    if (turn === null) return this.rest();
    this.busy = true;
    const reply = await this.send(turn);
    this.busy = false;
    const mono = this.settings.clock.monotonic();
    if (reply === null) {
      this.retryMs = Math.min(Math.max(FIRST_RETRY_MS, this.retryMs * 2), LAST_RETRY_MS);
      this.escrow.failed(turn);
      this.soon();
    } else {
      this.retryMs = 0;
      this.escrow.answered(turn, reply, mono);
    }
    this.rest();
  }

  private async send(turn: Turn): Promise<TurnReply | null> {
    try {
      return await within(
        TURN_MS,
        this.store.turn(turn.request),
        () => new Error('the escrow store does not answer'),
      );
    } catch (error) {
      this.settings.onError(error);
      return null;
    }
  }

  private async fence(): Promise<void> {
    try {
      for (const lease of await this.store.fence()) await this.settings.onFenced?.(lease);
    } catch (error) {
      this.settings.onError(error);
    }
  }

  private rest(): void {
    if (!this.escrow.stopped) return;
    for (const resolve of this.atRest.splice(0)) resolve();
  }
}
