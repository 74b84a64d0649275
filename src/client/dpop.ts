// For programs that use a key which is bound by DPoP (RFC 9449): a `fetch` that signs each request with the client's own
// key. The official client takes it as its `fetch` option:
//
//     import OpenAI from 'openai';
//     import { dpopFetch } from 'keygate/dpop';
//
//     const client = new OpenAI({ baseURL, apiKey, fetch: dpopFetch({ key: './laptop.jwk' }) });
//
// The private key never leaves the process. A server that wants a nonce (section 8) says so with its refusal, and the
// request is sent once more with it.

import { createHash, createPrivateKey, createPublicKey, type KeyObject, randomUUID, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface DpopOptions {
  /** The private key: the path of a file with a JWK or a PEM, or a JWK. ES256 (P-256) or Ed25519. */
  readonly key: string | { readonly kty: string; readonly [member: string]: unknown };
  /** What sends the requests; the runtime's own if it is not said. */
  readonly fetch?: typeof fetch;
}

interface Signer {
  readonly alg: 'ES256' | 'EdDSA';
  readonly jwk: Readonly<Record<string, unknown>>;
  readonly sign: (text: string) => Buffer;
}

/** Throws a TypeError for a key of another kind. */
export function dpopFetch(options: DpopOptions): typeof fetch {
  const signer = signerOf(options.key);
  const send = options.fetch ?? fetch;
  const nonces = new Map<string, string>();

  return async (input, init) => {
    const request = new Request(input, init);
    // A body that can be read once only is kept for the second attempt.
    const body = request.body === null ? null : await request.arrayBuffer();
    const { origin } = new URL(request.url);
    const attempt = async () => {
      const headers = new Headers(request.headers);
      headers.set('dpop', proofOf(signer, request, nonces.get(origin)));
      const reply = await send(request.url, {
        ...init,
        method: request.method,
        headers,
        body,
        redirect: 'manual',
        signal: request.signal,
      });
      const nonce = reply.headers.get('dpop-nonce');
      const given = nonce !== null && nonce !== nonces.get(origin);
      if (nonce !== null) nonces.set(origin, nonce);
      return { reply, again: given && (reply.status === 401 || reply.status === 400) };
    };
    const first = await attempt();
    if (!first.again) return first.reply;
    await first.reply.body?.cancel();
    return (await attempt()).reply;
  };
}

/** The thumbprint (RFC 7638) that a key is bound to when it is created. */
export function dpopThumbprint(key: DpopOptions['key']): string {
  const { jwk } = signerOf(key);
  const members = jwk['kty'] === 'EC' ? ['crv', 'kty', 'x', 'y'] : ['crv', 'kty', 'x'];
  const canonical = JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]])));
  return createHash('sha256').update(canonical).digest('base64url');
}

function proofOf({ alg, jwk, sign }: Signer, request: Request, nonce: string | undefined): string {
  const authorization = request.headers.get('authorization') ?? '';
  const key = authorization.slice(authorization.indexOf(' ') + 1);
  const url = new URL(request.url);
  const claims = {
    jti: randomUUID(),
    htm: request.method,
    htu: `${url.origin}${url.pathname}`,
    iat: Math.floor(Date.now() / 1000),
    ...(authorization !== '' && { ath: createHash('sha256').update(key).digest('base64url') }),
    ...(nonce !== undefined && { nonce }),
  };
  const text = `${encoded({ typ: 'dpop+jwt', alg, jwk })}.${encoded(claims)}`;
  return `${text}.${sign(text).toString('base64url')}`;
}

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function signerOf(given: DpopOptions['key']): Signer {
  const key = privateKeyOf(given);
  const { kty, crv, x, y } = createPublicKey(key).export({ format: 'jwk' });
  if (kty === 'EC' && crv === 'P-256') {
    return {
      alg: 'ES256',
      jwk: { kty, crv, x, y },
      sign: (text) => sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }),
    };
  }
  if (kty === 'OKP' && crv === 'Ed25519') {
    return { alg: 'EdDSA', jwk: { kty, crv, x }, sign: (text) => sign(null, Buffer.from(text), key) };
  }
  throw new TypeError('A DPoP key must be of P-256 or Ed25519.');
}

function privateKeyOf(given: DpopOptions['key']): KeyObject {
  if (typeof given !== 'string') return createPrivateKey({ key: { ...given }, format: 'jwk' });
  const text = readFileSync(given, 'utf8');
  return text.trimStart().startsWith('{')
    ? createPrivateKey({ key: JSON.parse(text), format: 'jwk' })
    : createPrivateKey(text);
}
