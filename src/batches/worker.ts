// The worker of batches, one a node: takes batches that nobody works on, a few at a time, and sweeps up what is over:
// files whose time has come, contents that belong to nothing.
//
// A new batch, or one that was cancelled, wakes the workers of all nodes by the store's changes. A batch whose node died is
// found by looking, when its lease is over.

import { randomUUID } from 'node:crypto';
import { expireFiles } from './files.ts';
import { OPEN } from './model.ts';
import { dropResults } from './results.ts';
import { BatchRun, LEASE_MS, type RunParts } from './run.ts';
import { claim } from './store.ts';
import { expireUploads } from './uploads.ts';

const LOOK_MS = 5_000;
const SWEEP_MS = 60_000;

export interface WorkerParts extends RunParts {
  /** Batches under work at once on this node. */
  readonly most: number;
}

export class BatchWorker {
  readonly #parts: WorkerParts;
  readonly #runs = new Map<string, { readonly run: BatchRun; readonly done: Promise<void> }>();
  #timer: NodeJS.Timeout | undefined;
  #sweeping: NodeJS.Timeout | undefined;
  #looking: Promise<void> | null = null;
  #again = false;
  #swept: Promise<void> = Promise.resolve();
  #stopped = false;
  #unfollow: (() => Promise<void>) | null = null;

  constructor(parts: WorkerParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    const { store } = this.#parts;
    // Nobody else can hold what is in an embedded database: a lease there is that of a process that was killed.
    if (store.kind === 'sqlite')
      await store.db.updateTable('batches').set({ lease: null, lease_until: null }).execute();
    this.#unfollow = store.follow(await store.lastChange(), (changes) => {
      const ids = new Set(changes.filter(({ kind }) => kind === 'batch').map(({ objectId }) => objectId));
      if (ids.size === 0) return;
      for (const [id, { run }] of this.#runs) if (ids.has(id)) void run.renew();
      this.#look();
    });
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#sweeping = setInterval(() => {
      this.#swept = this.#swept.then(() => this.sweep()).catch(this.#parts.onError);
    }, SWEEP_MS);
    this.#look();
  }

  /** Finishes the lines under way, at most `ms`, and lets go of the batches. */
  async stop(ms: number): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    clearInterval(this.#sweeping);
    await this.#unfollow?.();
    await this.#looking;
    for (const { run } of this.#runs.values()) run.stop();
    const over = new Promise((resolve) => setTimeout(resolve, ms).unref());
    await Promise.race([Promise.all([...this.#runs.values()].map(({ done }) => done)), over]);
    await this.#swept;
  }

  /** Lets go of what is over. Runs once a minute by itself. */
  async sweep(): Promise<void> {
    const { store, contents, clock } = this.#parts;
    while (!this.#stopped && (await expireFiles(store.db, contents, clock.now())));
    while (!this.#stopped && (await expireUploads(store.db, contents, clock.now())));
    while (!this.#stopped && (await contents.dropSome(clock.now())));
    const left = await store.db
      .selectFrom('batch_results')
      .select('batch_id')
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('batches')
              .select('id')
              .whereRef('batches.id', '=', 'batch_results.batch_id')
              .where('status', 'in', [...OPEN]),
          ),
        ),
      )
      .limit(1)
      .executeTakeFirst();
    if (left !== undefined && !this.#stopped) await dropResults(store.db, left.batch_id);
  }

  #look(): void {
    if (this.#stopped) return;
    this.#again = this.#looking !== null;
    this.#looking ??= this.#take()
      .catch(this.#parts.onError)
      .then(() => {
        this.#looking = null;
        if (this.#again) this.#look();
      });
  }

  async #take(): Promise<void> {
    const { store, clock, most, onError } = this.#parts;
    while (!this.#stopped && this.#runs.size < most) {
      const row = await claim(store.db, `${this.#parts.node}/${randomUUID()}`, clock.now(), LEASE_MS);
      if (row === undefined) return;
      const run = new BatchRun(this.#parts, row);
      const done = run
        .work()
        .catch(onError)
        .then(() => {
          this.#runs.delete(row.id);
          this.#look();
        });
      this.#runs.set(row.id, { run, done });
    }
  }
}
