// Workload identity through a whole server: the unmodified official client signs in with a CI system's token and calls
// the API, and everything that is not such a token is refused without a word about why.

import { generateKeyPairSync } from 'node:crypto';
import { SignJWT, UnsecuredJWT } from 'jose';
import { AuthenticationError, OAuthError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { identityPart } from '../../src/identity/control-part.ts';
import { AccessTokens } from '../../src/identity/tokens/access-tokens.ts';
import { Exchange } from '../../src/identity/workload/exchange.ts';
import { IssuerKeys } from '../../src/identity/workload/issuer-keys.ts';
import { outgoing } from '../../src/platform/outgoing.ts';
import { openPlane } from '../access/plane.ts';
import { type StoreKind, stores } from '../store/stores.ts';
import { EXCHANGE, type Federated, JWT, startFederated, workloadClient } from './federated.ts';
import { AUDIENCE, makeKey, SUBJECT } from './issuer.ts';

const ASK = { model: 'sandbox-small', messages: [{ role: 'user' as const, content: 'Say hello' }] };

describe('workload identity', () => {
  let world: Federated;
  beforeAll(async () => {
    world = await startFederated();
  });
  afterAll(async () => {
    await world?.close();
  });
  const rulePath = () =>
    `/v1/organization/workload_identity_providers/${world.providerId}/federation_rules/${world.ruleId}`;
  const providerPath = () => `/v1/organization/workload_identity_providers/${world.providerId}`;
  const tokenOf = async () => {
    const { body, status } = await world.exchangeToken(await world.issuer.token());
    expect(status).toBe(200);
    return String(body['access_token']);
  };
  const works = async (token: string) =>
    (
      await world.server.request('/v1/chat/completions', {
        method: 'POST',
        key: token,
        body: JSON.stringify(ASK),
      })
    ).status;

  it('lets the official client call the API with no key at all', async () => {
    const urls: string[] = [];
    const client = workloadClient(
      world,
      () => world.issuer.token(),
      (url) => urls.push(new URL(url).pathname),
    );
    const completion = await client.chat.completions.create(ASK);
    expect(completion.choices[0]?.message.content).toBeTruthy();
    const stream = await client.chat.completions.create({ ...ASK, stream: true });
    let text = '';
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    expect(text).not.toBe('');
    // One exchange serves both calls.
    expect(urls).toEqual(['/oauth/token', '/v1/chat/completions', '/v1/chat/completions']);
  });

  it('gives a token for no longer than the proof, in the form that RFC 8693 says', async () => {
    const now = Math.floor(Date.now() / 1000);
    const reply = await world.exchangeToken(await world.issuer.token({ claims: { exp: now + 120 } }));
    expect(reply.body).toEqual({
      access_token: expect.stringMatching(/^sk-wif-[\w.-]+$/),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: expect.any(Number),
    });
    expect(reply.body['expires_in']).toBeGreaterThan(110);
    expect(reply.body['expires_in']).toBeLessThanOrEqual(120);
    expect(reply.headers.get('cache-control')).toBe('no-store');
    const long = await world.exchangeToken(await world.issuer.token({ claims: { exp: now + 20_000 } }));
    expect(long.body['expires_in']).toBe(3600);
  });

  it('acts as the service account, in the project, under one id for all of its tokens', async () => {
    const token = await tokenOf();
    const reply = await world.server.request('/v1/keygate/whoami', { key: token });
    expect(await reply.json()).toMatchObject({
      organization_id: world.server.organizationId,
      project_id: world.server.projectId,
      api_key_id: world.ruleId,
      owner: { type: 'service_account', id: world.accountId },
    });
    const admin = await world.server.request('/v1/organization/projects', { key: token });
    expect(admin.status).toBe(403);
  });

  it('takes a form as well as JSON', async () => {
    const form = new URLSearchParams({
      grant_type: EXCHANGE,
      subject_token: await world.issuer.token(),
      subject_token_type: JWT,
      identity_provider_id: world.providerId,
      service_account_id: world.accountId,
      scope: 'everything',
    });
    const reply = await world.exchange(form.toString(), {
      'content-type': 'application/x-www-form-urlencoded',
    });
    expect(reply.status).toBe(200);
    const twice = await world.exchange(`${form}&service_account_id=svc_acct_other`, {
      'content-type': 'application/x-www-form-urlencoded',
    });
    expect(twice.body).toMatchObject({ error: 'invalid_request' });
  });

  it('finds a new key of the issuer, and asks for key sets at a bounded rate', async () => {
    const before = world.issuer.fetched;
    for (let n = 0; n < 10; n++) {
      const foreign = await makeKey(`invented-${n}`);
      expect((await world.exchangeToken(await world.issuer.token({ key: foreign }))).body['error']).toBe(
        'invalid_grant',
      );
    }
    expect(world.issuer.fetched - before).toBeLessThanOrEqual(1);
  });

  describe('ends tokens at once', () => {
    const ended = async (token: string) => {
      expect(await works(token)).toBe(401);
      const back = await world.server.request('/v1/keygate/whoami', { key: token });
      expect(((await back.json()) as { error: { code: string } }).error.code).toBe('invalid_api_key');
    };

    it('when the rule is switched off, and gives them back when it is on again', async () => {
      const token = await tokenOf();
      expect(await works(token)).toBe(200);
      await world.server.admin('POST', rulePath(), { enabled: false });
      await ended(token);
      expect((await world.exchangeToken(await world.issuer.token())).status).toBe(400);
      await world.server.admin('POST', rulePath(), { enabled: true });
      expect(await works(token)).toBe(200);
    });

    it('when the provider is switched off', async () => {
      const token = await tokenOf();
      await world.server.admin('POST', providerPath(), { enabled: false });
      await ended(token);
      await world.server.admin('POST', providerPath(), { enabled: true });
    });

    it('when what they had to match changes, for good', async () => {
      const token = await tokenOf();
      await world.server.admin('POST', rulePath(), { attribute_matchers: { repository: 'acme/other' } });
      await ended(token);
      await world.server.admin('POST', rulePath(), { attribute_matchers: { repository: 'acme/app' } });
      await ended(token);
      expect(await works(await tokenOf())).toBe(200);
    });

    it('when the scopes shrink', async () => {
      const token = await tokenOf();
      await world.server.admin('POST', rulePath(), {
        permissions: { type: 'restricted', scopes: ['api.model.read'] },
      });
      expect(await works(token)).toBe(403);
      await world.server.admin('POST', rulePath(), { permissions: { type: 'service_account_default' } });
      expect(await works(token)).toBe(200);
    });

    it('when one character of them is another', async () => {
      const token = await tokenOf();
      for (let at = 7; at < token.length; at += 11) {
        const other = token[at] === 'A' ? 'B' : 'A';
        expect(await works(token.slice(0, at) + other + token.slice(at + 1))).toBe(401);
      }
      expect(await works(`${token}.`)).toBe(401);
      expect(await works(`sk-wif-${'a'.repeat(3000)}`)).toBe(401);
    });
  });
});

describe('workload identity refuses', () => {
  let world: Federated;
  beforeAll(async () => {
    world = await startFederated({ server: { env: { KEYGATE_TRUSTED_PROXIES: '127.0.0.1' } } });
    await world.issuer.newKey('rsa', 'RS256');
  });
  afterAll(async () => {
    await world?.close();
  });
  const now = () => Math.floor(Date.now() / 1000);

  /** Attack, the token, and the reason that the audit log must hold. */
  const attacks: [string, () => Promise<string>, string][] = [
    [
      'another audience',
      () => world.issuer.token({ claims: { aud: 'https://other.test' } }),
      'aud_check_failed',
    ],
    ['no audience', () => world.issuer.token({ claims: { aud: undefined } }), 'aud_missing'],
    [
      'another issuer',
      () => world.issuer.token({ claims: { iss: 'https://evil.test' } }),
      'iss_check_failed',
    ],
    [
      'the issuer with a slash more',
      () => world.issuer.token({ claims: { iss: `${world.issuer.url}/` } }),
      'iss_check_failed',
    ],
    [
      'an expired token',
      () => world.issuer.token({ claims: { exp: now() - 5, iat: now() - 600 } }),
      'token_expired',
    ],
    ['a token without an end', () => world.issuer.token({ claims: { exp: undefined } }), 'exp_missing'],
    [
      'a token that lives for a year',
      () => world.issuer.token({ claims: { exp: now() + 31_536_000 } }),
      'token_lives_too_long',
    ],
    [
      'a token of tomorrow',
      () => world.issuer.token({ claims: { iat: now() + 86_400, exp: now() + 86_700 } }),
      'token_not_yet_valid',
    ],
    [
      'a token that is not valid yet',
      () => world.issuer.token({ claims: { nbf: now() + 200 } }),
      'nbf_check_failed',
    ],
    ['a token without a subject', () => world.issuer.token({ claims: { sub: undefined } }), 'sub_missing'],
    [
      'another repository',
      () => world.issuer.token({ claims: { repository: 'evil/app' } }),
      'no_rule_matches',
    ],
    [
      'a claim of another type',
      () => world.issuer.token({ claims: { repository: ['acme/app'] } }),
      'no_rule_matches',
    ],
    [
      'a derived attribute as a claim',
      () => world.issuer.token({ claims: { ref: 'refs/heads/evil', 'openai.branch': 'main' } }),
      'no_rule_matches',
    ],
    [
      'alg none',
      async () =>
        new UnsecuredJWT({ repository: 'acme/app' })
          .setIssuer(world.issuer.url)
          .setAudience(AUDIENCE)
          .setSubject(SUBJECT)
          .setIssuedAt()
          .setExpirationTime('5m')
          .encode(),
      'alg_not_allowed',
    ],
    ['the public key as an HMAC secret', () => confused(), 'alg_not_allowed'],
    [
      'a signature by a key of its own, under a known id',
      async () => world.issuer.token({ key: { ...(await makeKey('first')) } }),
      'signature_wrong',
    ],
    ['an unknown key id', async () => world.issuer.token({ key: await makeKey('nobody') }), 'kid_unknown'],
    ['no key id', () => world.issuer.token({ header: { kid: undefined as never } }), 'kid_missing'],
    [
      'a key id that is a path',
      async () => world.issuer.token({ key: await makeKey('../../../dev/null') }),
      'kid_unknown',
    ],
    [
      'the id of a key of another algorithm',
      async () => world.issuer.token({ header: { kid: 'rsa' } }),
      'alg_of_another_key',
    ],
    [
      'a key of its own in the header (jwk)',
      async () => {
        const key = await makeKey('first');
        return world.issuer.token({ key, header: { jwk: key.jwk } });
      },
      'signature_wrong',
    ],
    [
      'a key set of its own in the header (jku)',
      async () =>
        world.issuer.token({ key: await makeKey('first'), header: { jku: 'http://127.0.0.1:1/keys' } }),
      'signature_wrong',
    ],
    [
      'a critical extension',
      async () =>
        new SignJWT({ sub: SUBJECT })
          .setProtectedHeader({ alg: 'ES256', kid: 'first', crit: ['x'], x: 1 } as never)
          .sign((await makeKey('first')).privateKey, { crit: { x: true } }),
      'token_malformed',
    ],
    [
      'a proof of another kind (dpop+jwt)',
      () => world.issuer.token({ header: { typ: 'dpop+jwt' } }),
      'token_type_not_allowed',
    ],
    ['no token at all', async () => 'not.a.token', 'token_malformed'],
    [
      'two tokens in one',
      async () => `${await world.issuer.token()}.${await world.issuer.token()}`,
      'token_malformed',
    ],
  ];

  async function confused(): Promise<string> {
    const [key] = world.issuer.keys;
    const secret = new TextEncoder().encode(JSON.stringify(key?.jwk));
    return await new SignJWT({ repository: 'acme/app', ref: 'refs/heads/main' })
      .setProtectedHeader({ alg: 'HS256', kid: 'first' })
      .setIssuer(world.issuer.url)
      .setAudience(AUDIENCE)
      .setSubject(SUBJECT)
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(secret);
  }

  it('every token of the list of attacks alike, and says why in the audit log only', async () => {
    const lab = await openLab(world);
    for (const [at, [attack, make, reason]] of attacks.entries()) {
      const token = await make();
      const body = {
        grant_type: EXCHANGE,
        subject_token: token,
        subject_token_type: JWT,
        identity_provider_id: world.providerId,
        service_account_id: world.accountId,
      };
      // Each from an address of its own, so that none is refused for the ones before it.
      const reply = await world.exchange(body, { 'x-forwarded-for': `198.51.100.${at}` });
      expect([attack, reply.status, reply.body]).toEqual([
        attack,
        400,
        { error: 'invalid_grant', error_description: 'The proof of identity was not accepted.' },
      ]);
      expect([attack, await lab.reasonFor(token)]).toEqual([attack, reason]);
    }
    await lab.close();
    expect((await world.exchangeToken(await world.issuer.token())).status).toBe(200);
  });

  it('parameters that it does not know, that stand twice, or that are missing', async () => {
    const subject_token = await world.issuer.token();
    const good = {
      grant_type: EXCHANGE,
      subject_token,
      subject_token_type: JWT,
      identity_provider_id: world.providerId,
      service_account_id: world.accountId,
    };
    const invalid: [unknown, string][] = [
      [{ ...good, audience: 'x' }, 'invalid_request'],
      [{ ...good, actor_token: 'x' }, 'invalid_request'],
      [{ ...good, grant_type: 'password' }, 'unsupported_grant_type'],
      [{ ...good, grant_type: undefined }, 'invalid_request'],
      [{ ...good, subject_token: undefined }, 'invalid_request'],
      [{ ...good, subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }, 'invalid_request'],
      [{ ...good, service_account_id: { $ne: '' } }, 'invalid_request'],
      [`${JSON.stringify(good).slice(0, -1)},"service_account_id":"svc_acct_x"}`, 'invalid_request'],
      ['[]', 'invalid_request'],
      ['{"grant_type":', 'invalid_request'],
      [{ ...good, subject_token: 'a'.repeat(20_000) }, 'invalid_request'],
      [{ ...good, subject_token: 'a'.repeat(100_000) }, 'invalid_request'],
    ];
    for (const [body, error] of invalid) {
      const reply = await world.exchange(body as never);
      expect([body, reply.status, reply.body['error']]).toEqual([body, 400, error]);
      expect(JSON.stringify(reply.body)).not.toContain(subject_token);
    }
    expect((await world.exchange(JSON.stringify(good), { 'content-type': 'text/plain' })).status).toBe(400);
    expect((await fetch(`${world.server.url}/oauth/token`)).status).toBe(405);
    expect((await fetch(`${world.server.url}/oauth/authorize`)).status).toBe(404);
  });
});

/** An exchange of its own over a fresh store, to see what its audit log is told of a token. */
async function openLab({ issuer }: Federated) {
  const plane = await openPlane(SQLITE, (deps) => [
    identityPart({ ...deps, outgoing: outgoing({ allowPrivate: ['127.0.0.1'] }) }),
  ]);
  plane.clock.step(Date.now() - plane.clock.now());
  const { projects, workloadIdentityProviders } = plane.admin.admin.organization;
  const { id: accountId } = await projects.serviceAccounts.create(plane.projectId, { name: 'ci' });
  const provider = await workloadIdentityProviders.create({
    type: 'oidc',
    name: 'CI',
    issuer: issuer.url,
    audience: AUDIENCE,
    attribute_transformations: [{ attribute: 'openai.branch', expression: 'assertion.ref.split("/")[2]' }],
    verification: { type: 'uploaded_jwks', jwks: { keys: issuer.keys.map(({ jwk }) => jwk) } },
  });
  await workloadIdentityProviders.federationRules.create(provider.id, {
    project_id: plane.projectId,
    service_account_id: accountId,
    attribute_matchers: { repository: 'acme/app', 'openai.branch': 'main' },
  });
  const { store, clock, registry } = plane;
  const exchange = new Exchange({
    store,
    clock,
    tokens: new AccessTokens({ store, clock, project: (id) => registry.projectState(id) }),
    issuers: new IssuerKeys(outgoing({ allowPrivate: [] }), clock),
    lifetimeSeconds: 3600,
    onError: (error: unknown) => {
      throw error;
    },
  });
  return {
    async reasonFor(token: string): Promise<unknown> {
      // Room in the log for each, by a clock that passes while its wall stands still.
      clock.advance(10_000);
      clock.step(Date.now() - clock.now());
      await exchange.exchange({
        providerId: provider.id,
        serviceAccountId: accountId,
        proof: { type: 'oidc', token },
        confirmation: null,
        address: '192.0.2.9',
      });
      const row = await store.db
        .selectFrom('audit_log')
        .select(['payload', 'actor'])
        .where('type', '=', 'access_token.refused')
        .orderBy('seq', 'desc')
        .executeTakeFirstOrThrow();
      expect(row.payload).not.toContain(token);
      expect(JSON.parse(row.actor)).toMatchObject({ provider_id: provider.id, ip_address: '192.0.2.9' });
      return JSON.parse(row.payload).data.reason;
    },
    close: () => plane.close(),
  };
}

const [SQLITE] = stores as readonly [StoreKind, ...StoreKind[]];

it('makes the official client raise the errors that its users expect', async () => {
  const world = await startFederated();
  try {
    const evil = workloadClient(world, () => world.issuer.token({ claims: { repository: 'evil/app' } }));
    const refused = evil.models.list().then(
      () => null,
      (error: unknown) => error,
    );
    expect(await refused).toBeInstanceOf(OAuthError);
    expect(await refused).toMatchObject({ status: 400, error_code: 'invalid_grant' });
    // A rule that goes away ends the client's token; the client exchanges once more and then says so.
    const client = workloadClient(world, () => world.issuer.token());
    await client.models.list();
    await world.server.admin(
      'DELETE',
      `/v1/organization/workload_identity_providers/${world.providerId}/federation_rules/${world.ruleId}`,
    );
    const gone = await client.models.list().then(
      () => null,
      (error: unknown) => error,
    );
    expect(gone instanceof OAuthError || gone instanceof AuthenticationError).toBe(true);
  } finally {
    await world.close();
  }
});

it('ends tokens with their service account, and with their project', async () => {
  for (const end of ['service account', 'project'] as const) {
    const world = await startFederated();
    try {
      const made = await world.server.admin('POST', '/v1/organization/projects', { name: 'Short' });
      const projectId = String(made.body['id']);
      const accounts = `/v1/organization/projects/${projectId}/service_accounts`;
      const account = String((await world.server.admin('POST', accounts, { name: 'ci' })).body['id']);
      const rules = `/v1/organization/workload_identity_providers/${world.providerId}/federation_rules`;
      await world.server.admin('POST', rules, {
        project_id: projectId,
        service_account_id: account,
        attribute_matchers: { repository: 'acme/app' },
      });
      const issued = await world.exchangeToken(await world.issuer.token(), { service_account_id: account });
      const token = String(issued.body['access_token']);
      const status = async () => (await world.server.request('/v1/models', { key: token })).status;
      expect(await status()).toBe(200);
      if (end === 'project')
        await world.server.admin('POST', `/v1/organization/projects/${projectId}/archive`);
      else await world.server.admin('DELETE', `${accounts}/${account}`);
      expect(await status()).toBe(401);
      const again = await world.exchangeToken(await world.issuer.token(), { service_account_id: account });
      expect(again.status).toBe(400);
    } finally {
      await world.close();
    }
  }
});

it('says "try again" when the issuer is down, and goes on for a while with the keys that it has', async () => {
  const world = await startFederated();
  try {
    world.issuer.down = true;
    const reply = await world.exchangeToken(await world.issuer.token());
    expect([reply.status, reply.body['error']]).toEqual([503, 'temporarily_unavailable']);
    expect(reply.headers.get('retry-after')).toBe('1');
  } finally {
    await world.close();
  }
});

it('does not take keys from a discovery document that speaks for another issuer', async () => {
  const world = await startFederated();
  try {
    world.issuer.claimedIssuer = 'https://token.actions.githubusercontent.com';
    expect((await world.exchangeToken(await world.issuer.token())).status).toBe(503);
  } finally {
    await world.close();
  }
});

it('slows an address down that is refused again and again, and nobody who is not', async () => {
  const world = await startFederated();
  try {
    let status = 0;
    for (let n = 0; n < 25 && status !== 429; n++) status = (await world.exchange({})).status;
    expect(status).toBe(429);
  } finally {
    await world.close();
  }
});

it('keeps a token over a restart, and takes no token of another installation', async () => {
  const world = await startFederated();
  const { dataDir } = world.server;
  const { body } = await world.exchangeToken(await world.issuer.token());
  const token = String(body['access_token']);
  const other = await startFederated();
  try {
    expect((await other.server.request('/v1/models', { key: token })).status).toBe(401);
    await world.server.stop();
    const { startTestServer } = await import('../harness/server.ts');
    const again = await startTestServer({ dataDir });
    try {
      expect((await again.request('/v1/models', { key: token })).status).toBe(200);
    } finally {
      await again.stop();
    }
  } finally {
    await other.close();
    await world.close();
  }
});

it('keeps no private key and no token at rest', async () => {
  const world = await startFederated();
  const { body } = await world.exchangeToken(await world.issuer.token());
  await world.server.stop();
  try {
    const { readdirSync, readFileSync } = await import('node:fs');
    const { join } = await import('node:path');
    const signature = String(body['access_token']).split('.').at(-1) ?? '';
    const pkcs8 = generateKeyPairSync('ed25519')
      .privateKey.export({ format: 'der', type: 'pkcs8' })
      .subarray(0, 16);
    for (const name of readdirSync(world.server.dataDir, { recursive: true, withFileTypes: true })) {
      if (!name.isFile()) continue;
      const bytes = readFileSync(join(name.parentPath, name.name));
      expect(bytes.includes(signature)).toBe(false);
      expect(bytes.includes(pkcs8) || bytes.includes(pkcs8.toString('base64').slice(0, 20))).toBe(false);
    }
    expect(world.server.log.join('\n')).not.toContain(signature);
  } finally {
    await world.close();
  }
});
