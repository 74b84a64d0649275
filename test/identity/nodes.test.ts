// Several nodes on one PostgreSQL: a token of one is good on all of them, ends on all of them, and a proof that may be
// used once is used once, whichever node it is shown to.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootstrap } from '../../src/access/bootstrap.ts';
import { createControlPlane } from '../../src/access/control-plane.ts';
import { identityPart } from '../../src/identity/control-part.ts';
import { AccessTokens } from '../../src/identity/tokens/access-tokens.ts';
import { Exchange } from '../../src/identity/workload/exchange.ts';
import { IssuerKeys } from '../../src/identity/workload/issuer-keys.ts';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { outgoing } from '../../src/platform/outgoing.ts';
import type { Store } from '../../src/store/store.ts';
import { clientOf } from '../access/plane.ts';
import { freshPostgres, type StorePlace } from '../store/stores.ts';
import { AUDIENCE, startIssuer, type TestIssuer } from './issuer.ts';

interface Node {
  readonly registry: KeyRegistry;
  readonly exchange: Exchange;
  readonly store: Store;
  close(): Promise<void>;
}

async function startNode(place: StorePlace): Promise<Node> {
  const clock = systemClock;
  const store = await place.open({ clock });
  const registry = new KeyRegistry({ clock });
  await registry.load(store);
  const stop = registry.follow(store);
  const tokens = new AccessTokens({ store, clock, project: (id) => registry.projectState(id) });
  const stopTokens = await tokens.open(store);
  registry.add(tokens);
  const exchange = new Exchange({
    store,
    clock,
    tokens,
    issuers: new IssuerKeys(outgoing({ allowPrivate: [] }), clock),
    lifetimeSeconds: 3600,
    onError: (error) => {
      throw error;
    },
  });
  return {
    registry,
    exchange,
    store,
    close: async () => {
      await stopTokens();
      await stop();
    },
  };
}

describe('two nodes', () => {
  let place: StorePlace;
  let issuer: TestIssuer;
  let nodes: readonly [Node, Node];
  let admin: ReturnType<typeof clientOf>;
  let projectId: string;
  let call: (path: string, body: unknown) => Promise<Record<string, unknown>>;
  beforeAll(async () => {
    place = await freshPostgres();
    issuer = await startIssuer();
    const first = await place.open();
    const made = await bootstrap({ store: first, clock: systemClock, adminKey: null });
    if (made?.adminKey == null) throw new Error('The store was not empty.');
    projectId = made.projectId;
    nodes = [await startNode(place), await startNode(place)];
    const [{ store, registry }] = nodes;
    const deps = { store, registry, clock: systemClock };
    const app = createControlPlane(deps, [
      identityPart({ ...deps, outgoing: outgoing({ allowPrivate: [] }) }),
    ]);
    admin = clientOf(app, made.adminKey);
    call = async (path, body) => {
      const reply = await app.fetch(
        new Request(`http://keygate.test${path}`, {
          method: 'POST',
          headers: { authorization: `Bearer ${made.adminKey}`, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
        { remoteAddress: '192.0.2.1' },
      );
      return (await reply.json()) as Record<string, unknown>;
    };
  });
  afterAll(async () => {
    for (const node of nodes ?? []) await node.close();
    await issuer?.close();
    await place?.remove();
  });

  it('take each other tokens, and neither takes one whose rule is gone', async () => {
    const { projects, workloadIdentityProviders: providers } = admin.admin.organization;
    const account = await projects.serviceAccounts.create(projectId, { name: 'ci' });
    const provider = await providers.create({
      type: 'oidc',
      name: 'CI',
      issuer: issuer.url,
      audience: AUDIENCE,
      verification: { type: 'uploaded_jwks', jwks: { keys: issuer.keys.map(({ jwk }) => jwk) } },
    });
    const rule = await providers.federationRules.create(provider.id, {
      project_id: projectId,
      service_account_id: account.id,
      attribute_matchers: { repository: 'acme/app' },
    });
    const exchange = (node: Node, token: string) =>
      node.exchange.exchange({
        providerId: provider.id,
        serviceAccountId: account.id,
        proof: { type: 'oidc', token },
        confirmation: null,
        address: '192.0.2.9',
      });
    const [one, other] = nodes;
    const tokens: string[] = [];
    for (const node of nodes) {
      // The second node learns of the rule within a second.
      const issued = await expect
        .poll(async () => await exchange(node, await issuer.token()), { timeout: 5_000 })
        .toMatchObject({ kind: 'issued' })
        .then(async () => await exchange(node, await issuer.token()));
      if (issued.kind !== 'issued') throw new Error('no token');
      tokens.push(issued.token.value);
      // At once, on both: a key is used for signing only when every node has read it.
      for (const { registry } of nodes) {
        expect(registry.find(issued.token.value)?.ownerId).toBe(account.id);
      }
    }

    // Each subject token once, on whichever node.
    await call(`/v1/keygate/workload_identity_providers/${provider.id}`, { single_use: true });
    const proof = await issuer.token();
    const results = await Promise.all(nodes.map((node) => exchange(node, proof)));
    expect(results.map(({ kind }) => kind).toSorted()).toEqual(['issued', 'refused']);
    for (const node of nodes) expect((await exchange(node, proof)).kind).toBe('refused');

    await providers.federationRules.delete(rule.id, { workload_identity_provider_id: provider.id });
    for (const token of tokens) expect(one.registry.find(token)).toBeUndefined();
    await expect
      .poll(() => tokens.map((token) => other.registry.find(token)), { timeout: 2_000 })
      .toEqual([undefined, undefined]);
  }, 30_000);
});
