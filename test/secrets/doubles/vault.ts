// A double of Vault's (and OpenBao's) transit engine and key/value engine, version 2.

import { type Double, ServiceKey, startDouble } from './server.ts';

export interface VaultDouble extends Double {
  readonly key: ServiceKey;
  /** Fields of secrets, by path below `secret/data/`. */
  readonly secrets: Map<string, Record<string, string>>;
  sealed: boolean;
}

export const VAULT_TOKEN = 'hvs.double-token';

export async function startVault(keyName: string): Promise<VaultDouble> {
  const server = await startDouble((asked) => {
    if (double.sealed) return { status: 503, json: { errors: ['Vault is sealed'] } };
    if (asked.headers['x-vault-token'] !== VAULT_TOKEN)
      return { status: 403, json: { errors: ['permission denied'] } };
    const secret = double.secrets.get(asked.url.replace('/v1/secret/data/', ''));
    if (asked.method === 'GET') {
      return secret === undefined
        ? { status: 404, json: { errors: [] } }
        : { status: 200, json: { data: { data: secret, metadata: { version: 1 } } } };
    }
    const [, operation, name] = /^\/v1\/transit\/(encrypt|decrypt)\/([^/]+)$/.exec(asked.url) ?? [];
    if (name !== keyName) return { status: 404, json: { errors: [] } };
    // A policy that no longer allows the path is how transit keys are withheld.
    if (!double.key.enabled) return { status: 403, json: { errors: ['permission denied'] } };
    const body = JSON.parse(asked.body.toString()) as Record<string, string>;
    const context = body['associated_data'] ?? '';
    if (operation === 'encrypt') {
      const sealed = double.key.encrypt(Buffer.from(body['plaintext'] ?? '', 'base64'), context);
      return { status: 200, json: { data: { ciphertext: `vault:v1:${sealed.toString('base64')}` } } };
    }
    const text = (body['ciphertext'] ?? '').replace(/^vault:v1:/, '');
    const plain = double.key.decrypt(Buffer.from(text, 'base64'), context);
    return plain === undefined
      ? { status: 400, json: { errors: ['cipher: message authentication failed'] } }
      : { status: 200, json: { data: { plaintext: plain.toString('base64') } } };
  });
  const double: VaultDouble = Object.assign(server, {
    key: new ServiceKey(),
    secrets: new Map<string, Record<string, string>>(),
    sealed: false,
  });
  return double;
}
