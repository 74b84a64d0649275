// Brings up files and batches: what answers their calls, and the worker that runs batches once the road is there.

import type { Config } from '../config/model.ts';
import type { Principal } from '../keys/model.ts';
import type { KeyRegistry } from '../keys/registry.ts';
import type { RateLimits } from '../limits/rate-limits.ts';
import type { Clock } from '../platform/clock.ts';
import type { Seals } from '../secrets/seals.ts';
import type { OutsideContents } from '../storage/outside.ts';
import type { Store } from '../store/store.ts';
import { batchesApi } from './batches-api.ts';
import { ContentStore } from './contents.ts';
import { filesApi } from './files-api.ts';
import type { KeptHandler, Owner, Perform } from './model.ts';
import { BatchQueue } from './queue.ts';
import type { BatchRow } from './store.ts';
import { uploadsApi } from './uploads.ts';
import { BatchWorker } from './worker.ts';

export interface BatchesOptions {
  readonly config: Pick<Config, 'bounds' | 'batches' | 'node'>;
  readonly store: Store;
  readonly seals: Seals;
  /** Customers' own storage. */
  readonly outside: OutsideContents;
  readonly registry: KeyRegistry;
  readonly limits: RateLimits;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

export interface OpenBatches {
  readonly handlers: ReadonlyMap<string, KeptHandler>;
  /** Begins to run batches. The returned function ends it: lines under way are finished, at most `ms`. */
  run(road: {
    readonly perform: Perform;
    readonly serves: (owner: Owner, model: string) => boolean;
  }): Promise<(ms: number) => Promise<void>>;
}

export function openBatches(options: BatchesOptions): OpenBatches {
  const { config, store, seals, registry, limits, clock, onError } = options;
  const contents = new ContentStore(store.db, seals, options.outside);
  const keeping = { store, contents, clock, bounds: config.bounds };
  const queue = new BatchQueue(limits, store.db, (row) => queueOwner(store, row));
  return {
    handlers: new Map([...filesApi(keeping), ...uploadsApi(keeping), ...batchesApi({ store, clock })]),
    async run({ perform, serves }) {
      await queue.load();
      const worker = new BatchWorker({
        store,
        contents,
        seals,
        queue,
        clock,
        bounds: config.bounds,
        node: config.node,
        concurrency: config.batches.concurrency,
        most: config.batches.running,
        perform,
        serves,
        holder: (row) => holderOf(store, registry, row),
        onError,
      });
      await worker.start();
      return (ms) => worker.stop(ms);
    },
  };
}

/** The key that made the batch, as it may be used now: not revoked, not expired, its project not archived. */
async function holderOf(store: Store, registry: KeyRegistry, row: BatchRow): Promise<() => Owner | null> {
  const key = await store.db
    .selectFrom('api_keys')
    .select('digest')
    .where('id', '=', row.key_id)
    .executeTakeFirst();
  if (key === undefined) return () => null;
  const digest = Buffer.from(key.digest);
  return () => {
    const principal = registry.holder(digest);
    return principal !== undefined && isOwner(principal) && principal.project.id === row.project_id
      ? principal
      : null;
  };
}

function isOwner(principal: Principal): principal is Owner {
  return principal.project !== null;
}

async function queueOwner(store: Store, row: BatchRow) {
  const key = await store.db
    .selectFrom('api_keys')
    .select(['owner_type', 'owner_id', 'type'])
    .where('id', '=', row.key_id)
    .executeTakeFirst();
  return { ownerType: key?.owner_type ?? 'user', ownerId: key?.owner_id ?? '', test: key?.type === 'test' };
}
