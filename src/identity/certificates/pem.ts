// Reads an uploaded certificate: one PEM block that holds one certificate (RFC 7468 section 5), which may stand for an
// authority. A private key next to it is refused by name, so that nobody keeps one here.

import { X509Certificate } from 'node:crypto';
import { invalidParameter } from '../../access/validation.ts';

export const PEM_MAX = 32 * 1024;
const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----/g;

export interface ReadCertificate {
  /** The PEM in its canonical form. */
  readonly content: string;
  /** SHA-256, hexadecimal. */
  readonly fingerprint: string;
  /** Milliseconds since the epoch. */
  readonly validAt: number;
  readonly expiresAt: number;
}

/** Throws a 400 that names the field and says what is wrong. */
export function readPem(text: string, nowMs: number): ReadCertificate {
  const refuse = (why: string): never => {
    throw invalidParameter('certificate', `Invalid 'certificate': ${why}.`);
  };
  const blocks = [...text.matchAll(BLOCK)].map(([, label = '']) => label);
  if (blocks.some((label) => label.includes('PRIVATE KEY'))) {
    refuse(
      'it holds a private key. Upload the certificate alone, and replace that key: it was just sent here',
    );
  }
  if (blocks.length !== 1 || blocks[0] !== 'CERTIFICATE') refuse('expected one certificate in PEM form');
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(text.trim());
  } catch {
    return refuse('it is not a certificate in PEM form');
  }
  const expiresAt = certificate.validToDate.getTime();
  if (expiresAt <= nowMs) refuse('it has expired');
  return {
    content: certificate.toString(),
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    validAt: certificate.validFromDate.getTime(),
    expiresAt,
  };
}
