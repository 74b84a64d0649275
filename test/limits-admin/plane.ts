// A control plane with limits over a fresh store, on a clock that a test moves. The road's side is `limits`.

import { bootstrap } from '../../src/access/bootstrap.ts';
import { createControlPlane } from '../../src/access/control-plane.ts';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { limitsPart } from '../../src/limits/control-part.ts';
import { LiveLimits, type TierChange } from '../../src/limits/live.ts';
import { MemoryLimiter } from '../../src/limits/memory.ts';
import { RateLimits } from '../../src/limits/rate-limits.ts';
import { keepRising } from '../../src/limits/rise.ts';
import { tableOverDefault } from '../../src/limits/table-over-default.ts';
import { tablesOf } from '../../src/limits/tables.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import type { Store } from '../../src/store/store.ts';
import type { StoreKind, StorePlace } from '../store/stores.ts';

/** A node: what it holds of a store that others may share. */
export interface Node {
  readonly store: Store;
  readonly live: LiveLimits;
  readonly limits: RateLimits;
  readonly moved: TierChange[];
  readonly errors: unknown[];
  /** Lets the hour's look happen, and waits for it. */
  hour(): Promise<void>;
  call(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: Record<string, unknown> }>;
  stop(): Promise<void>;
}

export interface Cluster {
  readonly place: StorePlace;
  readonly clock: ManualClock;
  readonly organizationId: string;
  readonly projectId: string;
  start(): Promise<Node>;
  close(): Promise<void>;
}

export async function openCluster(
  kind: StoreKind,
  table: Readonly<Record<string, unknown>>,
): Promise<Cluster> {
  const place = await kind.fresh();
  const clock = new ManualClock();
  const setup = await place.open({ clock });
  const made = await bootstrap({ store: setup, clock, adminKey: null });
  if (made?.adminKey == null) throw new Error('The store was not empty.');
  await setup.close();
  const { adminKey } = made;
  const nodes: Node[] = [];
  return {
    place,
    clock,
    organizationId: made.organizationId,
    projectId: made.projectId,
    async start() {
      const node = await startNode(await place.open({ clock }), clock, adminKey, table);
      nodes.push(node);
      return node;
    },
    async close() {
      for (const node of nodes) await node.stop();
      await place.remove();
    },
  };
}

async function startNode(
  store: Store,
  clock: ManualClock,
  adminKey: string,
  given: Readonly<Record<string, unknown>>,
): Promise<Node> {
  const registry = new KeyRegistry({ clock });
  await registry.load(store);
  const table = tableOverDefault(given);
  const live = new LiveLimits(tablesOf(table), clock);
  await live.load(store);
  const limits = new RateLimits({
    tables: live.tables,
    limiter: new MemoryLimiter({ clock }),
    clock,
    tierOf: live.tierOf,
  });
  const moved: TierChange[] = [];
  const errors: unknown[] = [];
  const stopFollowing = live.follow(store, {
    changed: () => limits.change(),
    moved: (change) => moved.push(change),
  });
  let look = (): void => {};
  const stopRising = keepRising({
    store,
    clock,
    live,
    onError: (error) => errors.push(error),
    every: (_, work) => {
      look = work;
      return () => {};
    },
  });
  // The look at the start is over before the test goes on.
  await stopRising();
  const app = createControlPlane({ store, registry, clock, onError: (error) => errors.push(error) }, [
    limitsPart({ store, registry, clock, live, limits, table, callable: () => [], uploadBytes: 1e6 }),
  ]);
  let stopped = false;
  return {
    store,
    live,
    limits,
    moved,
    errors,
    async hour() {
      look();
      await stopRising();
    },
    async call(method, path, body) {
      const sent: RequestInit = {
        method,
        headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
      };
      if (body !== undefined) sent.body = JSON.stringify(body);
      const reply = await app.fetch(new Request(`http://keygate.test${path}`, sent), {
        remoteAddress: '192.0.2.1',
      });
      return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
    },
    async stop() {
      if (stopped) return;
      stopped = true;
      await stopFollowing();
      await store.close();
    },
  };
}
