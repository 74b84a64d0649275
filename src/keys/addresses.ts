// The addresses that a key may be used from: CIDR ranges (RFC 4632, RFC 4291), matched by node:net's BlockList.
// An IPv4 address that arrives mapped into IPv6 (::ffff:192.0.2.1, RFC 4291 section 2.5.5.2), as a dual-stack socket
// reports it, counts as the IPv4 address that it is.

import { BlockList, isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { AddressRanges } from './model.ts';

const MAPPED_BITS = 96;

/**
 * The canonical text of a range: `10.1.2.3/8` becomes `10.0.0.0/8`, a lone address gets its full length, a mapped
 * range becomes IPv4. Undefined if it is no range.
 */
export function canonicalRange(text: string): string | undefined {
  const slash = text.indexOf('/');
  const address = slash < 0 ? text : text.slice(0, slash);
  // node's own check first: ipaddr.js also takes 10.1, 0x0a.1 and zones, which would not mean what they seem to.
  if (!isIPv4(address) && !(isIPv6(address) && !address.includes('%'))) return undefined;
  const parsed = ipaddr.parse(address);
  const width = parsed.kind() === 'ipv4' ? 32 : 128;
  const length = slash < 0 ? width : prefixLength(text.slice(slash + 1), width);
  if (length === undefined) return undefined;
  if (parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress() && length >= MAPPED_BITS) {
    return network(parsed.toIPv4Address(), length - MAPPED_BITS);
  }
  return network(parsed, length);
}

function prefixLength(text: string, width: number): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(text)) return undefined;
  const length = Number(text);
  return length <= width ? length : undefined;
}

function network(address: ipaddr.IPv4 | ipaddr.IPv6, length: number): string {
  const bytes = address.toByteArray().map((byte, at) => {
    const kept = Math.min(8, Math.max(0, length - at * 8));
    return byte & (0xff << (8 - kept)) & 0xff;
  });
  return `${ipaddr.fromByteArray(bytes).toString()}/${length}`;
}

/** The ranges of one key, ready to be asked on every call. Texts that are no range are refused. */
export function addressRanges(ranges: readonly string[]): AddressRanges {
  // A list for each family: BlockList would let 192.0.2.1 into ::/0.
  const v4 = new BlockList();
  const v6 = new BlockList();
  for (const range of ranges) {
    const canonical = canonicalRange(range);
    if (canonical === undefined) throw new TypeError(`Not an address range: ${range}`);
    const [address = '', length = ''] = canonical.split('/');
    if (isIPv4(address)) v4.addSubnet(address, Number(length), 'ipv4');
    else v6.addSubnet(address, Number(length), 'ipv6');
  }
  return {
    includes(address) {
      const plain = plainAddress(address);
      if (isIPv4(plain)) return v4.check(plain, 'ipv4');
      return isIPv6(plain) && v6.check(plain, 'ipv6');
    },
  };
}

/** The address without its zone, and as IPv4 if it is a mapped one. What is no address comes back as it is. */
export function plainAddress(address: string): string {
  const zone = address.indexOf('%');
  const text = zone < 0 ? address : address.slice(0, zone);
  if (!text.includes(':') || !isIPv6(text)) return text;
  return ipaddr.process(text).toString();
}
