// Keys that are bound to a client's own key: the text of such a key alone opens nothing.

import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import OpenAI, { AuthenticationError } from 'openai';
import { fromX509 } from 'openai/auth/x509-transport';
import { Agent, fetch as undiciFetch } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dpopFetch, dpopThumbprint } from '../../src/client/dpop.ts';
import { digestKey } from '../../src/keys/format.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { certify, SERVER } from './authority.ts';
import { startFederated } from './federated.ts';

const ASK = { model: 'sandbox-small', messages: [{ role: 'user' as const, content: 'Say hello' }] };

interface ClientKey {
  readonly jwk: JWK;
  readonly privateJwk: JWK;
  readonly privateKey: CryptoKey;
  readonly jkt: string;
}

async function clientKey(alg = 'ES256'): Promise<ClientKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  return { jwk, privateJwk: await exportJWK(privateKey), privateKey, jkt: await calculateJwkThumbprint(jwk) };
}

describe('a key that is bound by DPoP', () => {
  let server: TestServer;
  let mine: ClientKey;
  let key: string;
  beforeAll(async () => {
    server = await startTestServer();
    mine = await clientKey();
    key = (await server.createKey({ name: 'bound', cnf: { jkt: mine.jkt } })).value;
  });
  afterAll(async () => {
    await server?.stop();
    server?.remove();
  });
  const url = () => `${server.url}/v1/models`;
  const call = async (dpop: string | null, over: { path?: string; method?: string; key?: string } = {}) => {
    const reply = await server.request(over.path ?? '/v1/models', {
      key: over.key ?? key,
      method: over.method ?? 'GET',
      headers: dpop === null ? {} : { dpop },
      ...(over.method === 'POST' && { body: JSON.stringify(ASK) }),
    });
    const body = (await reply.json()) as { error?: { code: string | null } };
    return { status: reply.status, code: body.error?.code ?? null };
  };
  const proof = async (
    over: {
      claims?: Record<string, unknown>;
      header?: Record<string, unknown>;
      by?: ClientKey;
      alg?: string;
    } = {},
  ) => {
    const by = over.by ?? mine;
    const claims: Record<string, unknown> = {
      jti: crypto.randomUUID(),
      htm: 'GET',
      htu: url(),
      iat: Math.floor(Date.now() / 1000),
      ath: Buffer.from(digestKey(key), 'latin1').toString('base64url'),
      ...over.claims,
    };
    for (const name of Object.keys(claims)) if (claims[name] === undefined) delete claims[name];
    return await new SignJWT(claims)
      .setProtectedHeader({ typ: 'dpop+jwt', alg: over.alg ?? 'ES256', jwk: by.jwk, ...over.header } as never)
      .sign(by.privateKey);
  };

  it('works for the official client with a fetch that signs, streams included', async () => {
    const client = new OpenAI({
      baseURL: `${server.url}/v1`,
      apiKey: key,
      maxRetries: 0,
      fetch: dpopFetch({ key: mine.privateJwk as { kty: string } }),
    });
    expect((await client.models.list()).data.length).toBeGreaterThan(0);
    expect((await client.chat.completions.create(ASK)).choices).toHaveLength(1);
    let text = '';
    for await (const chunk of await client.chat.completions.create({ ...ASK, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? '';
    }
    expect(text).not.toBe('');
  });

  it('is of no use to who has its text alone', async () => {
    const thief = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: key, maxRetries: 0 });
    const refused = await thief.models.list().then(
      () => null,
      (error: unknown) => error,
    );
    expect(refused).toBeInstanceOf(AuthenticationError);
    expect(refused).toMatchObject({ status: 401, code: 'dpop_proof_required' });
    const reply = await server.request('/v1/models', { key });
    expect(reply.headers.get('www-authenticate')).toMatch(/^DPoP error="invalid_dpop_proof"/);
  });

  it('is refused on the control plane and for metrics too, without a proof', async () => {
    expect(await call(null, { path: '/v1/keygate/whoami' })).toEqual({
      status: 401,
      code: 'dpop_proof_required',
    });
    const made = await server.admin('POST', '/v1/keygate/admin_api_keys', {
      name: 'a',
      cnf: { jkt: mine.jkt },
    });
    const adminKey = String(made.body['value']);
    for (const path of ['/v1/organization/projects', '/metrics']) {
      expect((await server.request(path, { key: adminKey })).status).toBe(401);
    }
    const client = new OpenAI({
      baseURL: `${server.url}/v1`,
      apiKey: null,
      adminAPIKey: adminKey,
      maxRetries: 0,
      fetch: dpopFetch({ key: mine.privateJwk as { kty: string } }),
    });
    expect((await client.admin.organization.projects.list()).data).toHaveLength(1);
  });

  it('takes a proof once', async () => {
    const once = await proof();
    expect((await call(once)).status).toBe(200);
    expect(await call(once)).toEqual({ status: 401, code: 'dpop_proof_required' });
    expect((await call(await proof())).status).toBe(200);
  });

  const now = () => Math.floor(Date.now() / 1000);
  const attacks: [string, () => Promise<string>][] = [
    ['of another method', () => proof({ claims: { htm: 'POST' } })],
    ['for another path', () => proof({ claims: { htu: `${server.url}/v1/chat/completions` } })],
    ['for another host', () => proof({ claims: { htu: 'https://evil.test/v1/models' } })],
    ['for another scheme', () => proof({ claims: { htu: url().replace('http:', 'https:') } })],
    ['of five minutes ago', () => proof({ claims: { iat: now() - 300 } })],
    ['of five minutes ahead', () => proof({ claims: { iat: now() + 300 } })],
    ['without a time', () => proof({ claims: { iat: undefined } })],
    ['without an id', () => proof({ claims: { jti: undefined } })],
    ['for another API key', () => proof({ claims: { ath: Buffer.alloc(32).toString('base64url') } })],
    ['for no API key', () => proof({ claims: { ath: undefined } })],
    ['by another key', async () => proof({ by: await clientKey() })],
    [
      'with my key in the header and signed by another',
      async () => proof({ by: { ...(await clientKey()), jwk: mine.jwk } }),
    ],
    ['of another type', () => proof({ header: { typ: 'jwt' } })],
    ['that brings its private key along', () => proof({ header: { jwk: mine.privateJwk } })],
    ['without a key', () => proof({ header: { jwk: undefined } })],
    [
      'by a shared secret',
      async () =>
        new SignJWT({ jti: 'x', htm: 'GET', htu: url() })
          .setProtectedHeader({ typ: 'dpop+jwt', alg: 'HS256', jwk: mine.jwk } as never)
          .setIssuedAt()
          .sign(new TextEncoder().encode('a shared secret of enough length.')),
    ],
    ['that is none', async () => 'x.y.z'],
    ['of great length', async () => `${'a'.repeat(9000)}.b.c`],
  ];
  it.each(attacks)('refuses a proof %s', async (_, make) => {
    expect(await call(await make())).toEqual({ status: 401, code: 'dpop_proof_required' });
  });

  it('refuses two proofs in one request', async () => {
    const [one, two] = [await proof(), await proof()];
    const { request } = await import('node:http');
    const status = await new Promise<number>((resolve, reject) => {
      const sent = request(
        url(),
        {
          headers: [
            'host',
            new URL(url()).host,
            'authorization',
            `Bearer ${key}`,
            'dpop',
            one,
            'dpop',
            two,
          ] as never,
        },
        (reply) => {
          reply.resume();
          resolve(reply.statusCode ?? 0);
        },
      );
      sent.on('error', reject);
      sent.end();
    });
    expect(status).toBe(401);
  });

  it('says what it is bound to, and refuses what is no thumbprint by name', async () => {
    const listed = await server.admin('GET', `/v1/keygate/projects/${server.projectId}/api_keys`);
    expect(JSON.stringify(listed.body)).toContain(JSON.stringify({ jkt: mine.jkt }));
    const path = `/v1/keygate/projects/${server.projectId}/api_keys`;
    for (const cnf of [{ jkt: 'short' }, {}, { jkt: mine.jkt, 'x5t#S256': mine.jkt }, { jwk: {} }, 'x']) {
      const reply = await server.admin('POST', path, { name: 'x', cnf });
      expect(reply.status).toBe(400);
      expect(JSON.stringify(reply.body)).toMatch(/"param":"cnf/);
    }
  });

  it('stays bound when it is read again from the store', async () => {
    await server.stop();
    const again = await startTestServer({ dataDir: server.dataDir });
    try {
      expect((await again.request('/v1/models', { key })).status).toBe(401);
      const client = new OpenAI({
        baseURL: `${again.url}/v1`,
        apiKey: key,
        maxRetries: 0,
        fetch: dpopFetch({ key: mine.privateJwk as { kty: string } }),
      });
      expect((await client.models.list()).data.length).toBeGreaterThan(0);
    } finally {
      await again.stop();
    }
  });
});

describe('the fetch that signs', () => {
  it('takes a JWK or a PEM from a file, of P-256 or Ed25519, and no other', () => {
    const dir = mkdtempSync(join(tmpdir(), 'keygate-dpop-'));
    try {
      const ed = generateKeyPairSync('ed25519').privateKey;
      const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
      const file = join(dir, 'key');
      for (const key of [ed, ec]) {
        writeFileSync(file, JSON.stringify(key.export({ format: 'jwk' })));
        const asJwk = dpopThumbprint(file);
        writeFileSync(file, key.export({ format: 'pem', type: 'pkcs8' }));
        expect(dpopThumbprint(file)).toBe(asJwk);
        expect(() => dpopFetch({ key: file })).not.toThrow();
      }
      const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
      expect(() => dpopFetch({ key: rsa.export({ format: 'jwk' }) as { kty: string } })).toThrow(TypeError);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it('follows a server that wants a nonce of its own, and no proof without one is taken', async () => {
    const server = await startTestServer({ env: { KEYGATE_DPOP_NONCE: 'on' } });
    try {
      const mine = await clientKey('Ed25519');
      const { value } = await server.createKey({ name: 'bound', cnf: { jkt: mine.jkt } });
      const replies: number[] = [];
      const client = new OpenAI({
        baseURL: `${server.url}/v1`,
        apiKey: value,
        maxRetries: 0,
        fetch: dpopFetch({
          key: { ...(mine.privateJwk as { kty: string }) },
          fetch: async (...sent) => {
            const reply = await fetch(...sent);
            replies.push(reply.status);
            return reply;
          },
        }),
      });
      await client.models.list();
      await client.chat.completions.create(ASK);
      expect(replies).toEqual([401, 200, 200]);
    } finally {
      await server.stop();
      server.remove();
    }
  });
});

it('is reached under the name that the administrator gives, whatever the request says', async () => {
  const server = await startTestServer({ env: { KEYGATE_PUBLIC_URL: 'https://keygate.example.com' } });
  try {
    const mine = await clientKey();
    const { value } = await server.createKey({ name: 'bound', cnf: { jkt: mine.jkt } });
    const ask = async (htu: string) => {
      const signed = await new SignJWT({
        jti: crypto.randomUUID(),
        htm: 'GET',
        htu,
        ath: Buffer.from(digestKey(value), 'latin1').toString('base64url'),
      })
        .setIssuedAt()
        .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: mine.jwk } as never)
        .sign(mine.privateKey);
      return (await server.request('/v1/models', { key: value, headers: { dpop: signed } })).status;
    };
    expect(await ask('https://keygate.example.com/v1/models')).toBe(200);
    expect(await ask(`${server.url}/v1/models`)).toBe(401);
  } finally {
    await server.stop();
    server.remove();
  }
});

it('binds an access token to the key of a proof at the token endpoint', async () => {
  const world = await startFederated();
  try {
    const mine = await clientKey();
    const prove = async (htm: string, htu: string, key: string | null) =>
      await new SignJWT({
        jti: crypto.randomUUID(),
        htm,
        htu,
        ...(key !== null && { ath: Buffer.from(digestKey(key), 'latin1').toString('base64url') }),
      })
        .setIssuedAt()
        .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: mine.jwk } as never)
        .sign(mine.privateKey);
    const body = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: await world.issuer.token(),
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      identity_provider_id: world.providerId,
      service_account_id: world.accountId,
    };
    const issued = await world.exchange(body, {
      dpop: await prove('POST', `${world.server.url}/oauth/token`, null),
    });
    expect(issued.body['token_type']).toBe('DPoP');
    const token = String(issued.body['access_token']);
    const status = async (dpop: string | null) =>
      (await world.server.request('/v1/models', { key: token, headers: dpop === null ? {} : { dpop } }))
        .status;
    expect(await status(null)).toBe(401);
    expect(await status(await prove('GET', `${world.server.url}/v1/models`, token))).toBe(200);
    expect((await world.exchange(body, { dpop: 'x.y.z' })).body['error']).toBe('invalid_dpop_proof');
  } finally {
    await world.close();
  }
});

/** A CONNECT proxy that leads every address to one port of this machine. */
async function startProxy(port: number) {
  const asked: string[] = [];
  const server = createServer();
  server.on('connect', (request, client: Socket) => {
    asked.push(request.url ?? '');
    const target = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.pipe(client);
      client.pipe(target);
    });
    for (const socket of [client, target])
      socket.on('error', () => [client, target].map((one) => one.destroy()));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

describe('a client certificate', () => {
  it('is what a key can be bound to, and what becomes a token, with no key at all', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'keygate-bound-'));
    const serverAuthority = await certify({ name: 'Server authority', authority: true });
    const shown = await certify({
      name: 'server',
      by: serverAuthority,
      usages: [SERVER],
      ip: true,
      dns: ['mtls.auth.openai.com', 'mtls.api.openai.com'],
    });
    writeFileSync(join(dir, 'cert.pem'), shown.pem);
    writeFileSync(join(dir, 'key.pem'), shown.keyPem);
    const server = await startTestServer({
      env: { KEYGATE_TLS_CERT: join(dir, 'cert.pem'), KEYGATE_TLS_KEY: join(dir, 'key.pem') },
    });
    const root = await certify({ name: 'Root', authority: true });
    const worker = await certify({ name: 'worker', unit: 'batch', by: root, uri: 'spiffe://acme/worker' });
    const other = await certify({ name: 'other', unit: 'batch', by: root });
    const ca = serverAuthority.pem;
    const agents = {
      none: new Agent({ connect: { ca } }),
      worker: new Agent({ connect: { ca, cert: worker.pem, key: worker.keyPem } }),
      other: new Agent({ connect: { ca, cert: other.pem, key: other.keyPem } }),
    };
    const ask = async (agent: Agent, key: string, path: string, body?: unknown) => {
      const reply = await undiciFetch(server.url + path, {
        dispatcher: agent,
        method: body === undefined ? 'GET' : 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
    };
    const admin = async (path: string, body: unknown) => {
      const reply = await ask(agents.none, server.adminKey, path, body);
      if (reply.status !== 200) throw new Error(JSON.stringify(reply.body));
      return reply.body;
    };
    try {
      const thumbprint = Buffer.from(
        new X509Certificate(worker.pem).fingerprint256.replaceAll(':', ''),
        'hex',
      ).toString('base64url');
      const bound = await admin(`/v1/keygate/projects/${server.projectId}/api_keys`, {
        name: 'bound',
        cnf: { 'x5t#S256': thumbprint },
      });
      const key = String(bound['value']);
      expect((await ask(agents.worker, key, '/v1/models')).status).toBe(200);
      for (const agent of [agents.none, agents.other]) {
        const refused = await ask(agent, key, '/v1/models');
        expect([refused.status, (refused.body['error'] as { code: string }).code]).toEqual([
          401,
          'key_bound_to_certificate',
        ]);
      }

      // X.509 federation: an authority of the project, a provider that derives who it is, and a rule.
      const { id } = await admin('/v1/organization/certificates', { certificate: root.pem });
      await admin(`/v1/organization/projects/${server.projectId}/certificates/activate`, {
        certificate_ids: [id],
      });
      const account = await admin(`/v1/organization/projects/${server.projectId}/service_accounts`, {
        name: 'w',
      });
      const provider = await admin('/v1/keygate/workload_identity_providers', {
        type: 'x509',
        name: 'Certificates',
        attribute_transformations: [
          { attribute: 'openai.subject', expression: 'assertion.subject.common_name' },
          { attribute: 'openai.unit', expression: 'assertion.subject.organizational_unit' },
          { attribute: 'openai.spiffe', expression: 'assertion.subject_alternative_names.uri[0]' },
        ],
      });
      await admin(`/v1/organization/workload_identity_providers/${provider['id']}/federation_rules`, {
        project_id: server.projectId,
        service_account_id: account['id'],
        attribute_matchers: {
          'openai.subject': 'worker',
          'openai.unit': 'batch',
          'openai.spiffe': 'spiffe://acme/worker',
        },
      });

      // The client's two addresses are fixed in it: a proxy, as it takes one, leads them to this server.
      const proxy = await startProxy(Number(new URL(server.url).port));
      const credential = fromX509({
        certificateChain: worker.pem,
        privateKey: worker.keyPem,
        identityProviderId: String(provider['id']),
        serviceAccountId: String(account['id']),
        ca,
        proxy: { url: proxy.url, mode: 'http-connect' },
      });
      const client = new OpenAI({ credential, maxRetries: 0 });
      expect((await client.chat.completions.create(ASK)).choices).toHaveLength(1);
      expect(proxy.asked).toEqual(['mtls.auth.openai.com:443', 'mtls.api.openai.com:443']);
      await credential.close();
      await proxy.close();

      const exchange = (agent: Agent) =>
        ask(agent, 'x', '/oauth/token', {
          grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
          subject_token_type: 'urn:openai:params:oauth:token-type:x509',
          identity_provider_id: provider['id'],
          service_account_id: account['id'],
        });
      const issued = await exchange(agents.worker);
      expect(issued.status).toBe(200);
      const token = String(issued.body['access_token']);
      expect((await ask(agents.worker, token, '/v1/models')).status).toBe(200);
      expect((await ask(agents.other, token, '/v1/models')).status).toBe(401);
      expect((await exchange(agents.other)).body['error']).toBe('invalid_grant');
      expect((await exchange(agents.none)).body['error']).toBe('invalid_grant');
    } finally {
      await Promise.all(Object.values(agents).map((agent) => agent.destroy()));
      await server.stop();
      server.remove();
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
