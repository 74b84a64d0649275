// Lets an admin key through to what is on the administration side of the gateway itself (/metrics).

import type { Incoming, Proofs } from '../identity/proof/prove.ts';
import { addressRefusal } from '../keys/allowed-address.ts';
import { presentedKey } from '../keys/authorization.ts';
import { incorrectKey, missingScope } from '../keys/errors.ts';
import { parseKey } from '../keys/format.ts';
import type { KeyRegistry } from '../keys/registry.ts';
import { ApiError } from '../platform/errors.ts';

function unsuited(): ApiError {
  return new ApiError(
    401,
    'This key is bound by DPoP, which is not for metrics: use another, or one bound to a certificate.',
    {
      code: 'dpop_proof_required',
    },
  );
}

/** Null for an admin key that may read; else the refusal. */
export function authenticateAdmin(
  keys: KeyRegistry,
  authorization: string | undefined,
  address: string,
  proofs: Proofs,
  incoming: Incoming,
): ApiError | null {
  try {
    const presented = presentedKey(authorization);
    const parsed = parseKey(presented);
    if (!parsed.ok) return incorrectKey(presented, parsed.reason);
    const principal = keys.find(presented);
    if (principal === undefined) return incorrectKey(presented);
    const elsewhere = addressRefusal(principal, address);
    if (elsewhere !== null) return elsewhere;
    const { confirmation } = principal;
    if (confirmation?.kind === 'dpop') return unsuited();
    const unproved = confirmation && proofs.boundTo(confirmation, proofs.certificateOf(incoming));
    if (unproved !== null) return unproved;
    const mayRead = principal.project === null && principal.rights.has('api.management.read');
    return mayRead ? null : missingScope('api.management.read');
  } catch (refusal) {
    if (refusal instanceof ApiError) return refusal;
    throw refusal;
  }
}
