// Verifies a DPoP proof (RFC 9449 section 4.3): a JWT that the client signed with its own key for this one request. jose
// does the signature by the key in the proof's header; here stand the checks of the RFC's list, by their numbers.

import { timingSafeEqual } from 'node:crypto';
import { calculateJwkThumbprint, EmbeddedJWK, errors, jwtVerify } from 'jose';
import { z } from 'zod';

/** How far a proof's time may lie from ours, either way. */
export const DPOP_WINDOW_SECONDS = 60;
const PROOF_MAX = 8 * 1024;
const ALGORITHMS = [
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
];

export interface ProofOf {
  readonly method: string;
  /** Scheme, host and path that the request was sent to, without a query; several where a server has several names. */
  readonly targets: readonly string[];
  /** SHA-256 of the key that comes with it, in base64url (`ath`); null at the token endpoint, where none does. */
  readonly keyHash: string | null;
  readonly nowSeconds: number;
  /** Null: none is asked for. */
  readonly nonce: ((nonce: unknown) => boolean) | null;
}

export type ProofFlaw = 'wrong' | 'nonce';

export type ProofResult =
  | { readonly ok: true; readonly thumbprint: string; readonly id: string }
  | { readonly ok: false; readonly flaw: ProofFlaw };

const WRONG: ProofResult = { ok: false, flaw: 'wrong' };

const Claims = z.object({
  jti: z.string().min(1).max(256),
  htm: z.string(),
  htu: z.string().max(4096),
  iat: z.number(),
  ath: z.string().optional(),
  nonce: z.unknown().optional(),
});
const Jwk = z.looseObject({ kty: z.string() });

export async function verifyProof(proof: string, of: ProofOf): Promise<ProofResult> {
  if (proof.length > PROOF_MAX) return WRONG;
  try {
    // 2 to 7: one well-formed JWT, of the type, by an asymmetric algorithm, signed by the public key in its header.
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: ALGORITHMS,
      currentDate: new Date(of.nowSeconds * 1000),
      clockTolerance: DPOP_WINDOW_SECONDS,
    });
    const claims = Claims.parse(payload);
    const jwk = Jwk.parse(protectedHeader.jwk);
    // 8 and 9: for this method and address.
    if (claims.htm !== of.method || !of.targets.includes(withoutQuery(claims.htu))) return WRONG;
    // 11: made just now.
    if (Math.abs(of.nowSeconds - claims.iat) > DPOP_WINDOW_SECONDS) return WRONG;
    // 12: for this key.
    if (of.keyHash !== null && (claims.ath === undefined || !equal(claims.ath, of.keyHash))) return WRONG;
    // 10: with the nonce that was given, last, so that only who holds the key is told one.
    if (of.nonce !== null && !of.nonce(claims.nonce)) return { ok: false, flaw: 'nonce' };
    return { ok: true, thumbprint: await calculateJwkThumbprint(jwk, 'sha256'), id: claims.jti };
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof z.ZodError || error instanceof TypeError)
      return WRONG;
    throw error;
  }
}

/** Section 4.3: compared after normalisation (RFC 3986 section 6.2), without query and fragment. */
function withoutQuery(text: string): string {
  if (!URL.canParse(text)) return '';
  const url = new URL(text);
  return `${url.origin}${url.pathname}`;
}

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
