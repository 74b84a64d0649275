// Looks once an hour, and at the start, whether organizations have reached another tier by the days that have passed.
// The row is looked at again within the write, so of several nodes that see it at once only one writes it down.

import type { Attribution } from '../audit/model.ts';
import type { Every } from '../keys/registry.ts';
import type { Clock } from '../platform/clock.ts';
import type { OrganizationId } from '../platform/ids.ts';
import type { Store } from '../store/store.ts';
import type { LiveLimits } from './live.ts';
import { isSettled, reachedTier, settleTier } from './standing.ts';

const HOUR_MS = 3_600_000;

export interface RiseOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly live: LiveLimits;
  readonly onError: (error: unknown) => void;
  readonly every?: Every;
}

/** Looks until the returned function is called. */
export function keepRising(options: RiseOptions): () => Promise<void> {
  const every = options.every ?? everyMs;
  let looking: Promise<void> = Promise.resolve();
  const look = (): void => {
    looking = looking.then(() => riseAll(options)).catch(options.onError);
  };
  look();
  const stop = every(HOUR_MS, look);
  return async () => {
    stop();
    await looking;
  };
}

/** Writes down every tier that is not the one that was reached. */
export async function riseAll({ store, clock, live }: RiseOptions): Promise<void> {
  const { tiers } = live.tables;
  for (const standing of [...live.everyStanding()]) {
    const at = clock.now();
    if (isSettled(tiers, standing, reachedTier(tiers, standing, at).name)) continue;
    const by: Attribution = {
      // The row's column holds what newId made.
      organizationId: standing.organizationId as OrganizationId,
      actor: { type: 'server' },
      at,
    };
    await store.write((tx) => settleTier(store, tx, by, tiers, 'time'));
  }
}

function everyMs(ms: number, work: () => void): () => void {
  const timer = setInterval(work, ms).unref();
  return () => clearInterval(timer);
}
