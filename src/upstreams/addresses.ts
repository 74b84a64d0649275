// Outgoing addresses: a name is resolved, every address it stands for is checked, and the connection goes to the
// checked address and no other, so that a name which changes its mind between check and use (DNS rebinding) gains
// nothing. Private, loopback and link-local ranges are reached only where the administrator's file says so.

import { lookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Whether an address is one of the public Internet (IANA special-purpose registries, by ipaddr.js's ranges). */
export function isPublic(address: string): boolean {
  if (isIP(address) === 0) return false;
  return ipaddr.process(address).range() === 'unicast';
}

/** A `lookup` for sockets that gives public addresses only, or any where `allowPrivate` is set. */
export function guardedLookup(allowPrivate: boolean): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, []);
      const usable = allowPrivate ? addresses : addresses.filter(({ address }) => isPublic(address));
      const first = usable[0];
      if (first === undefined) {
        const refusal: NodeJS.ErrnoException = new Error(
          `${hostname} has no public address; set allow_private for this provider if that is meant`,
        );
        refusal.code = 'EADDRPRIVATE';
        return callback(refusal, []);
      }
      if (options.all === true) callback(null, usable);
      else callback(null, first.address, first.family);
    });
  };
}
