// A double of Google Cloud's token exchange (RFC 8693), KMS and Secret Manager. It verifies keygate's own token with the
// key set that it was given, as a workload identity pool does.

import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { type Answered, type Asked, type Double, ServiceKey, startDouble } from './server.ts';

export interface GcpDouble extends Double {
  readonly key: ServiceKey;
  /** What the pool trusts. */
  keySet: JSONWebKeySet;
  trusted: boolean;
  readonly secrets: Map<string, string>;
  other: ((asked: Asked) => Answered | undefined) | null;
}

export interface GcpDoubleOptions {
  readonly issuer: string;
  readonly audience: () => string;
  readonly pool: string;
  readonly keyName: string;
}

const TOKEN = 'ya29.double';

export async function startGcp(options: GcpDoubleOptions): Promise<GcpDouble> {
  async function exchange(asked: Asked): Promise<Answered> {
    const form = new URLSearchParams(asked.body.toString());
    if (!double.trusted || form.get('audience') !== options.pool) return refused('unauthorized_client');
    try {
      await jwtVerify(form.get('subject_token') ?? '', createLocalJWKSet(double.keySet), {
        issuer: options.issuer,
        audience: options.audience(),
        algorithms: ['RS256'],
      });
    } catch {
      return refused('invalid_grant');
    }
    return { status: 200, json: { access_token: TOKEN, expires_in: 3600, token_type: 'Bearer' } };
  }

  function kms(asked: Asked): Answered {
    const [, name, operation] = /^\/v1\/(projects\/.*):(encrypt|decrypt)$/.exec(asked.url) ?? [];
    if (name !== options.keyName) return { status: 404, json: { error: { status: 'NOT_FOUND' } } };
    if (!double.key.enabled) return { status: 400, json: { error: { status: 'FAILED_PRECONDITION' } } };
    const body = JSON.parse(asked.body.toString()) as Record<string, string>;
    const context = body['additionalAuthenticatedData'] ?? '';
    if (operation === 'encrypt') {
      const sealed = double.key.encrypt(Buffer.from(body['plaintext'] ?? '', 'base64'), context);
      return {
        status: 200,
        json: { name: `${name}/cryptoKeyVersions/1`, ciphertext: sealed.toString('base64') },
      };
    }
    const plain = double.key.decrypt(Buffer.from(body['ciphertext'] ?? '', 'base64'), context);
    return plain === undefined
      ? { status: 400, json: { error: { status: 'INVALID_ARGUMENT' } } }
      : { status: 200, json: { plaintext: plain.toString('base64') } };
  }

  const server = await startDouble(async (asked) => {
    if (asked.url === '/v1/token') return await exchange(asked);
    if (asked.headers.authorization !== `Bearer ${TOKEN}`) {
      return { status: 401, json: { error: { status: 'UNAUTHENTICATED' } } };
    }
    return double.other?.(asked) ?? kms(asked);
  });
  const double: GcpDouble = Object.assign(server, {
    key: new ServiceKey(),
    keySet: { keys: [] },
    trusted: true,
    secrets: new Map<string, string>(),
    other: null,
  });
  return double;
}

function refused(error: string): Answered {
  return { status: 400, json: { error } };
}
