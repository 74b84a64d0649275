// What a client certificate says of its holder, as an assertion for transformations and rules: the names of subject and
// issuer by their usual words, alternative names by kind, and the certificate's own marks.
//
// Names are read from the certificate's structure and never out of a printed form: there a name could hold what looks
// like the next one.

import { X509Certificate } from 'node:crypto';
import { type AltName, Certificate, type RelativeDistinguishedNames } from 'pkijs';
import type { ClientCertificate } from './client-certificate.ts';

const NAMES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'common_name',
  '2.5.4.5': 'serial_number',
  '2.5.4.6': 'country',
  '2.5.4.7': 'locality',
  '2.5.4.8': 'state',
  '2.5.4.10': 'organization',
  '2.5.4.11': 'organizational_unit',
  '1.2.840.113549.1.9.1': 'email',
  '0.9.2342.19200300.100.1.1': 'user_id',
  '0.9.2342.19200300.100.1.25': 'domain_component',
};

const SUBJECT_ALTERNATIVE_NAMES = '2.5.29.17';
/** Kinds of RFC 5280 section 4.2.1.6 whose value is a text. */
const KINDS: ReadonlyMap<number, string> = new Map([
  [1, 'email'],
  [2, 'dns'],
  [6, 'uri'],
]);

export interface CertificateClaims {
  readonly claims: Readonly<Record<string, unknown>>;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** Null for a certificate that cannot be read. */
export function claimsOf({ chain, thumbprint }: ClientCertificate): CertificateClaims | null {
  const [own] = chain;
  if (own === undefined) return null;
  try {
    const { serialNumber, validToDate } = new X509Certificate(own);
    const read = Certificate.fromBER(own);
    return {
      claims: {
        subject: namesOf(read.subject),
        issuer: namesOf(read.issuer),
        subject_alternative_names: alternativesOf(read),
        serial_number: serialNumber.toLowerCase(),
        thumbprint,
      },
      expiresAt: validToDate.getTime(),
    };
  } catch {
    return null;
  }
}

/** A name that stands twice is a list. */
function namesOf({ typesAndValues }: RelativeDistinguishedNames): Record<string, string | string[]> {
  const found = new Map<string, string[]>();
  for (const { type, value } of typesAndValues) {
    const name = NAMES[type];
    const text: unknown = value.valueBlock.value;
    if (name === undefined || typeof text !== 'string') continue;
    found.set(name, [...(found.get(name) ?? []), text]);
  }
  return Object.fromEntries(
    [...found].map(([name, values]) => [name, values.length === 1 ? (values[0] ?? '') : values]),
  );
}

function alternativesOf(certificate: Certificate): Record<string, string[]> {
  const found: Record<string, string[]> = { dns: [], uri: [], email: [] };
  const extension = certificate.extensions?.find(({ extnID }) => extnID === SUBJECT_ALTERNATIVE_NAMES);
  const names: unknown = extension?.parsedValue;
  for (const { type, value } of isAltName(names) ? names.altNames : []) {
    const list = found[KINDS.get(type) ?? ''];
    if (typeof value === 'string') list?.push(value);
  }
  return found;
}

function isAltName(value: unknown): value is AltName {
  return typeof value === 'object' && value !== null && 'altNames' in value && Array.isArray(value.altNames);
}
