// What a key is bound to, as the API writes it: a confirmation claim (RFC 7800), `{"jkt": …}` for DPoP (RFC 9449 section
// 6.1) or `{"x5t#S256": …}` for a client certificate (RFC 8705 section 3.1).

import { z } from '@hono/zod-openapi';
import type { Confirmation } from '../../keys/model.ts';

const Thumbprint = z.string().regex(/^[\w-]{43}$/, 'must be a SHA-256 in base64url, 43 characters');

export const CnfSchema = z
  .union(
    [z.strictObject({ jkt: Thumbprint }), z.strictObject({ 'x5t#S256': Thumbprint })],
    'must be {"jkt": …} or {"x5t#S256": …} with a SHA-256 in base64url',
  )
  .openapi('KeyConfirmation', {
    description:
      'The key that this API key is bound to: `jkt`, the thumbprint of a DPoP key, or `x5t#S256`, that of a client ' +
      'certificate. The API key alone is then of no use.',
  });

export type Cnf = z.infer<typeof CnfSchema>;

export function confirmationOf(cnf: Cnf | null): Confirmation | null {
  if (cnf === null) return null;
  return 'jkt' in cnf
    ? { kind: 'dpop', thumbprint: cnf.jkt }
    : { kind: 'certificate', thumbprint: cnf['x5t#S256'] };
}

export function cnfOf(confirmation: Confirmation | null): Cnf | null {
  if (confirmation === null) return null;
  const { kind, thumbprint } = confirmation;
  return kind === 'dpop' ? { jkt: thumbprint } : { 'x5t#S256': thumbprint };
}
