// Asks the roll-up's thread (rollup-worker.ts), which is started when there is something to fold and ended after a while
// without. Should it die, the batch it had is refused, nothing of it was written, and the next batch starts another.

import { Worker } from 'node:worker_threads';
import type { FoldAnswer, NumberedSegment, Pricing } from './messages.ts';

/** A ceiling, not a reservation: the largest segment that the journal can make has 100,000 events. */
const HEAP = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 4 };
/** Longest time for one batch, in milliseconds; it takes a tenth of a second. */
const ANSWER_MS = 60_000;
const IDLE_MS = 60_000;

interface Waiting {
  resolve(answer: FoldAnswer): void;
  reject(error: Error): void;
}

export class FoldThread {
  #pricing: Pricing;
  #worker: Worker | null = null;
  #waiting: Waiting | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(pricing: Pricing) {
    this.#pricing = pricing;
  }

  /** Prices for the batches to come. */
  reprice(pricing: Pricing): void {
    this.#pricing = pricing;
    this.#worker?.postMessage({ pricing });
  }

  /** Sums a batch, whose payloads must not change until it is answered. One batch at a time. */
  fold(segments: readonly NumberedSegment[]): Promise<FoldAnswer> {
    if (this.#waiting !== null) return Promise.reject(new Error('the roll-up folds one batch at a time'));
    clearTimeout(this.#timer);
    const worker = this.#worker ?? this.#start();
    const answered = new Promise<FoldAnswer>((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    this.#timer = setTimeout(() => this.#drop(worker, new Error('the roll-up took too long')), ANSWER_MS);
    worker.postMessage({ segments });
    return answered;
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    if (worker === null) return;
    this.#drop(worker, new Error('the server is stopping'));
    await worker.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./rollup-worker.ts', import.meta.url), {
      resourceLimits: HEAP,
      // The worker needs no setting, and no second copy of the secrets among them.
      env: {},
      execArgv: [],
      name: 'keygate-rollup',
    });
    worker.on('message', (answer: FoldAnswer) => this.#answered(answer));
    worker.on('error', (error) =>
      this.#drop(worker, error instanceof Error ? error : new Error('it failed')),
    );
    worker.on('exit', () => this.#drop(worker, new Error("the roll-up's thread ended")));
    worker.unref();
    worker.postMessage({ pricing: this.#pricing });
    this.#worker = worker;
    return worker;
  }

  #answered(answer: FoldAnswer): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#worker !== null) this.#drop(this.#worker, new Error('idle'));
    }, IDLE_MS).unref();
    waiting?.resolve(answer);
  }

  #drop(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    clearTimeout(this.#timer);
    worker.terminate().catch(() => {});
    this.#waiting?.reject(error);
    this.#waiting = null;
  }
}
