// The text of an access token:
//
//     sk-wif-  <key id> . <payload> . <signature>
//
// The payload is JSON in base64url: the federation rule that it was given under, the generation of that rule and its
// provider, when it ends, its own id, and what its presenter must prove. The signature is Ed25519 (RFC 8032) over all
// that precedes it. It is not a JWT: nobody but keygate reads it, there is one algorithm, and a header that could name
// another one does not exist.

import { z } from 'zod';
import { TOKEN_PREFIX } from '../../keys/format.ts';
import type { Confirmation } from '../../keys/model.ts';

/** The longest token, in characters; what is longer is not looked at. */
export const TOKEN_LENGTH_MAX = 1024;

const SHAPE = /^sk-wif-([0-9A-Za-z]{16})\.([\w-]+)\.([\w-]{86})$/;

/** What a token says. */
export interface TokenClaims {
  readonly ruleId: string;
  /** `rule.provider`: tokens of an older one have ended. */
  readonly generation: string;
  /** Seconds since the epoch. */
  readonly expires: number;
  readonly tokenId: string;
  readonly confirmation: Confirmation | null;
}

export interface ParsedToken {
  readonly keyId: string;
  /** What the signature is over. */
  readonly signed: string;
  readonly payload: string;
  readonly signature: string;
}

export function parseToken(text: string): ParsedToken | null {
  if (text.length > TOKEN_LENGTH_MAX) return null;
  const [, keyId, payload, signature] = SHAPE.exec(text) ?? [];
  if (keyId === undefined || payload === undefined || signature === undefined) return null;
  return { keyId, payload, signature, signed: text.slice(0, text.length - signature.length - 1) };
}

const Payload = z.object({
  r: z.string(),
  g: z.string(),
  e: z.int(),
  j: z.string(),
  c: z.tuple([z.enum(['dpop', 'certificate']), z.string()]).optional(),
});

/** What is to be signed. */
export function tokenText(keyId: string, claims: TokenClaims): string {
  const { ruleId, generation, expires, tokenId, confirmation } = claims;
  const payload: z.infer<typeof Payload> = {
    r: ruleId,
    g: generation,
    e: expires,
    j: tokenId,
    ...(confirmation && { c: [confirmation.kind, confirmation.thumbprint] }),
  };
  return `${TOKEN_PREFIX}${keyId}.${Buffer.from(JSON.stringify(payload)).toString('base64url')}`;
}

/** The claims of a payload whose signature was verified; null if it is of a form that this version does not know. */
export function readClaims(payload: string): TokenClaims | null {
  try {
    const { r, g, e, j, c } = Payload.parse(JSON.parse(Buffer.from(payload, 'base64url').toString()));
    const confirmation = c === undefined ? null : { kind: c[0], thumbprint: c[1] };
    return { ruleId: r, generation: g, expires: e, tokenId: j, confirmation };
  } catch {
    return null;
  }
}
