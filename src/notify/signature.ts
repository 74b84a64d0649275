// Signatures as Standard Webhooks 1.0 says (standardwebhooks.com, "Signature scheme", v1): HMAC-SHA256 over
// `id.timestamp.body`, in base64; several, separated by spaces, while an old secret is still active.

import { createHmac, randomBytes } from 'node:crypto';

const PREFIX = 'whsec_';
/** Of the 24 to 64 that the standard allows. */
const SECRET_BYTES = 32;

/** `whsec_` and 32 random bytes in base64. */
export function mintSigningSecret(): string {
  return PREFIX + randomBytes(SECRET_BYTES).toString('base64');
}

/** What a list shows of a secret: enough to tell two apart. */
export function hintOf(secret: string): string {
  return `${PREFIX}…${secret.slice(-4)}`;
}

/** The headers of a request; @param atMs when it is sent */
export function signedHeaders(
  secrets: readonly string[],
  messageId: string,
  atMs: number,
  body: string,
): Record<string, string> {
  const timestamp = String(Math.floor(atMs / 1000));
  const content = `${messageId}.${timestamp}.${body}`;
  return {
    'webhook-id': messageId,
    'webhook-timestamp': timestamp,
    'webhook-signature': secrets.map((secret) => `v1,${sign(secret, content)}`).join(' '),
  };
}

/** Whether a text is a signing secret that receivers' libraries take: `whsec_` and base64 of 24 to 64 bytes. */
export function isSigningSecret(text: string): boolean {
  if (!text.startsWith(PREFIX)) return false;
  const encoded = text.slice(PREFIX.length);
  const bytes = Buffer.from(encoded, 'base64');
  return bytes.length >= 24 && bytes.length <= 64 && bytes.toString('base64') === encoded;
}

function sign(secret: string, content: string): string {
  const key = Buffer.from(secret.slice(PREFIX.length), 'base64');
  return createHmac('sha256', key).update(content).digest('base64');
}
