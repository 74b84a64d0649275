// Authenticate: which principal holds this key? Form and checksum first, then SHA-256, then one look-up in memory.
// The plaintext does not leave this step.

import { mustProve, type Proofs } from '../identity/proof/prove.ts';
import { presentedKey } from '../keys/authorization.ts';
import { incorrectKey } from '../keys/errors.ts';
import { parseKey } from '../keys/format.ts';
import type { Principal } from '../keys/model.ts';
import type { KeyRegistry } from '../keys/registry.ts';
import { ApiError } from '../platform/errors.ts';
import type { Call } from './call.ts';
import { internalError } from './reply.ts';
import { LATER, type Resume, type Verdict } from './verdict.ts';

export function authenticate(call: Call, keys: KeyRegistry, proofs: Proofs, resume: Resume): Verdict {
  if (call.order !== null) {
    call.principal = call.order.principal;
    return null;
  }
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
  return mustProve(principal) ? prove(call, principal, presented, proofs, resume) : null;
}

function prove(call: Call, principal: Principal, presented: string, proofs: Proofs, resume: Resume): Verdict {
  const proof = proofs.check(principal, presented, call.peer, true);
  if (!(proof instanceof Promise)) return proof;
  proof.then(
    (refusal) => resume(call, refusal),
    () => resume(call, internalError()),
  );
  return LATER;
}
