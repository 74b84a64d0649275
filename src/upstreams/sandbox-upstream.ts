// The sandbox as the road sees it: a provider like any other, reached over a socket of its own. Its thread is started
// by the first call that needs it, so that a server which only forwards does not carry it.

import type { Bounds, ProviderConfig } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Origin } from './http1/connection.ts';
import { Provider } from './provider.ts';
import type { ModelListing, SandboxUpstream } from './routes.ts';
import { SANDBOX_MODELS } from './sandbox/model.ts';
import type { RunningSandbox } from './sandbox/sandbox.ts';

/** Seconds since the epoch: when the first of these models was made. */
const CREATED = 1_767_225_600;
const CONNECTIONS = 256;

const CONFIG: ProviderConfig = {
  name: 'sandbox',
  baseUrl: new URL('http://sandbox.invalid/v1'),
  credential: null,
  credentialFrom: null,
  auth: 'none',
  headers: {},
  models: [],
  priority: 0,
  connections: CONNECTIONS,
  allowPrivate: true,
  environments: null,
};

export function sandboxUpstream(bounds: Bounds, clock: Clock): SandboxUpstream & { close(): Promise<void> } {
  let started: Promise<RunningSandbox> | null = null;
  const origin = async (): Promise<Origin> => {
    started ??= import('./sandbox/sandbox.ts').then(({ startSandbox }) => startSandbox());
    try {
      const { socketPath } = await started;
      return { secure: false, host: 'sandbox', port: 0, authority: 'sandbox', socketPath };
    } catch (error) {
      started = null;
      throw error;
    }
  };
  return {
    provider: new Provider(CONFIG, bounds, clock, origin),
    models: SANDBOX_MODELS.map(({ id }): ModelListing => ({ id, created: CREATED, ownedBy: 'keygate' })),
    async close() {
      await (await started?.catch(() => null))?.close();
    },
  };
}
