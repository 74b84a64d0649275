// A small OIDC issuer for tests: discovery, a key set that can be rotated, and tokens with any header and claims.

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
} from 'jose';

export interface IssuerKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

export interface TokenOptions {
  readonly key?: IssuerKey;
  readonly header?: Partial<JWTHeaderParameters> & Record<string, unknown>;
  /** Laid over the ordinary claims; undefined removes one. */
  readonly claims?: Record<string, unknown>;
}

export interface TestIssuer {
  readonly url: string;
  readonly keys: IssuerKey[];
  /** How often the key set was asked for. */
  fetched: number;
  /** Answers 500 while it is set. */
  down: boolean;
  /** What the discovery document says instead of the issuer's own address. */
  claimedIssuer: string | null;
  newKey(kid: string, alg?: string): Promise<IssuerKey>;
  token(options?: TokenOptions): Promise<string>;
  close(): Promise<void>;
}

export const AUDIENCE = 'https://keygate.test';
export const SUBJECT = 'repo:acme/app:ref:refs/heads/main';

export async function startIssuer(): Promise<TestIssuer> {
  const keys: IssuerKey[] = [];
  const server: Server = createServer((request, response) => {
    const reply = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    if (issuer.down) return reply(500, {});
    if (request.url === '/.well-known/openid-configuration') {
      return reply(200, { issuer: issuer.claimedIssuer ?? issuer.url, jwks_uri: `${issuer.url}/keys` });
    }
    if (request.url !== '/keys') return reply(404, {});
    issuer.fetched += 1;
    reply(200, { keys: keys.map(({ jwk }) => jwk) });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const issuer: TestIssuer = {
    url: `http://127.0.0.1:${port}`,
    keys,
    fetched: 0,
    down: false,
    claimedIssuer: null,
    async newKey(kid, alg = 'ES256') {
      const key = await makeKey(kid, alg);
      keys.push(key);
      return key;
    },
    token: (options = {}) => token(issuer, options),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  await issuer.newKey('first');
  return issuer;
}

export async function makeKey(kid: string, alg = 'ES256'): Promise<IssuerKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

async function token(issuer: TestIssuer, options: TokenOptions): Promise<string> {
  const key = options.key ?? issuer.keys[0];
  if (key === undefined) throw new Error('The issuer has no key.');
  const now = Math.floor(Date.now() / 1000);
  const claims: JWTPayload = {
    iss: issuer.url,
    aud: AUDIENCE,
    sub: SUBJECT,
    iat: now,
    exp: now + 300,
    jti: crypto.randomUUID(),
    repository: 'acme/app',
    ref: 'refs/heads/main',
    run_number: 7,
    protected: true,
    ...options.claims,
  };
  for (const name of Object.keys(claims)) if (claims[name] === undefined) delete claims[name];
  return await new SignJWT(claims)
    .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'JWT', ...options.header })
    .sign(key.privateKey);
}
