// Workload identity providers and federation rules through the unmodified official client, on both databases.

import { generateKeyPairSync } from 'node:crypto';
import { BadRequestError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { identityPart } from '../../src/identity/control-part.ts';
import { outgoing } from '../../src/platform/outgoing.ts';
import { errorOf, openPlane, type Plane } from '../access/plane.ts';
import { stores } from '../store/stores.ts';

const GITHUB = 'https://token.actions.githubusercontent.com';
const PROVIDERS = '/v1/organization/workload_identity_providers';

async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of pages) items.push(item);
  return items;
}

function publicJwk(kid: string): Record<string, unknown> {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' };
}

describe.each(stores)('workload identity on $kind', (kind) => {
  let plane: Plane;
  beforeAll(async () => {
    plane = await openPlane(kind, (deps) => [
      identityPart({ ...deps, outgoing: outgoing({ allowPrivate: [] }) }),
    ]);
  });
  afterAll(async () => {
    await plane?.close();
  });
  const providers = () => plane.admin.admin.organization.workloadIdentityProviders;
  const account = () =>
    plane.admin.admin.organization.projects.serviceAccounts.create(plane.projectId, { name: 'ci' });
  const github = () =>
    providers().create({ type: 'oidc', name: 'GitHub', issuer: GITHUB, audience: 'keygate' });

  it('creates, retrieves, updates, lists over pages and deletes a provider', async () => {
    const made = await github();
    expect(made).toEqual({
      object: 'organization.workload_identity_provider',
      id: expect.stringMatching(/^wip_[0-9A-Za-z]{24}$/),
      type: 'oidc',
      name: 'GitHub',
      description: null,
      issuer: GITHUB,
      audience: 'keygate',
      enabled: true,
      attribute_transformations: [],
      verification: { type: 'discovery', discovery_url: null },
      created_at: Math.floor(plane.clock.now() / 1000),
      updated_at: Math.floor(plane.clock.now() / 1000),
    });
    expect(await providers().retrieve(made.id)).toEqual(made);
    plane.clock.advance(5_000);
    const transformation = { attribute: 'openai.branch', expression: 'assertion.ref.split("/")[2]' };
    const jwks = { keys: [publicJwk('one')] };
    const changed = await providers().update(made.id, {
      description: 'our CI',
      enabled: false,
      attribute_transformations: [transformation],
      verification: { type: 'uploaded_jwks', jwks },
    });
    expect(changed).toEqual({
      ...made,
      description: 'our CI',
      enabled: false,
      attribute_transformations: [transformation],
      verification: { type: 'uploaded_jwks', jwks },
      updated_at: made.updated_at + 5,
    });
    expect(await providers().update(made.id)).toEqual(changed);
    expect((await providers().update(made.id, { description: null })).description).toBeNull();
    const more = [await github(), await github(), await github()];
    const ids = (await all(providers().list({ limit: 2 }))).map(({ id }) => id);
    expect(ids).toEqual([made.id, ...more.map(({ id }) => id)].sort(byPlace(ids)));
    expect((await all(providers().list({ limit: 3, order: 'desc' }))).map(({ id }) => id)).toEqual(
      ids.toReversed(),
    );
    for (const { id } of [made, ...more]) {
      expect(await providers().delete(id)).toEqual({
        object: 'organization.workload_identity_provider.deleted',
        id,
        deleted: true,
      });
      await expect(providers().retrieve(id)).rejects.toThrow(NotFoundError);
    }
  });

  it('binds a rule to a service account, updates, lists and deletes it', async () => {
    const provider = await github();
    const { id: accountId } = await account();
    const rules = providers().federationRules;
    const made = await rules.create(provider.id, {
      attribute_matchers: { repository: 'acme/app', runner_environment: 'github-hosted' },
      project_id: plane.projectId,
      service_account_id: accountId,
      name: 'main',
    });
    const path = { workload_identity_provider_id: provider.id };
    expect(made).toEqual({
      object: 'organization.workload_identity_federation_rule',
      id: expect.stringMatching(/^wir_[0-9A-Za-z]{24}$/),
      ...path,
      project_id: plane.projectId,
      service_account_id: accountId,
      name: 'main',
      description: null,
      enabled: true,
      attribute_matchers: { repository: 'acme/app', runner_environment: 'github-hosted' },
      permissions: { type: 'service_account_default' },
      created_at: expect.any(Number),
      updated_at: expect.any(Number),
    });
    expect(await rules.retrieve(made.id, path)).toEqual(made);
    const restricted = { type: 'restricted' as const, scopes: ['api.model.request'] };
    const changed = await rules.update(made.id, {
      ...path,
      permissions: restricted,
      enabled: false,
      name: null,
    });
    expect(changed).toMatchObject({ permissions: restricted, enabled: false, name: null });
    const second = await rules.create(provider.id, {
      attribute_matchers: { sub: 'repo:acme/app:ref:refs/heads/main' },
      project_id: plane.projectId,
      service_account_id: (await account()).id,
    });
    expect((await all(rules.list(provider.id, { limit: 1 }))).map(({ id }) => id).sort()).toEqual(
      [made.id, second.id].sort(),
    );
    expect(
      (await all(rules.list(provider.id, { service_account_id: accountId }))).map(({ id }) => id),
    ).toEqual([made.id]);
    await expect(providers().delete(provider.id)).rejects.toThrow(/still has federation rules/);
    for (const { id } of [made, second]) {
      expect(await rules.delete(id, path)).toEqual({
        object: 'organization.workload_identity_federation_rule.deleted',
        id,
        deleted: true,
      });
    }
    await expect(rules.retrieve(made.id, path)).rejects.toThrow(NotFoundError);
    await providers().delete(provider.id);
  });

  it('writes every change to the audit log under the types of the platform, and no key', async () => {
    const rows = await plane.store.db
      .selectFrom('audit_log')
      .select(['type', 'payload'])
      .where('type', 'like', 'workload_identity%')
      .execute();
    const types = new Set(rows.map(({ type }) => type));
    for (const what of ['workload_identity_provider', 'workload_identity_provider_mapping']) {
      for (const verb of ['created', 'updated', 'deleted']) expect(types).toContain(`${what}.${verb}`);
    }
    expect(rows.some(({ payload }) => payload.includes('"key_ids":["one"]'))).toBe(true);
    expect(rows.some(({ payload }) => payload.includes('"crv"'))).toBe(false);
  });

  it('does not know a rule under another provider, nor an account of another project', async () => {
    const [one, other] = [await github(), await github()];
    const { id: accountId } = await account();
    const rules = providers().federationRules;
    const order = {
      attribute_matchers: { repository: 'acme/app' },
      project_id: plane.projectId,
      service_account_id: accountId,
    };
    const rule = await rules.create(one.id, order);
    await expect(rules.retrieve(rule.id, { workload_identity_provider_id: other.id })).rejects.toThrow(
      NotFoundError,
    );
    const project = await plane.admin.admin.organization.projects.create({ name: 'Other' });
    await expect(rules.create(one.id, { ...order, project_id: project.id })).rejects.toThrow(NotFoundError);
  });

  it.each([
    ['a rule that matches everybody', {}, /attribute_matchers/],
    [
      'a rule on a shared issuer that pins no tenant',
      { ref: 'refs/heads/main' },
      /Everybody can get a token/,
    ],
  ])('refuses %s', async (_, attribute_matchers, message) => {
    const provider = await github();
    const made = providers().federationRules.create(provider.id, {
      attribute_matchers,
      project_id: plane.projectId,
      service_account_id: (await account()).id,
    });
    await expect(made).rejects.toThrow(BadRequestError);
    await expect(made).rejects.toThrow(message);
  });

  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const derived = (expression: string) => [{ attribute: 'openai.x', expression }];
  it.each([
    [
      'a private key',
      { verification: upload([{ ...privateKey.export({ format: 'jwk' }), kid: 'a' }]) },
      'verification.jwks',
    ],
    [
      'a shared secret',
      { verification: upload([{ kty: 'oct', k: 'c2VjcmV0', kid: 'a' }]) },
      'verification.jwks',
    ],
    [
      'a key without an id',
      { verification: upload([{ ...publicJwk('a'), kid: undefined }]) },
      'verification.jwks',
    ],
    ['two keys of one id', { verification: upload([publicJwk('a'), publicJwk('a')]) }, 'verification.jwks'],
    [
      'a key for encryption',
      { verification: upload([{ ...publicJwk('a'), use: 'enc' }]) },
      'verification.jwks',
    ],
    ['no keys', { verification: upload([]) }, 'verification.jwks'],
    ['an issuer that is no address', { issuer: 'github' }, 'issuer'],
    ['an issuer without TLS', { issuer: 'http://issuer.example.com' }, 'issuer'],
    ['an issuer inside the network', { issuer: 'https://10.0.0.1' }, 'issuer'],
    ['the metadata service as issuer', { issuer: 'https://169.254.169.254' }, 'issuer'],
    ['an issuer with a query', { issuer: 'https://issuer.example.com/?a=1' }, 'issuer'],
    [
      'a discovery address inside the network',
      { verification: { type: 'discovery', discovery_url: 'https://127.0.0.1/x' } },
      'verification.discovery_url',
    ],
    [
      'an expression that is none',
      { attribute_transformations: derived('assertion.') },
      'attribute_transformations[0].expression',
    ],
    [
      'comprehensions in one another',
      { attribute_transformations: derived('assertion.a.exists(x, assertion.b.exists(y, x == y))') },
      'attribute_transformations[0].expression',
    ],
    [
      'an attribute outside its name',
      { attribute_transformations: [{ attribute: 'sub', expression: '"x"' }] },
      'attribute_transformations[0].attribute',
    ],
    [
      'an attribute derived twice',
      { attribute_transformations: [...derived('"x"'), ...derived('"y"')] },
      'attribute_transformations[1].attribute',
    ],
    ['another type', { type: 'saml' }, 'type'],
    ['an unknown field', { secret: 'x' }, 'secret'],
    ['an empty audience', { audience: '' }, 'audience'],
  ])('refuses %s, naming the field', async (_, fields, param) => {
    const body = { type: 'oidc', name: 'x', issuer: GITHUB, audience: 'a', ...fields };
    const reply = await plane.call('POST', PROVIDERS, { body });
    expect(reply.status).toBe(400);
    expect(errorOf(reply).param).toBe(param);
    expect(JSON.stringify(reply.body)).not.toContain('c2VjcmV0');
  });

  it('is closed to every key but an admin key', async () => {
    for (const method of ['GET', 'POST']) {
      const reply = await plane.call(method, PROVIDERS, {
        key: plane.projectKey,
        ...(method === 'POST' && { body: {} }),
      });
      expect(reply.status).toBe(403);
    }
  });
});

function upload(keys: unknown[]) {
  return { type: 'uploaded_jwks', jwks: { keys } };
}

/** Objects of one millisecond are listed by their id. */
function byPlace(ids: readonly string[]) {
  return (a: string, b: string) => ids.indexOf(a) - ids.indexOf(b);
}
