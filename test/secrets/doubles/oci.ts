// A double of Oracle Cloud's key management. It checks the signature of every request with the public key.

import { createHash, type KeyObject, verify } from 'node:crypto';
import { type Answered, type Asked, type Double, ServiceKey, startDouble } from './server.ts';

export interface OciDouble extends Double {
  readonly key: ServiceKey;
  other: ((asked: Asked) => Answered | undefined) | null;
}

export interface OciDoubleOptions {
  readonly keyId: string;
  readonly publicKey: KeyObject;
  readonly keyOcid: string;
}

export async function startOci(options: OciDoubleOptions): Promise<OciDouble> {
  const server = await startDouble((asked) => {
    if (!signed(asked, options)) return { status: 401, json: { code: 'NotAuthenticated' } };
    const other = double.other?.(asked);
    if (other !== undefined) return other;
    const body = JSON.parse(asked.body.toString()) as Record<string, string>;
    if (body['keyId'] !== options.keyOcid) return { status: 404, json: { code: 'NotAuthorizedOrNotFound' } };
    if (!double.key.enabled) return { status: 409, json: { code: 'IncorrectState' } };
    const context = JSON.stringify(body['associatedData'] ?? {});
    if (asked.url === '/20180608/encrypt') {
      const sealed = double.key.encrypt(Buffer.from(body['plaintext'] ?? '', 'base64'), context);
      return { status: 200, json: { ciphertext: sealed.toString('base64') } };
    }
    const plain = double.key.decrypt(Buffer.from(body['ciphertext'] ?? '', 'base64'), context);
    return plain === undefined
      ? { status: 400, json: { code: 'InvalidParameter' } }
      : { status: 200, json: { plaintext: plain.toString('base64') } };
  });
  const double: OciDouble = Object.assign(server, { key: new ServiceKey(), other: null });
  return double;
}

function signed(asked: Asked, { keyId, publicKey }: OciDoubleOptions): boolean {
  const given =
    /^Signature version="1",keyId="([^"]+)",algorithm="rsa-sha256",headers="([^"]+)",signature="([^"]+)"$/.exec(
      asked.headers.authorization ?? '',
    );
  if (given === null || given[1] !== keyId) return false;
  const names = (given[2] ?? '').split(' ');
  const needed = ['(request-target)', 'date', 'host'];
  if (asked.method === 'POST' || asked.method === 'PUT') {
    needed.push('content-length', 'content-type', 'x-content-sha256');
    const hash = createHash('sha256').update(asked.body).digest('base64');
    if (asked.headers['x-content-sha256'] !== hash) return false;
  }
  if (!needed.every((name) => names.includes(name))) return false;
  const text = names
    .map((name) =>
      name === '(request-target)'
        ? `${name}: ${asked.method.toLowerCase()} ${asked.url}`
        : `${name}: ${String(asked.headers[name])}`,
    )
    .join('\n');
  return verify('sha256', Buffer.from(text), publicKey, Buffer.from(given[3] ?? '', 'base64'));
}
