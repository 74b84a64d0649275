// What a client certificate says of its holder, as an assertion for transformations and rules: names of subject and
// issuer by their usual words, alternative names by kind, and the certificate's own marks.

import { X509Certificate } from 'node:crypto';
import type { ClientCertificate } from './client-certificate.ts';

const NAMES: Readonly<Record<string, string>> = {
  CN: 'common_name',
  O: 'organization',
  OU: 'organizational_unit',
  C: 'country',
  ST: 'state',
  L: 'locality',
  serialNumber: 'serial_number',
  emailAddress: 'email',
  DC: 'domain_component',
  UID: 'user_id',
};

export interface CertificateClaims {
  readonly claims: Readonly<Record<string, unknown>>;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

export function claimsOf({ chain, thumbprint }: ClientCertificate): CertificateClaims | null {
  const [own] = chain;
  if (own === undefined) return null;
  const certificate = new X509Certificate(own);
  return {
    claims: {
      subject: distinguished(certificate.subject),
      issuer: distinguished(certificate.issuer),
      subject_alternative_names: alternatives(certificate.subjectAltName),
      serial_number: certificate.serialNumber.toLowerCase(),
      thumbprint,
    },
    expiresAt: certificate.validToDate.getTime(),
  };
}

/** One line an attribute, as OpenSSL prints them. A name that stands twice is a list. */
function distinguished(text: string | undefined): Record<string, string | string[]> {
  const found = new Map<string, string[]>();
  for (const line of (text ?? '').split('\n')) {
    const equals = line.indexOf('=');
    if (equals <= 0) continue;
    const name = NAMES[line.slice(0, equals)] ?? line.slice(0, equals);
    found.set(name, [...(found.get(name) ?? []), line.slice(equals + 1)]);
  }
  return Object.fromEntries(
    [...found].map(([name, values]) => [name, values.length === 1 ? (values[0] ?? '') : values]),
  );
}

const KINDS: Readonly<Record<string, string>> = {
  DNS: 'dns',
  URI: 'uri',
  email: 'email',
  'IP Address': 'ip',
};

/** `DNS:a.example, URI:spiffe://…`; Node quotes what holds a comma, as JSON does. */
function alternatives(text: string | undefined): Record<string, string[]> {
  const found: Record<string, string[]> = { dns: [], uri: [], email: [], ip: [] };
  for (const [, kind = '', quoted, plain] of (text ?? '').matchAll(
    /([A-Za-z ]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))(?:, |$)/g,
  )) {
    const list = found[KINDS[kind.trim()] ?? ''];
    const value: unknown = quoted === undefined ? plain : JSON.parse(quoted);
    if (typeof value === 'string') list?.push(value);
  }
  return found;
}
