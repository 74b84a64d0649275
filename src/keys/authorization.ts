// Reads the key out of an Authorization header: Bearer (RFC 6750 section 2.1), or Basic with a blank user name and
// the key as the password, as the platform allows for browsers (RFC 7617).

import { missingKey } from './errors.ts';

/** More than this is no key and is not looked at further; the longest key has 71 characters. */
const PRESENTED_MAX = 4096;

/** The presented key as it stands; its format is for `parseKey` to judge. Throws the 401 for a missing key. */
export function presentedKey(authorization: string | null | undefined): string {
  if (!authorization || authorization.length > PRESENTED_MAX) throw missingKey();
  const space = authorization.indexOf(' ');
  const scheme = authorization.slice(0, space).toLowerCase();
  const credentials = authorization.slice(space + 1).trim();
  // RFC 9449 section 7.1: a key that is bound by DPoP may be sent under that name.
  const key =
    scheme === 'bearer' || scheme === 'dpop'
      ? credentials
      : scheme === 'basic'
        ? basicPassword(credentials)
        : '';
  if (key === '') throw missingKey();
  return key;
}

function basicPassword(credentials: string): string {
  const pair = Buffer.from(credentials, 'base64').toString('latin1');
  return pair.startsWith(':') ? pair.slice(1) : '';
}
