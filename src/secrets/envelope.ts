// The envelope, bytes in and bytes out. A record is encrypted with a data key of its own (AES-256-GCM, NIST SP
// 800-38D); the data key is wrapped, by AES-256-GCM too, with the key of its purpose. Both are bound to the record's
// place by associated data. A new root key wraps the data key again and leaves the encrypted bytes as they are.
//
//     "KGS1" | kind 1 | purpose version 1 | wrapping key's id 16 | nonce 12 | data key 32 | tag 16     the envelope
//     nonce 12 | encrypted bytes | tag 16                                                            the body

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { type Place, PURPOSES } from './purpose.ts';
import { KEY_BYTES, KEY_ID_BYTES, type WrappingKey } from './root.ts';

const MAGIC = Buffer.from('KGS1', 'latin1');
const KINDS = ['root', 'content'] as const;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = MAGIC.length + 2 + KEY_ID_BYTES;
export const ENVELOPE_BYTES = HEAD_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;
export const BODY_OVERHEAD = NONCE_BYTES + TAG_BYTES;

/** Why sealed bytes could not be opened. Says nothing of what is in them. */
export class SealError extends Error {
  override readonly name = 'SealError';
  readonly reason: 'not_sealed' | 'unknown_key' | 'damaged';
  constructor(reason: SealError['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

export interface EnvelopeHead {
  readonly kind: WrappingKey['kind'];
  readonly version: number;
  readonly keyId: Buffer;
}

/** Which key an envelope was wrapped with. */
export function readHead(sealed: Uint8Array): EnvelopeHead {
  const bytes = asBuffer(sealed);
  const kind = KINDS[bytes[MAGIC.length] ?? 255];
  if (bytes.length < ENVELOPE_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC) || kind === undefined) {
    throw new SealError('not_sealed', 'These bytes were not sealed by keygate, or not by this version.');
  }
  return {
    kind,
    version: bytes[MAGIC.length + 1] ?? 0,
    keyId: Buffer.from(bytes.subarray(MAGIC.length + 2, HEAD_BYTES)),
  };
}

/** A new data key, and its envelope. */
export function newDataKey(place: Place, key: WrappingKey): { dataKey: Buffer; envelope: Buffer } {
  const dataKey = randomBytes(KEY_BYTES);
  return { dataKey, envelope: wrap(place, key, PURPOSES[place.purpose].version, dataKey) };
}

/** The data key out of an envelope. */
export function openDataKey(place: Place, key: WrappingKey, sealed: Uint8Array): Buffer {
  const { kind, version, keyId } = readHead(sealed);
  if (kind !== key.kind || !keyId.equals(key.id))
    throw new SealError('unknown_key', 'Another key wraps this.');
  const envelope = asBuffer(sealed).subarray(0, ENVELOPE_BYTES);
  return decrypt(
    key.derive(place.purpose, version),
    envelope.subarray(HEAD_BYTES),
    associated(place, envelope.subarray(0, HEAD_BYTES)),
  );
}

/** The same envelope under another key. What follows it stays as it is. */
export function rewrapDataKey(place: Place, from: WrappingKey, to: WrappingKey, sealed: Uint8Array): Buffer {
  const dataKey = openDataKey(place, from, sealed);
  const { version } = PURPOSES[place.purpose];
  const envelope = wrap(place, to, version, dataKey);
  dataKey.fill(0);
  return Buffer.concat([envelope, asBuffer(sealed).subarray(ENVELOPE_BYTES)]);
}

export function encryptBody(place: Place, dataKey: Buffer, plain: Uint8Array): Buffer {
  return encrypt(dataKey, plain, associated(place, BODY));
}

export function decryptBody(place: Place, dataKey: Buffer, sealed: Uint8Array): Buffer {
  return decrypt(dataKey, asBuffer(sealed).subarray(ENVELOPE_BYTES), associated(place, BODY));
}

const BODY = Buffer.from('body');

function wrap(place: Place, key: WrappingKey, version: number, dataKey: Buffer): Buffer {
  const head = Buffer.concat([MAGIC, Buffer.from([KINDS.indexOf(key.kind), version]), key.id]);
  return Buffer.concat([head, encrypt(key.derive(place.purpose, version), dataKey, associated(place, head))]);
}

/**
 * What is authenticated beside the bytes: organization, project, purpose and id, each with its length before it, so
 * that no two places are written alike.
 */
export function associated(place: Place, context: Buffer): Buffer {
  const fields = [place.organizationId, place.projectId ?? '', place.purpose, place.id].map((field) =>
    Buffer.from(field),
  );
  return Buffer.concat(
    [...fields, context].flatMap((field) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(field.length);
      return [length, field];
    }),
  );
}

function encrypt(key: Buffer, plain: Uint8Array, aad: Buffer): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }).setAAD(aad);
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function decrypt(key: Buffer, sealed: Buffer, aad: Buffer): Buffer {
  if (sealed.length < BODY_OVERHEAD) throw damaged();
  const tagAt = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
    .setAAD(aad)
    .setAuthTag(sealed.subarray(tagAt));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, tagAt)), decipher.final()]);
  } catch {
    throw damaged();
  }
}

export function damaged(): SealError {
  return new SealError(
    'damaged',
    'Sealed bytes do not open: they were altered, cut, or moved from their place.',
  );
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
