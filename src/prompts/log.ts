// The prompt log: what was asked and answered, for administrators who turn it on. It is off by default, it never holds
// a call of a project whose data retention says otherwise, and secrets are struck out before anything is written.
//
// On the road it is a few references a call; the rest happens on a thread of its own. It is no record of account: when
// calls come faster than they can be written, or the disk is full, lines are left out, and how many is told.

import { Worker } from 'node:worker_threads';
import type { Controls } from '../controls/controls.ts';
import type { Clock } from '../platform/clock.ts';
import type { Entry } from './entry.ts';
import type { FromWorker, ToWorker, WorkerOptions } from './prompt-worker.ts';

/** Of a request and of a reply each; what is beyond is cut off. */
const TEXT_BYTES = 256 * 1024;
const QUEUE_BYTES = 32 * 1024 * 1024;
const COMPLAIN_MS = 60_000;
const CLOSE_MS = 10_000;

/** What is kept of a reply while it is relayed. */
export class Transcript {
  readonly pieces: Buffer[] = [];
  cut = false;
  bytes = 0;

  add(chunk: Buffer): void {
    const room = TEXT_BYTES - this.bytes;
    if (chunk.length > room) this.cut = true;
    if (room <= 0) return;
    const piece = chunk.length > room ? chunk.subarray(0, room) : chunk;
    this.pieces.push(Buffer.from(piece));
    this.bytes += piece.length;
  }
}

export type Said = Omit<Entry, 'request' | 'reply' | 'cut'>;

export class PromptLog {
  readonly #options: WorkerOptions;
  readonly #clock: Clock;
  readonly #complain: (message: string) => void;
  #worker: Worker | null = null;
  #queued = 0;
  #dropped = 0;
  /** Calls that were left out since the start. */
  left = 0;
  #complainedAt = Number.NEGATIVE_INFINITY;
  #waiting: (() => void)[] = [];

  constructor(options: WorkerOptions, clock: Clock, complain: (message: string) => void) {
    this.#options = options;
    this.#clock = clock;
    this.#complain = complain;
  }

  /** A transcript to be filled, or null for a project that lets nothing be logged. */
  begin(controls: Controls | null): Transcript | null {
    const retention = controls?.retention ?? null;
    return retention === null || retention.loggable ? new Transcript() : null;
  }

  /** @param request the JSON body, or null for another one */
  write(said: Said, request: Buffer | null, { pieces, bytes, cut }: Transcript): void {
    const asked = request === null ? null : request.subarray(0, TEXT_BYTES);
    const size = bytes + (asked?.length ?? 0);
    if (this.#queued + size > QUEUE_BYTES) {
      this.#dropped++;
      this.left++;
      return this.#say('The prompt log cannot keep up: calls are left out of it.');
    }
    if (this.#dropped > 0) {
      this.#post({ dropped: this.#dropped, at: said.at });
      this.#dropped = 0;
    }
    this.#queued += size;
    const entry: Entry = {
      ...said,
      // Copies of just these bytes: a slice would take the whole buffer with it to the other thread.
      request: asked === null ? null : Uint8Array.from(asked),
      reply: pieces.length === 0 ? null : pieces.map((piece) => Uint8Array.from(piece)),
      cut: cut || (request !== null && request.length > TEXT_BYTES),
    };
    this.#post({ entry, bytes: size });
  }

  #post(message: ToWorker): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(message);
  }

  #start(): Worker {
    const worker = new Worker(new URL('./prompt-worker.ts', import.meta.url), {
      workerData: this.#options,
      resourceLimits: { maxOldGenerationSizeMb: 1024 },
    });
    worker.unref();
    worker.on('message', ({ written, failed }: FromWorker) => {
      this.#queued -= written;
      if (failed !== undefined) {
        this.left++;
        this.#say(`The prompt log could not be written (${failed}): calls are left out of it.`);
      }
      if (this.#queued === 0) for (const done of this.#waiting.splice(0)) done();
    });
    worker.on('error', () => this.#say('The thread of the prompt log ended: calls are left out of it.'));
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      this.#worker = null;
      this.#queued = 0;
      for (const done of this.#waiting.splice(0)) done();
    });
    return worker;
  }

  #say(message: string): void {
    const now = this.#clock.monotonic();
    if (now - this.#complainedAt < COMPLAIN_MS) return;
    this.#complainedAt = now;
    this.#complain(message);
  }

  /** Waits until what there is so far is written, a bounded time. */
  async flush(): Promise<void> {
    if (this.#queued === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, CLOSE_MS);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    await this.flush();
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
  }
}
