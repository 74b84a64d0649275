// Brings up what the rest of keygate needs of secrets: the root key, and sealing and opening with it.

import type { SecretsConfig } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { Store } from '../store/store.ts';
import { RootRing } from './root-ring.ts';
import { Seals } from './seals.ts';

export interface OpenSecrets {
  readonly seals: Seals;
  readonly roots: RootRing;
}

/** @throws SetupError when the store's secrets are sealed with a root key that is not here */
export async function openSecrets(options: {
  readonly config: SecretsConfig;
  readonly dataDir: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn' | 'error'>;
}): Promise<OpenSecrets> {
  const { config, dataDir, store, clock, log } = options;
  const roots = await RootRing.open({
    store,
    clock,
    dataDir,
    configured: config.rootKey,
    previous: config.previousRootKey,
    warn: (message) => log.warn(message),
  });
  const seals = new Seals({
    roots,
    alarm: ({ organizationId, projectId, purpose, id }, error) =>
      log.error('secrets', error, {
        organization_id: organizationId,
        project_id: projectId,
        purpose,
        record: id,
        reason: error.reason,
      }),
  });
  return { seals, roots };
}
