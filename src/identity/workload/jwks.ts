// Public keys of an issuer: what is taken of a JSON Web Key Set (RFC 7517), and what is refused.
//
// Only signature keys of asymmetric kinds with a key id are kept. A set that was uploaded must be right as a whole: a
// secret or private key in it is refused, so that nobody keeps one here. Of a set that was fetched, keys that cannot
// be used are passed over, because issuers publish others' keys beside the ones that matter.

import { createPublicKey } from 'node:crypto';
import { invalidParameter } from '../../access/validation.ts';
import type { PublicJwk } from './model.ts';

export const KEYS_MAX = 100;
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];
const KID_MAX = 256;
const RSA_BITS_MIN = 2048;
const RSA_BITS_MAX = 8192;
const CURVES: Readonly<Record<string, readonly string[]>> = {
  EC: ['P-256', 'P-384', 'P-521'],
  OKP: ['Ed25519'],
};
/** What is kept of a key: certificates and addresses in it (x5c, x5u) are never looked at. */
const KEPT = ['kty', 'kid', 'alg', 'use', 'crv', 'x', 'y', 'n', 'e'] as const;

/** The keys of an uploaded set. Throws a 400 that names what is wrong, never repeating a key. */
export function uploadedKeys(set: Readonly<Record<string, unknown>>, param: string): PublicJwk[] {
  const refuse = (message: string): never => {
    throw invalidParameter(param, `Invalid '${param}': ${message}.`);
  };
  const { keys } = set;
  if (!Array.isArray(keys) || keys.length === 0) return refuse("expected a JSON Web Key Set with 'keys'");
  if (keys.length > KEYS_MAX) refuse(`at most ${KEYS_MAX} keys are taken`);
  const taken = keys.map((key, at) => {
    const read = readKey(key);
    return typeof read === 'string' ? refuse(`keys[${at}] ${read}`) : read;
  });
  if (new Set(taken.map(({ kid }) => kid)).size < taken.length) refuse('two keys have the same kid');
  return taken;
}

/** The usable keys of a set that was fetched, by their id. A key id that stands twice is ambiguous and left out. */
export function fetchedKeys(set: unknown): ReadonlyMap<string, PublicJwk> {
  const found = new Map<string, PublicJwk>();
  const twice = new Set<string>();
  const keys: unknown = typeof set === 'object' && set !== null && 'keys' in set ? set.keys : [];
  if (!Array.isArray(keys)) return found;
  for (const key of keys.slice(0, KEYS_MAX)) {
    const read = readKey(key);
    if (typeof read === 'string') continue;
    if (found.has(read.kid)) twice.add(read.kid);
    found.set(read.kid, read);
  }
  for (const kid of twice) found.delete(kid);
  return found;
}

/** The key, or what is wrong with it. */
function readKey(value: unknown): PublicJwk | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'is not a key';
  const key: Record<string, unknown> = { ...value };
  if (PRIVATE_MEMBERS.some((member) => key[member] !== undefined)) {
    return 'is a private or secret key: upload public keys only, and replace this one, which was just sent here';
  }
  const { kty, kid, use, key_ops: operations } = key;
  if (typeof kid !== 'string' || kid === '' || kid.length > KID_MAX) return 'has no kid';
  if (kty !== 'RSA' && kty !== 'EC' && kty !== 'OKP') return 'is not of kind RSA, EC or OKP';
  if (use !== undefined && use !== 'sig') return 'is not for signatures (use)';
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) {
    return 'is not for verifying (key_ops)';
  }
  const curves = CURVES[kty];
  if (curves !== undefined && !curves.some((curve) => curve === key['crv'])) {
    return `is not on a curve that is taken (${curves.join(', ')})`;
  }
  try {
    const { asymmetricKeyDetails } = createPublicKey({ key, format: 'jwk' });
    const bits = asymmetricKeyDetails?.modulusLength;
    if (bits !== undefined && (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)) {
      return `has ${bits} bits: ${RSA_BITS_MIN} to ${RSA_BITS_MAX} are taken`;
    }
  } catch {
    return 'is not a valid key';
  }
  const kept = Object.fromEntries(
    KEPT.flatMap((name) => (key[name] === undefined ? [] : [[name, key[name]]])),
  );
  return { ...kept, kty, kid };
}
