// Which addresses may be connected to. A name is resolved once, every address that it stands for is checked, and the
// connection goes to a checked address and no other, so that a name which changes its mind between check and use (DNS
// rebinding) gains nothing. What is not the public Internet is reached only where the administrator's configuration
// says so: private and loopback ranges, link-local (the metadata services of clouds), carrier-grade NAT, the ways to
// write an IPv4 address as IPv6 (mapped, translated by NAT64, 6to4, Teredo), reserved and documentation ranges.

import { lookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';

export interface Address {
  readonly address: string;
  readonly family: number;
}

/** All addresses of a name, as the system's resolver gives them. */
export type Resolve = (host: string) => Promise<readonly Address[]>;

/** Whether a connection for `host` may go to `address`. */
export type Admits = (address: string, host: string) => boolean;

/** What IPv6 has given out as addresses of the Internet (IANA's IPv6 address space registry). */
const GLOBAL_UNICAST: [ipaddr.IPv6, number] = [ipaddr.IPv6.parse('2000::'), 3];

/** Whether an address is one of the public Internet (IANA's special-purpose registries, by ipaddr.js's ranges). */
export function isPublic(address: string): boolean {
  if (isIP(address) === 0) return false;
  const plain = ipaddr.process(address);
  if (plain.range() !== 'unicast') return false;
  return plain.kind() === 'ipv4' || plain.match(GLOBAL_UNICAST);
}

export const publicOnly: Admits = isPublic;
export const anywhere: Admits = () => true;

/**
 * Public addresses, and beyond them those that a list names.
 * @param list CIDR ranges, and host names whose addresses are all admitted, whatever they are
 */
export function publicAnd(list: readonly string[]): Admits {
  const named = namedIn(list);
  return (address, host) => isPublic(address) || named(address, host);
}

/** Only what a list names; see `publicAnd`. */
export function namedIn(list: readonly string[]): Admits {
  const hosts = new Set<string>();
  const ranges: [ipaddr.IPv4 | ipaddr.IPv6, number][] = [];
  for (const item of list) {
    if (isIP(item.split('/')[0] ?? '') === 0) hosts.add(item.toLowerCase());
    else ranges.push(ipaddr.parseCIDR(item.includes('/') ? item : `${item}/${isIP(item) === 4 ? 32 : 128}`));
  }
  return (address, host) => {
    if (hosts.has(host.toLowerCase())) return true;
    const plain = ipaddr.process(address);
    return ranges.some((range) => plain.kind() === range[0].kind() && plain.match(range));
  };
}

export const systemResolve: Resolve = (host) =>
  new Promise((resolve, reject) => {
    lookup(host, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)));
  });

/**
 * The addresses of `host` that may be connected to; none if it has none. An address written as such is its own.
 * Rejects as the resolver does.
 */
export async function admitted(host: string, admits: Admits, resolve: Resolve): Promise<readonly Address[]> {
  const bare = host.replace(/^\[|\]$/g, '');
  const literal = isIP(bare);
  const found = literal > 0 ? [{ address: bare, family: literal }] : await resolve(bare);
  return found.filter(({ address }) => admits(address, bare));
}

/** A `lookup` for sockets that gives exactly these addresses, whatever it is asked for. At least one. */
export function pinned(addresses: readonly [Address, ...Address[]]): LookupFunction {
  return (_host, options, callback) => {
    const [first] = addresses;
    if (options.all === true) callback(null, [...addresses]);
    else callback(null, first.address, first.family);
  };
}

/**
 * A `lookup` for sockets that gives only addresses that `admits` lets pass.
 * @param refusal what an error says when there is none
 */
export function guardedLookup(
  admits: Admits,
  refusal: (host: string) => string,
  resolve: Resolve = systemResolve,
): LookupFunction {
  return (hostname, options, callback) => {
    admitted(hostname, admits, resolve).then(
      (usable) => {
        const [first, ...rest] = usable.filter(({ family }) => !options.family || family === options.family);
        if (first !== undefined) return pinned([first, ...rest])(hostname, options, callback);
        callback(Object.assign(new Error(refusal(hostname)), { code: 'EADDRPRIVATE' }), []);
      },
      (error: NodeJS.ErrnoException) => callback(error, []),
    );
  };
}
