// The addresses of a provider: public ones only, unless the administrator's file says allow_private for it.

import type { LookupFunction } from 'node:net';
import { anywhere, guardedLookup, publicOnly } from '../platform/addresses.ts';

/** A `lookup` for a provider's connections. */
export function providerLookup(allowPrivate: boolean): LookupFunction {
  return guardedLookup(
    allowPrivate ? anywhere : publicOnly,
    (host) => `${host} has no public address; set allow_private for this provider if that is meant`,
  );
}
