// Certificates for tests, made on the spot: authorities, what they sign, and what they should not have signed.

import { webcrypto } from 'node:crypto';
import { BitString, Integer, OctetString, PrintableString, Utf8String } from 'asn1js';
import {
  AttributeTypeAndValue,
  BasicConstraints,
  Certificate,
  Extension,
  ExtKeyUsage,
  GeneralName,
  GeneralNames,
} from 'pkijs';

export interface Holder {
  readonly name: string;
  readonly pem: string;
  readonly keyPem: string;
  readonly certificate: Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

export interface CertificateOptions {
  readonly name: string;
  readonly unit?: string;
  /** Who signs; none: itself. */
  readonly by?: Holder;
  /** Says who signs, whoever does. */
  readonly issuerName?: string;
  readonly authority?: boolean;
  readonly pathLength?: number;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly usages?: readonly string[];
  readonly dns?: readonly string[];
  readonly uri?: string;
  readonly ip?: boolean;
  readonly critical?: string;
}

const DAY = 86_400_000;
export const CLIENT = '1.3.6.1.5.5.7.3.2';
export const SERVER = '1.3.6.1.5.5.7.3.1';

export async function certify(options: CertificateOptions): Promise<Holder> {
  const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const certificate = new Certificate();
  certificate.version = 2;
  certificate.serialNumber = new Integer({ value: Math.floor(Math.random() * 2 ** 30) + 1 });
  const signer = options.by;
  name(certificate.subject, options.name, options.unit);
  name(certificate.issuer, options.issuerName ?? signer?.name ?? options.name);
  certificate.notBefore.value = options.notBefore ?? new Date(Date.now() - DAY);
  certificate.notAfter.value = options.notAfter ?? new Date(Date.now() + 90 * DAY);
  const extensions: Extension[] = [];
  if (options.authority) {
    const { pathLength } = options;
    const constraints = new BasicConstraints({
      cA: true,
      ...(pathLength === undefined ? {} : { pathLenConstraint: pathLength }),
    });
    extensions.push(extension('2.5.29.19', constraints.toSchema().toBER(), true));
    // keyCertSign and cRLSign
    const usage = new BitString({ valueHex: new Uint8Array([0x06]).buffer, unusedBits: 1 });
    extensions.push(extension('2.5.29.15', usage.toBER(), true));
  } else {
    const usages = new ExtKeyUsage({ keyPurposes: [...(options.usages ?? [CLIENT])] });
    extensions.push(extension('2.5.29.37', usages.toSchema().toBER(), false));
  }
  const names = [
    ...(options.dns ?? []).map((value) => new GeneralName({ type: 2, value })),
    ...(options.uri === undefined ? [] : [new GeneralName({ type: 6, value: options.uri })]),
    ...(options.ip
      ? [
          new GeneralName({
            type: 7,
            value: new OctetString({ valueHex: new Uint8Array([127, 0, 0, 1]).buffer }),
          }),
        ]
      : []),
  ];
  if (names.length > 0) {
    extensions.push(extension('2.5.29.17', new GeneralNames({ names }).toSchema().toBER(), false));
  }
  if (options.critical !== undefined) {
    extensions.push(extension(options.critical, new PrintableString({ value: 'x' }).toBER(), true));
  }
  certificate.extensions = extensions;
  await certificate.subjectPublicKeyInfo.importKey(keys.publicKey);
  await certificate.sign((signer?.keys ?? keys).privateKey, 'SHA-256');
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return {
    name: options.name,
    certificate,
    keys,
    pem: pem('CERTIFICATE', Buffer.from(certificate.toSchema(true).toBER(false))),
    keyPem: pem('PRIVATE KEY', key),
  };
}

function name(to: Certificate['subject'], commonName: string, unit?: string): void {
  to.typesAndValues.push(
    new AttributeTypeAndValue({ type: '2.5.4.3', value: new Utf8String({ value: commonName }) }),
  );
  if (unit !== undefined) {
    to.typesAndValues.push(
      new AttributeTypeAndValue({ type: '2.5.4.11', value: new Utf8String({ value: unit }) }),
    );
  }
}

function extension(id: string, value: ArrayBuffer, critical: boolean): Extension {
  return new Extension({ extnID: id, critical, extnValue: value });
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
