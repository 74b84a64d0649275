// Verifies a subject token: a JWT (RFC 7519) of the provider's issuer, signed by a key of the issuer's. jose does the
// signature and the claims; what is allowed is said here.
//
// - Algorithms are the asymmetric ones alone: `none` and every HMAC is refused before a key is looked for, so that a
//   public key can never be taken for a shared secret (RFC 8725 section 3.1).
// - The key comes from the provider's own set, by the header's `kid`. Keys and addresses that the token brings along
//   (`jwk`, `jku`, `x5c`, `x5u`) are never looked at (RFC 8725 section 3.10).
// - `iss` is the provider's, `aud` holds the provider's, `sub`, `exp` and `iat` are there; the whole life of the token is
//   bounded. The clock of an issuer may be a minute ahead; a token that has expired by ours has expired.

import { errors, importJWK, type JWTHeaderParameters, jwtVerify } from 'jose';
import type { Clock } from '../../platform/clock.ts';
import type { IssuerKeys } from './issuer-keys.ts';
import type { Provider } from './store.ts';

/** The longest subject token, in characters. */
export const SUBJECT_TOKEN_MAX = 16 * 1024;
const SKEW_SECONDS = 60;
const KID_MAX = 256;

const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

/** Kinds of JWT that are proofs of identity. Others (`dpop+jwt`, `logout+jwt`, …) are not taken for one. */
const TYPES = new Set(['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt']);

/** Why a token was refused: for the audit log, never for the caller. */
export class SubjectTokenRefused extends Error {
  override readonly name = 'SubjectTokenRefused';
  readonly reason: string;
  constructor(reason: string) {
    super(reason);
    this.reason = reason;
  }
}

export interface Subject {
  readonly claims: Readonly<Record<string, unknown>>;
  readonly subject: string;
  /** `jti`, if it has one. */
  readonly tokenId: string | null;
  /** Seconds since the epoch. */
  readonly expires: number;
}

/** @throws SubjectTokenRefused; KeysUnavailable when the issuer's keys cannot be had now */
export async function verifySubjectToken(
  token: string,
  provider: Provider,
  keys: IssuerKeys,
  clock: Clock,
): Promise<Subject> {
  if (token.length > SUBJECT_TOKEN_MAX) throw new SubjectTokenRefused('token_too_large');
  const now = Math.floor(clock.now() / 1000);
  const { payload } = await verified(token, provider, keys, now);
  const { sub, exp, iat, jti } = payload;
  if (typeof sub !== 'string' || sub === '' || sub.length > 2048)
    throw new SubjectTokenRefused('sub_missing');
  if (exp === undefined || iat === undefined) throw new SubjectTokenRefused('claims_missing');
  if (exp <= now) throw new SubjectTokenRefused('token_expired');
  if (iat > now + SKEW_SECONDS) throw new SubjectTokenRefused('token_not_yet_valid');
  if (exp - iat > provider.max_lifetime) throw new SubjectTokenRefused('token_lives_too_long');
  return {
    claims: payload,
    subject: sub,
    expires: exp,
    tokenId: typeof jti === 'string' && jti !== '' ? jti : null,
  };
}

async function verified(token: string, provider: Provider, keys: IssuerKeys, now: number) {
  const keyOf = async (header: JWTHeaderParameters) => {
    const { kid, alg, typ } = header;
    if (typ !== undefined && !(typeof typ === 'string' && TYPES.has(typ.toLowerCase()))) {
      throw new SubjectTokenRefused('token_type_not_allowed');
    }
    if (typeof kid !== 'string' || kid === '' || kid.length > KID_MAX)
      throw new SubjectTokenRefused('kid_missing');
    const key = await keys.find(provider, kid);
    if (key === undefined) throw new SubjectTokenRefused('kid_unknown');
    if (typeof key['alg'] === 'string' && key['alg'] !== alg)
      throw new SubjectTokenRefused('alg_of_another_key');
    return await importJWK(key, alg);
  };
  try {
    return await jwtVerify(token, keyOf, {
      algorithms: ALGORITHMS,
      issuer: provider.issuer,
      audience: provider.audience,
      requiredClaims: ['iss', 'aud', 'sub', 'exp', 'iat'],
      clockTolerance: SKEW_SECONDS,
      currentDate: new Date(now * 1000),
    });
  } catch (error) {
    throw error instanceof errors.JOSEError || error instanceof TypeError
      ? new SubjectTokenRefused(reasonOf(error))
      : error;
  }
}

function reasonOf(error: Error): string {
  if (error instanceof errors.JWTExpired) return 'token_expired';
  if (error instanceof errors.JWTClaimValidationFailed) return `${error.claim}_${error.reason}`.slice(0, 64);
  if (error instanceof errors.JOSEAlgNotAllowed) return 'alg_not_allowed';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature_wrong';
  return 'token_malformed';
}
