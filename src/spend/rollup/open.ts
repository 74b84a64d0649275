// Starts the roll-up of a server, with the prices in force: it follows changes of the imported price lists.

import type { Config } from '../../config/model.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Store } from '../../store/store.ts';
import { importedLists } from '../prices/import.ts';
import { shippedPrices } from '../prices/shipped.ts';
import { makePartitions } from './partitions.ts';
import { Rollup } from './rollup.ts';

export interface OpenRollup {
  /** Ends it after the transaction under way; what is not folded waits for the next start. */
  close(): Promise<void>;
}

export async function openRollup(
  config: Pick<Config, 'providers' | 'spend' | 'usageRetentionMs'>,
  store: Store,
  clock: Clock,
  onError: (error: unknown) => void,
): Promise<OpenRollup> {
  const rollup = new Rollup({
    store,
    clock,
    lists: async () => [
      ...(config.spend.prices === null ? [] : [config.spend.prices]),
      ...(await importedLists(store.db)),
      shippedPrices(),
    ],
    addresses: Object.fromEntries(config.providers.map(({ name, baseUrl }) => [name, baseUrl.href])),
    retentionMs: config.usageRetentionMs,
    onError,
  });
  const unfollow = store.follow(await store.lastChange(), (changes) => {
    if (changes.some(({ kind }) => kind === 'price_list')) rollup.reprice();
  });
  // Before the first segment of the day, so that it comes to lie in its day's partition.
  if (store.kind === 'postgres') await makePartitions(store.db, clock.now()).catch(onError);
  rollup.start();
  return {
    close: async () => {
      await unfollow();
      await rollup.stop();
    },
  };
}
