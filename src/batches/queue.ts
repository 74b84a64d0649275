// The batch queue's limits: the prompt tokens of all batches that are not over, by model (`batch_tokens` of src/limits).
// What is held is given back at a batch's end; after a restart it is what the store says.

import { TEST_MODEL } from '../limits/known-models.ts';
import type { Admission } from '../limits/limiter.ts';
import type { QueuedBatch, RateLimits } from '../limits/rate-limits.ts';
import type { ApiError } from '../platform/errors.ts';
import type { Db } from '../store/store.ts';
import type { BatchRow } from './store.ts';
import { queuedBatches } from './store.ts';

export interface QueueOwner {
  readonly ownerType: 'user' | 'service_account';
  readonly ownerId: string;
  readonly test: boolean;
}

export class BatchQueue {
  readonly #limits: RateLimits;
  readonly #db: Db;
  readonly #ownerOf: (row: BatchRow) => Promise<QueueOwner>;
  readonly #held = new Map<string, Admission>();

  /** @param ownerOf whose a batch's key is, valid or not */
  constructor(limits: RateLimits, db: Db, ownerOf: (row: BatchRow) => Promise<QueueOwner>) {
    this.#limits = limits;
    this.#db = db;
    this.#ownerOf = ownerOf;
  }

  /** At a start: what the batches hold that are not over. */
  async load(): Promise<void> {
    await this.#hold([]);
  }

  /** Null: there was room, and it is held. */
  async enter(row: BatchRow, model: string | null, tokens: number): Promise<ApiError | null> {
    const batch = this.#queued({ ...row, model, queue_tokens: tokens }, await this.#ownerOf(row));
    return await new Promise((resolve) => {
      const done: Parameters<RateLimits['admitBatch']>[1] = (verdict) => {
        if (!verdict.admitted) return resolve(verdict.error());
        this.#held.set(row.id, verdict);
        resolve(null);
      };
      const verdict = this.#limits.admitBatch(batch, done);
      if (verdict !== undefined) done(verdict);
    });
  }

  /** The batch is over. */
  async leave(row: BatchRow): Promise<void> {
    const admission = this.#held.get(row.id);
    this.#held.delete(row.id);
    if (admission !== undefined) this.#limits.release(admission);
    else if (row.queue_tokens > 0) await this.#hold([{ ...row, queue_tokens: 0 }]);
  }

  async #hold(over: readonly BatchRow[]): Promise<void> {
    const ended = new Set(over.map(({ id }) => id));
    const open = (await queuedBatches(this.#db)).filter(({ id }) => !ended.has(id));
    const batches = await Promise.all(
      [...open, ...over].map(async (row) => this.#queued(row, await this.#ownerOf(row))),
    );
    if (batches.length > 0) this.#limits.holdBatches(batches);
  }

  #queued(row: BatchRow, { ownerType, ownerId, test }: QueueOwner): QueuedBatch {
    return {
      requestId: row.id,
      tokens: row.queue_tokens,
      caller: {
        organizationId: row.organization_id,
        projectId: row.project_id,
        keyId: row.key_id,
        ownerType,
        ownerId,
        endUser: null,
        model: test ? TEST_MODEL : row.model,
      },
    };
  }
}
