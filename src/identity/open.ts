// Opens identity beyond the key: what is held in memory of it, and the door where proofs become tokens.

import type { IdentityConfig, SignInConfig } from '../config/model.ts';
import type { KeyRegistry } from '../keys/registry.ts';
import type { Clock } from '../platform/clock.ts';
import type { Outgoing } from '../platform/outgoing.ts';
import type { Store } from '../store/store.ts';
import type { Proofs } from './proof/prove.ts';
import type { SignInParts } from './sign-in/api.ts';
import { Sessions } from './sign-in/sessions.ts';
import { SignIn } from './sign-in/sign-in.ts';
import { AccessTokens } from './tokens/access-tokens.ts';
import { Exchange } from './workload/exchange.ts';
import { IssuerKeys } from './workload/issuer-keys.ts';
import { TokenEndpoint } from './workload/token-endpoint.ts';

export interface OpenIdentity {
  readonly tokens: AccessTokens;
  readonly tokenEndpoint: TokenEndpoint;
  /** Null: nobody signs in. */
  readonly signIn: SignInParts | null;
  close(): Promise<void>;
}

export interface IdentityParts {
  readonly config: IdentityConfig;
  readonly store: Store;
  readonly registry: KeyRegistry;
  readonly clock: Clock;
  readonly outgoing: Pick<Outgoing, 'send' | 'fetch'>;
  readonly proofs: Proofs;
  readonly onError: (error: unknown) => void;
}

export async function openIdentity(parts: IdentityParts): Promise<OpenIdentity> {
  const { config, store, registry, clock, outgoing, proofs, onError } = parts;
  const tokens = new AccessTokens({ store, clock, project: (id) => registry.projectState(id) });
  const stop = await tokens.open(store);
  registry.add(tokens);
  const sessions = new Sessions(store, clock, (id) => registry.organizationState(id));
  const stopSessions = await sessions.open();
  registry.add(sessions);
  // The first exchange need not wait for other nodes to learn this node's key.
  const warmed = tokens.warm().catch(onError);
  const exchange = new Exchange({
    store,
    clock,
    tokens,
    issuers: new IssuerKeys(outgoing, clock),
    lifetimeSeconds: Math.floor(config.accessTokenLifetimeMs / 1000),
    onError,
  });
  return {
    tokens,
    signIn: config.signIn && (await signInBy(config.signIn, parts)),
    tokenEndpoint: new TokenEndpoint({ exchange, proofs, clock, onError }),
    close: async () => {
      await warmed;
      await stopSessions();
      await stop();
    },
  };
}

async function signInBy(
  config: SignInConfig,
  { store, clock, outgoing, onError }: IdentityParts,
): Promise<SignInParts> {
  // Only where people sign in is their issuer's protocol spoken.
  const { SignInIssuer } = await import('./sign-in/issuer.ts');
  const { issuer, sessionLifetimeMs: lifetimeMs } = config;
  return {
    issuer: new SignInIssuer(config, outgoing, clock),
    signIn: new SignIn({ store, clock, issuer, lifetimeMs, onError }),
  };
}
