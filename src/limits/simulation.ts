// Runs a simulation on a thread of its own, fed with recorded usage out of the store or with calls that somebody sends.
//
// Bounds: one at a time; ten minutes; 384 MB of the thread's own heap; one input under way, so that what feeds it waits
// for it. The thread ends with the simulation, however that ends.

import { Worker } from 'node:worker_threads';
import { ApiError, unavailable } from '../platform/errors.ts';
import type { UsageSegmentTable } from '../store/schema.ts';
import type { Db } from '../store/store.ts';
import { DAY_MS } from './model.ts';
import type { Simulation } from './simulate.ts';
import type { Input, Output, SimulationOrder } from './simulation-model.ts';

export interface Simulated extends Simulation {
  /** Groups of usage records that are damaged and were passed over. */
  readonly unreadable: number;
}

const LONGEST_MS = 600_000;
const HEAP_MB = 384;
/** A segment is at most some megabytes. */
const SEGMENTS = 4;

let running = false;

/**
 * Replays what `inputs` gives.
 * @param gone aborted when nobody waits for the answer any more
 * @throws ApiError 400 for calls that cannot be read; 503 while another simulation runs, or when this one is too large
 */
export async function runSimulation(
  order: SimulationOrder,
  inputs: AsyncIterable<Input>,
  gone: AbortSignal,
): Promise<Simulated> {
  if (running) throw unavailable('Another simulation is running: try again when it has ended.', 5);
  running = true;
  const thread = new Thread(
    new Worker(new URL('./simulation-worker.ts', import.meta.url), {
      workerData: order,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    }),
  );
  const timer = setTimeout(() => thread.fail(tooLarge()), LONGEST_MS);
  const stop = (): void => thread.fail(new ApiError(400, 'The caller is gone.'));
  gone.addEventListener('abort', stop);
  try {
    if (gone.aborted) stop();
    for await (const input of inputs) {
      const answer = await thread.ask(input);
      if (answer.kind !== 'taken') throw refusal(answer);
    }
    const output = await thread.ask({ kind: 'end' });
    if (output.kind !== 'done') throw refusal(output);
    return { ...output.simulation, unreadable: output.unreadable };
  } finally {
    running = false;
    clearTimeout(timer);
    gone.removeEventListener('abort', stop);
    await thread.terminate();
  }
}

function refusal(output: Output): ApiError {
  return new ApiError(400, output.kind === 'wrong' ? output.message : 'The simulation ended early.');
}

/** One question at a time to a worker that may die. */
class Thread {
  private readonly worker: Worker;
  private failure: Error | null = null;
  private waiting: { resolve(output: Output): void; reject(error: Error): void } | null = null;

  constructor(worker: Worker) {
    this.worker = worker;
    worker.on('message', (output: Output) => {
      const { waiting } = this;
      this.waiting = null;
      waiting?.resolve(output);
    });
    worker.on('error', (error: Error & { code?: string }) =>
      this.fail(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? tooLarge() : error),
    );
    worker.on('exit', () => this.fail(new Error('the simulation ended without an answer')));
  }

  ask(input: Input): Promise<Output> {
    if (this.failure !== null) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.worker.postMessage(input);
    });
  }

  fail(error: Error): void {
    this.failure ??= error;
    this.waiting?.reject(this.failure);
    this.waiting = null;
  }

  async terminate(): Promise<void> {
    await this.worker.terminate();
  }
}

function tooLarge(): ApiError {
  return unavailable('This is too much to be replayed at once: ask for fewer days, or send fewer calls.', 60);
}

/** The recorded usage from `since` on, in the order of the segments' first calls. */
export async function* recordedSegments(db: Db, since: number): AsyncGenerator<Input> {
  let last: { readonly first_at: number; readonly seq: number } | undefined;
  for (;;) {
    let query = db
      .selectFrom('usage_segments')
      .selectAll()
      .where('last_at', '>=', since)
      // A call takes at most a day, so what arrived since then cannot stand in an older segment.
      .where('first_at', '>=', since - DAY_MS);
    if (last !== undefined) {
      const { first_at, seq } = last;
      query = query.where(({ eb, refTuple, tuple }) =>
        eb(refTuple('first_at', 'seq'), '>', tuple(first_at, seq)),
      );
    }
    const rows = await query.orderBy('first_at').orderBy('seq').limit(SEGMENTS).execute();
    for (const { seq: _, ...segment } of rows) {
      yield { kind: 'segment', segment: segment satisfies Omit<UsageSegmentTable, 'seq'> };
    }
    last = rows.at(-1);
    if (rows.length < SEGMENTS) return;
  }
}
