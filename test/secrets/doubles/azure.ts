// A double of Azure's token endpoint (client credentials) and of a key vault's wrapkey and unwrapkey with a real RSA key.

import { constants, generateKeyPairSync, privateDecrypt, publicEncrypt } from 'node:crypto';
import { type Answered, type Asked, type Double, startDouble } from './server.ts';

export interface AzureDouble extends Double {
  enabled: boolean;
  other: ((asked: Asked) => Answered | undefined) | null;
}

export interface AzureDoubleOptions {
  readonly tenantId: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly keyName: string;
}

const TOKEN = 'azure-double-token';
const VERSION = '0123456789abcdef0123456789abcdef';

export async function startAzure(options: AzureDoubleOptions): Promise<AzureDouble> {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const padding = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
  const server = await startDouble((asked) => {
    if (asked.url === `/${options.tenantId}/oauth2/v2.0/token`) {
      const form = new URLSearchParams(asked.body.toString());
      const known =
        form.get('client_id') === options.clientId && form.get('client_secret') === options.clientSecret;
      return known
        ? { status: 200, json: { access_token: TOKEN, expires_in: 3600, token_type: 'Bearer' } }
        : { status: 401, json: { error: 'invalid_client' } };
    }
    if (asked.headers.authorization !== `Bearer ${TOKEN}`) return { status: 401, json: {} };
    const other = double.other?.(asked);
    if (other !== undefined) return other;
    const [, key, version, operation] =
      /^\/keys\/([^/]+)(?:\/([0-9a-f]{32}))?\/(wrapkey|unwrapkey)\?api-version=7\.4$/.exec(asked.url) ?? [];
    if (key !== options.keyName) return { status: 404, json: { error: { code: 'KeyNotFound' } } };
    if (!double.enabled) {
      return { status: 403, json: { error: { code: 'Forbidden', innererror: { code: 'KeyDisabled' } } } };
    }
    const { alg, value } = JSON.parse(asked.body.toString()) as { alg: string; value: string };
    if (alg !== 'RSA-OAEP-256') return { status: 400, json: { error: { code: 'BadParameter' } } };
    const kid = `https://vault.example/keys/${key}/${VERSION}`;
    const bytes = Buffer.from(value, 'base64url');
    if (operation === 'wrapkey') {
      return {
        status: 200,
        json: { kid, value: publicEncrypt({ key: publicKey, ...padding }, bytes).toString('base64url') },
      };
    }
    if (version !== VERSION) return { status: 404, json: { error: { code: 'KeyNotFound' } } };
    try {
      const plain = privateDecrypt({ key: privateKey, ...padding }, bytes);
      return { status: 200, json: { kid, value: plain.toString('base64url') } };
    } catch {
      return { status: 400, json: { error: { code: 'BadParameter' } } };
    }
  });
  const double: AzureDouble = Object.assign(server, { enabled: true, other: null });
  return double;
}
