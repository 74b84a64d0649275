// A roll-up over a store of the test's own, and a journal that appends what the test says in the groups that it says.

import { ManualClock } from '../../src/platform/clock.ts';
import { Journal } from '../../src/spend/journal.ts';
import { shippedPrices } from '../../src/spend/prices/shipped.ts';
import { Rollup } from '../../src/spend/rollup/rollup.ts';
import type { UsageEvent } from '../../src/spend/usage.ts';
import type { NewSegment, Store } from '../../src/store/store.ts';
import { ADDRESSES, LIST } from './rollup-events.ts';

/** The segment that a journal makes of these events. */
export async function segmentOf(events: readonly UsageEvent[], node = 'node'): Promise<NewSegment> {
  const segments: NewSegment[] = [];
  const sink = {
    appendSegment: async (segment: NewSegment) =>
      void segments.push({ ...segment, payload: new Uint8Array(segment.payload) }),
  };
  const journal = new Journal(sink, node, events.length + 1, (error) => {
    throw error;
  });
  for (const event of events) journal.append(event);
  await journal.close();
  const [first, ...more] = segments;
  if (first === undefined || more.length > 0) throw new Error('the events were not one segment');
  return first;
}

export async function append(
  store: Pick<Store, 'appendSegment'>,
  events: readonly UsageEvent[],
): Promise<void> {
  for (let at = 0; at < events.length; at += 4000)
    await store.appendSegment(await segmentOf(events.slice(at, at + 4000)));
}

export function rollupOver(
  store: Pick<Store, 'db' | 'kind' | 'foldUsage'>,
  options: { clock?: ManualClock; errors?: unknown[]; retentionMs?: number } = {},
): Rollup {
  return new Rollup({
    store,
    clock: options.clock ?? new ManualClock(),
    lists: async () => [LIST, shippedPrices()],
    addresses: ADDRESSES,
    retentionMs: options.retentionMs ?? 90 * 86_400_000,
    onError: (error) => options.errors?.push(error),
  });
}

/** Forgets what was used, so that one database serves many runs of a property. Series stay, as they do in use. */
export async function emptied(store: Store): Promise<void> {
  for (const table of [
    'usage_unfolded',
    'usage_segments',
    'usage_costs',
    'usage_costs_totals',
    'usage_days_totals',
    'usage_hours_totals',
    'usage_minutes_totals',
    'usage_days',
    'usage_hours',
    'usage_minutes',
  ] as const)
    await store.db.deleteFrom(table).execute();
}
