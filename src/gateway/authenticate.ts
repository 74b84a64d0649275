// Authenticate: which principal holds this key? Form and checksum first, then SHA-256, then one look-up in memory.
// The plaintext does not leave this step.

import { presentedKey } from '../keys/authorization.ts';
import { incorrectKey } from '../keys/errors.ts';
import { parseKey } from '../keys/format.ts';
import type { KeyRegistry } from '../keys/registry.ts';
import { ApiError } from '../platform/errors.ts';
import type { Call } from './call.ts';
import type { Verdict } from './verdict.ts';

export function authenticate(call: Call, keys: KeyRegistry): Verdict {
  let presented: string;
  try {
    presented = presentedKey(call.head.authorization);
  } catch (refusal) {
    if (refusal instanceof ApiError) return refusal;
    throw refusal;
  }
  call.head.authorization = null;
  const parsed = parseKey(presented);
  if (!parsed.ok) return incorrectKey(presented, parsed.reason);
  const principal = keys.find(presented);
  if (principal === undefined) return incorrectKey(presented);
  call.principal = principal;
  keys.touch(principal.keyId, call.at);
  return null;
}
