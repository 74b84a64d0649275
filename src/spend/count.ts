// Counts tokens off the road, on a thread of its own, for the calls whose provider gave no usage or broke off.
//
// A count is always answered, and never rejects. Whatever cannot be counted in time is estimated at a token for
// each four bytes, and says `exact: false`: a text beyond `inputBytes`, one that finds the queue full, one that is
// not counted within `jobMs`, one whose count kills the thread, and all that are left when it is closed.
//
// The thread starts with the first count and is let go after `idleMs` without one, because its tables take tens of
// megabytes. When it is missed within SOON_MS it is kept for twice as long from then on, up to LONGEST_IDLE_MS: a start
// takes a third of a second of another core. Jobs go to it one at a time, so that one death costs one count: the rest go
// to a new thread. After MAX_DEATHS deaths in a row without a count between them, counts are estimated for REST_MS before
// the next try.

import { Worker } from 'node:worker_threads';
import { type Clock, systemClock } from '../platform/clock.ts';
import { estimateTokens, type TokenCount } from './count-estimate.ts';
import type { CountAnswer, CountJob } from './count-worker.ts';

export type { TokenCount };

/**
 * `text`: what a model said, as it stands. `request-json`: the raw body of a chat completions, responses,
 * completions, embeddings or messages request, whose prompt is counted (see count-prompt.ts for the rules).
 */
export type CountKind = 'text' | 'request-json';

/** The part of a worker thread that is used here; a test gives its own. */
export interface CountThread {
  postMessage(job: CountJob): void;
  on(event: 'message', listener: (answer: CountAnswer) => void): unknown;
  on(event: 'exit', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  terminate(): Promise<unknown>;
  ref?(): void;
  unref?(): void;
}

export interface TokenCounterOptions {
  /** Largest text that is counted, in bytes. Default 8 MiB. */
  readonly inputBytes?: number;
  /** Jobs, and bytes of text, that wait at most. Default 1,000 and 64 MiB. */
  readonly queuedJobs?: number;
  readonly queuedBytes?: number;
  /** How long one count may take, in milliseconds. Default 10,000. */
  readonly jobMs?: number;
  /** The thread is let go after so many milliseconds without a count, unless it is soon missed. Default 3 seconds. */
  readonly idleMs?: number;
  readonly clock?: Clock;
  /** Calls `then` after `ms` milliseconds, unless the function that it gives back was called before. */
  readonly after?: (ms: number, then: () => void) => () => void;
  readonly thread?: () => CountThread;
}

const SOON_MS = 10_000;
const LONGEST_IDLE_MS = 120_000;
const MAX_DEATHS = 3;
const REST_MS = 60_000;

interface Waiting {
  readonly job: CountJob;
  readonly bytes: number;
  readonly resolve: (count: TokenCount) => void;
}

export class TokenCounter {
  readonly #inputBytes: number;
  readonly #queuedJobs: number;
  readonly #queuedBytes: number;
  readonly #jobMs: number;
  readonly #idleMs: number;
  /** How long it is kept now, and when it was last let go. */
  #keepMs: number;
  #letGoAt = Number.NEGATIVE_INFINITY;
  readonly #clock: Clock;
  readonly #after: (ms: number, then: () => void) => () => void;
  readonly #start: () => CountThread;

  #queue: Waiting[] = [];
  #bytes = 0;
  #thread: CountThread | null = null;
  #current: Waiting | null = null;
  #cancelTimer: () => void = () => {};
  #deaths = 0;
  #restUntil = 0;
  #ids = 0;
  #closed = false;

  constructor(options: TokenCounterOptions = {}) {
    this.#inputBytes = options.inputBytes ?? 8 * 2 ** 20;
    this.#queuedJobs = options.queuedJobs ?? 1_000;
    this.#queuedBytes = options.queuedBytes ?? 64 * 2 ** 20;
    this.#jobMs = options.jobMs ?? 10_000;
    this.#idleMs = options.idleMs ?? 3_000;
    this.#keepMs = this.#idleMs;
    this.#clock = options.clock ?? systemClock;
    this.#after = options.after ?? afterTimer;
    this.#start = options.thread ?? startThread;
  }

  /** Whether the thread is up, and so its memory is held. */
  get running(): boolean {
    return this.#thread !== null;
  }

  /** The tokens of a text, or of the prompt in a request's body, for this model. Never rejects. */
  count(kind: CountKind, text: string | Uint8Array, model: string): Promise<TokenCount> {
    const bytes = typeof text === 'string' ? Buffer.byteLength(text) : text.byteLength;
    if (bytes === 0) return Promise.resolve({ tokens: 0, exact: true });
    const full = this.#queue.length >= this.#queuedJobs || this.#bytes + bytes > this.#queuedBytes;
    const resting = this.#clock.monotonic() < this.#restUntil;
    if (this.#closed || full || resting || bytes > this.#inputBytes) return Promise.resolve(estimate(bytes));
    return new Promise((resolve) => {
      this.#queue.push({ job: { id: ++this.#ids, kind, text, model }, bytes, resolve });
      this.#bytes += bytes;
      this.#next();
    });
  }

  /** Ends the thread; whatever still waits is answered with its estimate. */
  async close(): Promise<void> {
    this.#closed = true;
    const thread = this.#thread;
    this.#release();
    this.#estimateAll();
    await thread?.terminate();
  }

  #next(): void {
    if (this.#current !== null) return;
    const next = this.#queue.shift();
    if (next === undefined) {
      this.#idle();
      return;
    }
    this.#current = next;
    this.#bytes -= next.bytes;
    const thread = this.#thread ?? this.#open();
    thread.ref?.();
    this.#setTimer(this.#jobMs, () => this.#died(thread));
    thread.postMessage(next.job);
  }

  #open(): CountThread {
    const missed = this.#clock.monotonic() - this.#letGoAt < SOON_MS;
    this.#keepMs = missed ? Math.min(this.#keepMs * 2, LONGEST_IDLE_MS) : this.#idleMs;
    const thread = this.#start();
    this.#thread = thread;
    thread.on('message', (answer) => this.#answered(answer));
    thread.on('error', () => this.#died(thread));
    thread.on('exit', () => this.#died(thread));
    return thread;
  }

  #answered(answer: CountAnswer): void {
    const current = this.#current;
    if (current === null || current.job.id !== answer.id) return;
    this.#deaths = 0;
    this.#finish(current, answer.count ?? estimate(current.bytes));
  }

  // It threw, left, or took too long over the current job.
  #died(thread: CountThread): void {
    if (this.#thread !== thread) return;
    this.#release();
    void thread.terminate();
    this.#deaths += 1;
    if (this.#deaths >= MAX_DEATHS) {
      this.#deaths = 0;
      this.#restUntil = this.#clock.monotonic() + REST_MS;
      this.#estimateAll();
    } else if (this.#current !== null) {
      this.#finish(this.#current, estimate(this.#current.bytes));
    }
  }

  #finish(job: Waiting, count: TokenCount): void {
    this.#current = null;
    job.resolve(count);
    this.#next();
  }

  #idle(): void {
    const thread = this.#thread;
    if (thread === null) return;
    // A thread that only waits keeps no process alive.
    thread.unref?.();
    this.#setTimer(this.#keepMs, () => {
      this.#letGoAt = this.#clock.monotonic();
      this.#release();
      void thread.terminate();
    });
  }

  #release(): void {
    this.#thread = null;
    this.#cancelTimer();
  }

  #estimateAll(): void {
    const left = this.#current === null ? this.#queue : [this.#current, ...this.#queue];
    this.#current = null;
    this.#queue = [];
    this.#bytes = 0;
    for (const waiting of left) waiting.resolve(estimate(waiting.bytes));
  }

  #setTimer(ms: number, then: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#after(ms, then);
  }
}

function estimate(bytes: number): TokenCount {
  return { tokens: estimateTokens(bytes), exact: false };
}

function afterTimer(ms: number, then: () => void): () => void {
  const timer = setTimeout(then, ms);
  timer.unref();
  return () => clearTimeout(timer);
}

function startThread(): Worker {
  // A small young generation: counting makes much garbage, and without a bound V8 keeps 30 MB for it.
  // A ceiling on the old one is 1.5 MB less from the start.
  return new Worker(new URL('./count-worker.ts', import.meta.url), {
    resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 1024 },
  });
}
