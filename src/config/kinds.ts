// The kinds of value that a setting can have: what is allowed, in words, and how a text or a YAML value is read.

import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { formatDuration, formatSize, parseDuration, parseSize } from './units.ts';

export interface Kind<T> {
  /** Completes "… must be …". */
  readonly allowed: string;
  /** The value, or undefined when it is not allowed. */
  read(value: unknown): T | undefined;
  /** As a person would write it. */
  show(value: T): string;
}

/** A range of whole numbers, both ends included. */
interface Range {
  readonly min: number;
  readonly max: number;
}

function within(value: number | undefined, range: Range): number | undefined {
  return value !== undefined && value >= range.min && value <= range.max ? value : undefined;
}

export function count(range: Range): Kind<number> {
  return {
    allowed: `a whole number from ${range.min} to ${range.max}`,
    read(value) {
      if (typeof value === 'number') return within(Number.isInteger(value) ? value : undefined, range);
      if (typeof value !== 'string' || !/^\d{1,15}$/.test(value.trim())) return undefined;
      return within(Number(value.trim()), range);
    },
    show: String,
  };
}

export const port: Kind<number> = {
  ...count({ min: 0, max: 65_535 }),
  allowed: 'a port number from 0 to 65535 (0: any that is free)',
};

export function size(range: Range): Kind<number> {
  return {
    allowed: `a size from ${formatSize(range.min)} to ${formatSize(range.max)}, such as 64KB, 32MB or 1048576`,
    read(value) {
      if (typeof value === 'number') return within(Number.isInteger(value) ? value : undefined, range);
      return typeof value === 'string' ? within(parseSize(value), range) : undefined;
    },
    show: formatSize,
  };
}

/** A bare number is refused: nobody should have to guess whether it is seconds or milliseconds. */
export function time(range: Range): Kind<number> {
  return {
    allowed: `a time with its unit from ${formatDuration(range.min)} to ${formatDuration(range.max)}, such as 500ms, 30s or 10m`,
    read: (value) => (typeof value === 'string' ? within(parseDuration(value), range) : undefined),
    show: formatDuration,
  };
}

export function choice<const C extends string>(...names: readonly C[]): Kind<C> {
  return {
    allowed: `one of ${names.slice(0, -1).join(', ')} and ${names.at(-1)}`,
    read: (value) => names.find((name) => name === value),
    show: String,
  };
}

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

export const host: Kind<string> = {
  allowed: 'an IP address or a host name to listen on, such as 127.0.0.1, 0.0.0.0 or ::1 (without a port)',
  read(value) {
    if (typeof value !== 'string') return undefined;
    const bare = /^\[.*\]$/.test(value) ? value.slice(1, -1) : value;
    // Four numbers with dots that are no address (1.2.3.400) would otherwise pass as a name.
    return isIP(bare) > 0 || (HOST_NAME.test(bare) && !/^[\d.]+$/.test(bare)) ? bare : undefined;
  },
  show: String,
};

export const folder: Kind<string> = {
  allowed: 'the path of a folder',
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  read: (value) => (typeof value === 'string' && /^[^\x00-\x1f]{1,4096}$/.test(value) ? value : undefined),
  show: String,
};

export const file: Kind<string> = { ...folder, allowed: 'the path of a file' };

/** `https://keygate.example.com`: scheme, host and port. */
export const origin: Kind<string> = {
  allowed: 'an address without a path, such as https://keygate.example.com',
  read(value) {
    if (typeof value !== 'string' || !URL.canParse(value)) return undefined;
    const url = new URL(value);
    const bare = url.username === '' && url.pathname === '/' && url.search === '' && url.hash === '';
    return bare && (url.protocol === 'https:' || url.protocol === 'http:') ? url.origin : undefined;
  },
  show: String,
};

/** An issuer's address, as its tokens name it (OpenID Connect Core section 2): no query and no fragment. */
export const issuer: Kind<string> = {
  allowed: "an issuer's address, such as https://login.example.com/tenant",
  read(value) {
    if (typeof value !== 'string' || value.length > 2048 || !URL.canParse(value)) return undefined;
    const { protocol, username } = new URL(value);
    return (protocol === 'https:' || protocol === 'http:') && username === '' && !/[?#]/.test(value)
      ? value
      : undefined;
  },
  show: String,
};

/** A text of visible characters on one line. */
export const line: Kind<string> = {
  allowed: 'a text of 1 to 256 visible characters',
  read: (value) => (typeof value === 'string' && /^[!-~]{1,256}$/.test(value) ? value : undefined),
  show: String,
};

export const shortName: Kind<string> = {
  allowed: 'a name of 1 to 63 letters, digits, dots, dashes and underscores',
  read: (value) => (typeof value === 'string' && /^[A-Za-z0-9._-]{1,63}$/.test(value) ? value : undefined),
  show: String,
};

export const modelNames: Kind<readonly string[]> = {
  allowed: 'a list of at most 100 names of models, in which * stands for any characters',
  read(value) {
    const list = typeof value === 'string' ? value.split(',') : value;
    if (!Array.isArray(list) || list.length > 100) return undefined;
    const names: string[] = [];
    for (const item of list) {
      const name = typeof item === 'string' ? item.trim().toLowerCase() : '';
      if (!/^[^\s,]{1,200}$/.test(name)) return undefined;
      names.push(name);
    }
    return names;
  },
  show: (names) => (names.length === 0 ? 'none' : names.join(', ')),
};

export const addressRanges: Kind<readonly string[]> = {
  allowed: 'a list of at most 100 addresses or CIDR ranges, such as 10.0.0.0/8, 192.168.1.7',
  read(value) {
    const list = typeof value === 'string' ? value.split(',') : value;
    if (!Array.isArray(list) || list.length > 100) return undefined;
    const ranges: string[] = [];
    for (const item of list) {
      const range = typeof item === 'string' ? cidr(item.trim()) : undefined;
      if (range === undefined) return undefined;
      ranges.push(range);
    }
    return ranges;
  },
  show: (ranges) => (ranges.length === 0 ? 'none' : ranges.join(', ')),
};

/** Ranges as in `addressRanges`, and names of hosts. */
export const reachable: Kind<readonly string[]> = {
  allowed: 'a list of at most 100 addresses, CIDR ranges or host names, such as 10.0.0.0/8, vault.internal',
  read(value) {
    const list = typeof value === 'string' ? value.split(',') : value;
    if (!Array.isArray(list) || list.length > 100) return undefined;
    const places: string[] = [];
    for (const item of list) {
      const text = typeof item === 'string' ? item.trim() : '';
      const place =
        cidr(text) ?? (/^[\d.]+$/.test(text) || !HOST_NAME.test(text) ? undefined : text.toLowerCase());
      if (place === undefined) return undefined;
      places.push(place);
    }
    return places;
  },
  show: (places) => (places.length === 0 ? 'none' : places.join(', ')),
};

/** `10.1.2.3/8` → `10.0.0.0/8`, `::1` → `::1/128`; undefined if it is neither an address nor a range. */
function cidr(text: string): string | undefined {
  const [address = '', bits, ...rest] = text.split('/');
  if (rest.length > 0 || isIP(address) === 0 || address.includes('%')) return undefined;
  const most = isIP(address) === 4 ? 32 : 128;
  const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  if (!(prefix <= most)) return undefined;
  const normal = `${address}/${prefix}`;
  const network =
    most === 32 ? ipaddr.IPv4.networkAddressFromCIDR(normal) : ipaddr.IPv6.networkAddressFromCIDR(normal);
  return `${network.toString()}/${prefix}`;
}

const SYSLOG_PROTOCOLS = ['tls:', 'tcp:', 'udp:'];

export const syslogAddress: Kind<URL> = {
  allowed:
    'the address of a syslog receiver, such as tls://logs.example.com:6514, tcp://host:601 or udp://host:514',
  read(value) {
    if (typeof value !== 'string' || !URL.canParse(value)) return undefined;
    const url = new URL(value);
    const bare = url.username === '' && url.search === '' && url.hash === '' && /^\/?$/.test(url.pathname);
    return SYSLOG_PROTOCOLS.includes(url.protocol) && url.hostname !== '' && bare ? url : undefined;
  },
  show: (url) => url.href,
};

/** Whom a message comes from (RFC 5322 section 3.4): an address, or a name with one. */
export const mailbox: Kind<string> = {
  allowed: 'an e-mail address, such as alerts@example.com or keygate <alerts@example.com>',
  read: (value) =>
    typeof value === 'string' &&
    /^([^<>\p{Cc}@,;"]{0,100}<[^\s<>@,;"]{1,64}@[A-Za-z0-9.-]{1,253}>|[^\s<>@,;"]{1,64}@[A-Za-z0-9.-]{1,253})$/u.test(
      value,
    )
      ? value
      : undefined,
  show: String,
};

/** A secret's text; what it must look like is checked where it is used. Never shown. */
export function secret(allowed: string, fits: (text: string) => boolean): Kind<string> {
  return {
    allowed,
    read: (value) => (typeof value === 'string' && fits(value) ? value : undefined),
    show: () => '[redacted]',
  };
}
