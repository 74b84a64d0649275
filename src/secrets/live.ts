// Secrets that may change while the server runs: read when they are first needed, and again every so often, always
// off the road. Who uses one is told of each new value.
//
// When a place does not answer, the last value is kept for a day at most, and then no longer used: a credential that
// was withdrawn must not live on because nobody could ask. After a failure it is tried again in 5 s, later each time,
// up to the ordinary interval.

import type { Clock } from '../platform/clock.ts';
import { type Reference, showReference } from './references.ts';
import type { Secret } from './secret.ts';
import { SecretGone } from './text.ts';

/** Longest time that a value is used without its place having confirmed it, in milliseconds. */
export const STALE_MS = 24 * 60 * 60_000;
const RETRY_MS = 5_000;

/** Reads a secret where it is kept. Rejects with a reason that holds nothing of it. */
export type ReadSecret = (reference: Reference) => Promise<Secret>;
/** Told of a new value, or null when there is none that may be used. */
export type TakeSecret = (secret: Secret | null) => void;

export interface LiveSecretsOptions {
  readonly read: ReadSecret;
  readonly refreshMs: number;
  readonly clock: Clock;
  readonly warn: (message: string) => void;
}

interface Followed {
  readonly reference: Reference;
  readonly take: TakeSecret;
  secret: Secret | null;
  /** Monotonic milliseconds. */
  confirmedAt: number;
  failures: number;
  timer: NodeJS.Timeout | null;
  reading: Promise<void> | null;
  again: boolean;
}

export class LiveSecrets {
  readonly #options: LiveSecretsOptions;
  readonly #followed = new Set<Followed>();
  #closed = false;

  constructor(options: LiveSecretsOptions) {
    this.#options = options;
  }

  /** Resolves when it was read, or could not be: then it goes on trying. */
  async follow(reference: Reference, take: TakeSecret): Promise<void> {
    const followed: Followed = {
      reference,
      take,
      secret: null,
      confirmedAt: 0,
      failures: 0,
      timer: null,
      reading: null,
      again: false,
    };
    this.#followed.add(followed);
    await this.#refresh(followed);
  }

  /** Reads those again that `which` picks; resolves when they were. */
  async refresh(which: (reference: Reference) => boolean): Promise<void> {
    const picked = [...this.#followed].filter(({ reference }) => which(reference));
    await Promise.all(picked.map((followed) => this.#refresh(followed)));
  }

  /** Secrets that are not to be had now. */
  get missing(): number {
    return [...this.#followed].filter(({ secret }) => secret === null).length;
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#followed) if (timer !== null) clearTimeout(timer);
    this.#followed.clear();
  }

  /** One reading at a time; a wish that comes during one is another reading after it. */
  async #refresh(followed: Followed): Promise<void> {
    if (followed.reading !== null) {
      followed.again = true;
      return await followed.reading;
    }
    followed.reading = this.#readUntilQuiet(followed);
    try {
      await followed.reading;
    } finally {
      followed.reading = null;
    }
  }

  async #readUntilQuiet(followed: Followed): Promise<void> {
    do {
      followed.again = false;
      await this.#read(followed);
    } while (followed.again);
    this.#schedule(followed);
  }

  async #read(followed: Followed): Promise<void> {
    const { clock, warn } = this.#options;
    const place = showReference(followed.reference);
    try {
      const secret = await this.#options.read(followed.reference);
      followed.confirmedAt = clock.monotonic();
      if (followed.failures > 0) warn(`The secret ${place} can be read again.`);
      followed.failures = 0;
      if (secret.reveal() === followed.secret?.reveal()) return;
      followed.secret = secret;
      followed.take(secret);
    } catch (error) {
      const why = error instanceof Error ? error.message : 'no reason was given';
      if (followed.failures++ === 0) warn(`The secret ${place} cannot be read: ${why}.`);
      const stale = clock.monotonic() - followed.confirmedAt > STALE_MS;
      if (followed.secret !== null && (error instanceof SecretGone || stale)) {
        if (stale) warn(`The secret ${place} could not be read for a day: its last value is no longer used.`);
        followed.secret = null;
        followed.take(null);
      }
    }
  }

  #schedule(followed: Followed): void {
    if (this.#closed) return;
    const { refreshMs } = this.#options;
    const ms =
      followed.failures === 0
        ? refreshMs
        : Math.min(refreshMs, RETRY_MS * 2 ** Math.min(followed.failures - 1, 10));
    if (followed.timer !== null) clearTimeout(followed.timer);
    followed.timer = setTimeout(() => void this.#refresh(followed), ms).unref();
  }
}
