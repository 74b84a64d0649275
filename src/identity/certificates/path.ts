// Is there a way from a client's certificate to an authority that is trusted (RFC 5280 section 6)? pkijs finds and
// checks it: signatures, validity, name constraints. What it leaves open is checked on the way that it found, with the
// runtime's own OpenSSL where that can tell: that each issuer is an authority and was allowed to sign certificates, how
// many authorities may follow it, what the client's certificate may be used for, and how it was signed.
//
// Missing authorities are never fetched: the client sends them.

import { X509Certificate } from 'node:crypto';
import { BasicConstraints, Certificate, CertificateChainValidationEngine } from 'pkijs';

const BASIC_CONSTRAINTS = '2.5.29.19';
const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2';
const ANY_USAGE = '2.5.29.37.0';
/** Critical extensions whose meaning is heeded, here or by what is called; any other is a reason to refuse (section 4.2). */
const HEEDED = new Set([
  BASIC_CONSTRAINTS,
  '2.5.29.15', // key usage
  '2.5.29.37', // extended key usage
  '2.5.29.17', // subject alternative name
  '2.5.29.30', // name constraints
]);
/** RSA or ECDSA with MD5 or SHA-1. */
const BROKEN_SIGNATURES = new Set([
  '1.2.840.113549.1.1.4',
  '1.2.840.113549.1.1.5',
  '1.2.840.10045.4.1',
  '1.2.840.10040.4.3',
]);
const RSA_BITS_MIN = 2048;

export interface Anchor {
  readonly der: Buffer;
}

/**
 * Whether the first certificate of `chain` leads to one of `anchors` at this time. Rejects never.
 * @param chain DER, the client's own first
 */
export async function leadsTo(
  chain: readonly Buffer[],
  anchors: readonly Anchor[],
  nowMs: number,
): Promise<boolean> {
  const [own, ...others] = chain;
  if (own === undefined) return false;
  try {
    if (!usableByClient(own, nowMs)) return false;
    // A certificate that was uploaded itself needs no way to another.
    if (anchors.some(({ der }) => der.equals(own))) return true;
    // The engine takes the last of `certs` for the one to be verified.
    const engine = new CertificateChainValidationEngine({
      trustedCerts: anchors.map(({ der }) => Certificate.fromBER(der)),
      certs: [...others, own].map((der) => Certificate.fromBER(der)),
      checkDate: new Date(nowMs),
    });
    const { result, certificatePath } = await engine.verify();
    return result && certificatePath !== undefined && holds(certificatePath, own, anchors, nowMs);
  } catch {
    return false;
  }
}

function holds(
  path: readonly Certificate[],
  own: Buffer,
  anchors: readonly Anchor[],
  nowMs: number,
): boolean {
  const ders = path.map((certificate) => Buffer.from(certificate.toSchema(true).toBER(false)));
  const last = ders.at(-1);
  if (ders.length < 2 || !ders[0]?.equals(own)) return false;
  if (last === undefined || !anchors.some(({ der }) => der.equals(last))) return false;
  const certificates = ders.map((der) => new X509Certificate(der));
  return certificates.every((certificate, at) => {
    const read = path[at];
    if (read === undefined || !valid(certificate, nowMs) || !heeded(read) || !strong(certificate, read)) {
      return false;
    }
    if (at === 0) return true;
    const below = certificates[at - 1];
    return (
      below !== undefined &&
      certificate.ca &&
      below.checkIssued(certificate) &&
      below.verify(certificate.publicKey) &&
      // Authorities between this one and the client's certificate, which does not count.
      at - 1 <= authoritiesAllowedBelow(read)
    );
  });
}

/** `pathLenConstraint` (section 4.2.1.9). */
function authoritiesAllowedBelow(certificate: Certificate): number {
  const constraints = certificate.extensions?.find(({ extnID }) => extnID === BASIC_CONSTRAINTS)?.parsedValue;
  if (!(constraints instanceof BasicConstraints)) return 0;
  const allowed = constraints.pathLenConstraint;
  return allowed === undefined ? Number.POSITIVE_INFINITY : Number(allowed);
}

function heeded(certificate: Certificate): boolean {
  return (certificate.extensions ?? []).every(({ critical, extnID }) => !critical || HEEDED.has(extnID));
}

function strong(certificate: X509Certificate, read: Certificate): boolean {
  const { asymmetricKeyDetails } = certificate.publicKey;
  const bits = asymmetricKeyDetails?.modulusLength ?? RSA_BITS_MIN;
  return bits >= RSA_BITS_MIN && !BROKEN_SIGNATURES.has(read.signatureAlgorithm.algorithmId);
}

function valid(certificate: X509Certificate, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs && nowMs <= certificate.validToDate.getTime();
}

/** Without extended key usage a certificate is for anything (section 4.2.1.12). */
function usableByClient(der: Buffer, nowMs: number): boolean {
  const certificate = new X509Certificate(der);
  // Node calls the extended usages so.
  const usages: readonly string[] | undefined = certificate.keyUsage;
  return (
    valid(certificate, nowMs) &&
    (usages === undefined || usages.includes(CLIENT_AUTHENTICATION) || usages.includes(ANY_USAGE))
  );
}
