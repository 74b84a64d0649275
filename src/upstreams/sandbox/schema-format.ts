// A text for each string format of JSON Schema (2020-12 Validation, section 7.3) and of the API's structured
// outputs; an unknown format constrains nothing.

import type { Seed } from './seed.ts';

/** @returns undefined for a format that is not known */
export function formatted(format: string, seed: Seed): string | undefined {
  const two = (least: number, most: number): string => String(seed.between(least, most)).padStart(2, '0');
  const hex = (digits: number): string => {
    let text = '';
    while (text.length < digits) text += seed.between(0, 15).toString(16);
    return text;
  };
  const name = (): string => seed.pick(['ada', 'grace', 'alan', 'edsger', 'barbara']);
  const date = (): string => `20${two(20, 29)}-${two(1, 12)}-${two(1, 28)}`;
  const time = (): string => `${two(0, 23)}:${two(0, 59)}:${two(0, 59)}Z`;
  switch (format) {
    case 'date-time':
      return `${date()}T${time()}`;
    case 'date':
      return date();
    case 'time':
      return time();
    case 'duration':
      return `PT${seed.between(1, 59)}M`;
    case 'email':
    case 'idn-email':
      return `${name()}${seed.between(1, 99)}@example.com`;
    case 'hostname':
    case 'idn-hostname':
      return `${name()}.example.com`;
    case 'ipv4':
      // The documentation range of RFC 5737.
      return `192.0.2.${seed.between(1, 254)}`;
    case 'ipv6':
      // The documentation range of RFC 3849.
      return `2001:db8::${hex(4)}`;
    case 'uri':
    case 'iri':
    case 'url':
      return `https://example.com/${name()}`;
    case 'uri-reference':
    case 'iri-reference':
      return `/${name()}`;
    case 'uri-template':
      return 'https://example.com/{id}';
    case 'uuid':
      return `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}`;
    case 'json-pointer':
      return `/${name()}`;
    case 'relative-json-pointer':
      return `0/${name()}`;
    case 'regex':
      return `^${name()}$`;
    case 'byte':
    case 'base64':
      return Buffer.from(name()).toString('base64');
    default:
      return undefined;
  }
}
