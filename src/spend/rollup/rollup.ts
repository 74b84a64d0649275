// The roll-up: adds usage segments, in the background, to the sums that reports are made of; deletes what is too old.
//
// Exactly once: a segment is noted as unfolded in the transaction that appends it, and that note is taken away in the
// transaction that adds its sums. So a crash at any instant leaves it either unfolded with none of its events in the
// sums, or folded with all of them, and it does not matter in which order segments of several nodes were committed.
//
// Off the road: the embedded store folds on its own thread (in-store.ts), in slices between which it serves others.
// With PostgreSQL the main thread reads and writes, and another one sums (by-thread.ts).
//
// Pace: a look costs what it has to write, so the dearer it was the later is the next, up to LATEST_MS; in between
// reports are behind. With a backlog slice follows slice, and rests are taken within them.
//
// Failure: what fails is tried again, with a growing pause; a segment that cannot be read (damaged, or written by a
// newer version) is reported, set aside with its reason, kept, and tried again at the next start.

import type { Clock } from '../../platform/clock.ts';
import type { Store } from '../../store/store.ts';
import type { PriceList } from '../prices/model.ts';
import { ThreadFold } from './by-thread.ts';
import type { Folded, Pricing } from './messages.ts';
import { retain } from './retain.ts';

/** How soon and how late is looked for new segments, and how much of the store's thread looking may take in between. */
const LOOK_MS = 1000;
const LATEST_MS = 5000;
const SHARE = 1 / 200;
/** Between two slices, so that whoever waits for the store's thread comes in. */
const BREATH_MS = 2;
const LAST_RETRY_MS = 60_000;
const RETAIN_MS = 3_600_000;

export interface RollupOptions {
  readonly store: Pick<Store, 'db' | 'kind' | 'foldUsage'>;
  readonly clock: Clock;
  /** Every price list, the ones that decide first, first; the shipped one last. */
  readonly lists: () => Promise<readonly PriceList[]>;
  /** Where providers live, by the administrator's own names for them. */
  readonly addresses: Readonly<Record<string, string>>;
  /** How long raw segments are kept, in milliseconds. */
  readonly retentionMs: number;
  readonly onError: (error: unknown) => void;
}

/** Where segments are folded. */
interface Fold {
  /** Before the first turn, and when prices changed. */
  reprice(pricing: Pricing): void;
  turn(): Promise<Folded>;
  close(): Promise<void>;
}

export class Rollup {
  /** Segments folded since this process began. */
  folded = 0;

  readonly #options: RollupOptions;
  readonly #fold: Fold;
  #running: Promise<void> | null = null;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #failures = 0;
  #repriced = false;
  #retainAt = 0;
  /** What folding has taken of the store's thread since nothing was left to fold, in milliseconds. */
  #tookMs = 0;

  constructor(options: RollupOptions) {
    const { foldUsage } = options.store;
    this.#options = options;
    this.#fold = foldUsage === null ? new ThreadFold(options.store) : inStore(foldUsage);
  }

  /** Begins to fold in the background. */
  start(): void {
    this.#schedule(0);
  }

  /** Prices have changed: what is folded from now on is priced by the new ones. */
  reprice(): void {
    this.#repriced = false;
  }

  /** Ends the work in the background, after the transaction under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
    await this.#fold.close();
  }

  /** Folds one batch or slice. Not while the background does. */
  async turn(): Promise<Folded> {
    await this.#prepare();
    const folded = await this.#fold.turn();
    this.folded += folded.segments;
    for (const { seq, reason } of folded.failed)
      this.#options.onError(
        new Error(`Usage segment ${seq} cannot be read (${reason}): it is in no report.`),
      );
    return folded;
  }

  /** Folds everything that there is to fold now. */
  async catchUp(): Promise<void> {
    while ((await this.turn()).more);
  }

  /** Deletes what is too old. */
  async retain(): Promise<void> {
    const { store, clock, retentionMs } = this.#options;
    await retain(store, clock.now(), retentionMs, () => this.#stopped);
  }

  #schedule(ms: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#work();
    }, ms);
  }

  async #work(): Promise<void> {
    const { clock, onError } = this.#options;
    let pause: number;
    try {
      pause = this.#pauseAfter(await this.turn());
      if (clock.monotonic() >= this.#retainAt) {
        this.#retainAt = clock.monotonic() + RETAIN_MS;
        await this.retain();
      }
      this.#failures = 0;
    } catch (error) {
      pause = Math.min(LOOK_MS * 2 ** this.#failures++, LAST_RETRY_MS);
      if (!this.#stopped) onError(error);
    }
    this.#schedule(pause);
  }

  #pauseAfter({ more, ms }: Folded): number {
    this.#tookMs += ms;
    if (more) return BREATH_MS;
    const pause = Math.min(Math.max(LOOK_MS, this.#tookMs / SHARE), LATEST_MS);
    this.#tookMs = 0;
    return pause;
  }

  /** At the first turn, and after prices changed. */
  async #prepare(): Promise<void> {
    if (this.#repriced) return;
    const { lists, addresses, store } = this.#options;
    this.#repriced = true;
    try {
      this.#fold.reprice({ lists: await lists(), addresses });
      // This version may read what an older one could not.
      await store.db
        .updateTable('usage_unfolded')
        .set({ failed: null })
        .where('failed', 'is not', null)
        .execute();
    } catch (error) {
      this.#repriced = false;
      throw error;
    }
  }
}

function inStore(foldUsage: NonNullable<Store['foldUsage']>): Fold {
  let pricing: Pricing = { lists: [], addresses: {} };
  return {
    reprice: (given) => {
      pricing = given;
    },
    turn: () => foldUsage(pricing),
    close: async () => {},
  };
}
