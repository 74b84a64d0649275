// Lets an admin key through to what is on the administration side of the gateway itself (/metrics).

import { presentedKey } from '../keys/authorization.ts';
import { addressNotAllowed, incorrectKey, missingScope } from '../keys/errors.ts';
import { parseKey } from '../keys/format.ts';
import type { KeyRegistry } from '../keys/registry.ts';
import { ApiError } from '../platform/errors.ts';

/** Null for an admin key that may read; else the refusal. */
export function authenticateAdmin(
  keys: KeyRegistry,
  authorization: string | undefined,
  address: string,
): ApiError | null {
  try {
    const presented = presentedKey(authorization);
    const parsed = parseKey(presented);
    if (!parsed.ok) return incorrectKey(presented, parsed.reason);
    const principal = keys.find(presented);
    if (principal === undefined) return incorrectKey(presented);
    if (principal.addresses !== null && !principal.addresses.includes(address)) return addressNotAllowed();
    return principal.type === 'admin' ? null : missingScope('api.management.read');
  } catch (refusal) {
    if (refusal instanceof ApiError) return refusal;
    throw refusal;
  }
}
