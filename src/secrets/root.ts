// The root key: 32 bytes from which the key of every purpose is derived by HKDF-SHA-256 (RFC 5869). It never encrypts
// anything itself, and is known by an id that is derived from it too, so that two nodes with the same key agree on it.

import { hkdfSync } from 'node:crypto';
import type { Purpose } from './purpose.ts';
import type { Secret } from './secret.ts';

export const KEY_BYTES = 32;
export const KEY_ID_BYTES = 16;

/** A key that wraps the keys of records: the root key, or the key of a project's content. */
export interface WrappingKey {
  readonly kind: 'root' | 'content';
  /** 16 bytes. */
  readonly id: Buffer;
  /** The key of a purpose, 32 bytes. */
  derive(purpose: Purpose, version: number): Buffer;
}

/** Derives keys of purposes from 32 bytes; each is derived once. */
export class DerivedKeys implements WrappingKey {
  readonly kind: WrappingKey['kind'];
  readonly id: Buffer;
  readonly #bytes: Buffer;
  readonly #derived = new Map<string, Buffer>();

  constructor(kind: WrappingKey['kind'], id: Buffer, bytes: Buffer) {
    if (bytes.length !== KEY_BYTES || id.length !== KEY_ID_BYTES)
      throw new Error('a key of the wrong length');
    this.kind = kind;
    this.id = id;
    this.#bytes = Buffer.from(bytes);
  }

  derive(purpose: Purpose, version: number): Buffer {
    const info = `keygate/${this.kind}/${purpose}/${version}`;
    let key = this.#derived.get(info);
    if (key === undefined) {
      key = expand(this.#bytes, info, KEY_BYTES);
      this.#derived.set(info, key);
    }
    return key;
  }

  /** Overwrites what is in memory; the key cannot be used afterwards. */
  destroy(): void {
    this.#bytes.fill(0);
    for (const key of this.#derived.values()) key.fill(0);
    this.#derived.clear();
    this.derive = () => {
      throw new Error('a key was used after it was destroyed');
    };
  }
}

export function rootKey(bytes: Buffer): DerivedKeys {
  return new DerivedKeys('root', expand(bytes, 'keygate/root/id', KEY_ID_BYTES), bytes);
}

function expand(key: Buffer, info: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), info, length));
}

/** The 32 bytes of a root key that is written in base64, base64url or hexadecimal; undefined if it is none. */
export function readRootKey(text: string): Buffer | undefined {
  const bytes = /^[0-9a-f]{64}$/i.test(text)
    ? Buffer.from(text, 'hex')
    : /^[A-Za-z0-9+/_-]{43}=?$/.test(text)
      ? Buffer.from(text, 'base64url')
      : undefined;
  // Thirty-two equal bytes are a placeholder that somebody forgot to fill in.
  if (bytes?.length !== KEY_BYTES || new Set(bytes).size < 8) return undefined;
  return bytes;
}

/** A root key out of the configuration, which has checked its form. */
export function rootKeyOf(secret: Secret): DerivedKeys {
  const bytes = readRootKey(secret.reveal());
  if (bytes === undefined) throw new Error('the configuration let a root key of the wrong form pass');
  return rootKey(bytes);
}
