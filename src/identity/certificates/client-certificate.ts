// The certificate that a client presented: with its TLS connection to this server, or, where a proxy ended that, as the
// proxy says in the Client-Cert and Client-Cert-Chain headers (RFC 9440), which are believed of trusted proxies only.
// Whether anybody trusts it is another question (trust.ts); here it is only known that its holder has its key.

import { hash } from 'node:crypto';
import type { Socket } from 'node:net';
import { type DetailedPeerCertificate, TLSSocket } from 'node:tls';

/** Certificates of a chain that are looked at, the client's own included. */
const CHAIN_MAX = 8;
const CERTIFICATE_MAX = 16 * 1024;
/** Characters of the two headers together. */
const HEADERS_MAX = 64 * 1024;

export interface ClientCertificate {
  /** DER, the client's own first, then what it sent of the way to its authority, in any order. */
  readonly chain: readonly Buffer[];
  /** SHA-256 of the client's own in base64url: `x5t#S256` (RFC 8705 section 3.1). */
  readonly thumbprint: string;
  /** Names the whole chain. */
  readonly digest: string;
}

export function clientCertificate(chain: readonly Buffer[]): ClientCertificate | null {
  const [own] = chain;
  if (own === undefined || chain.length > CHAIN_MAX) return null;
  if (chain.some((certificate) => certificate.length > CERTIFICATE_MAX)) return null;
  return {
    chain,
    thumbprint: hash('sha256', own, 'base64url'),
    digest: hash('sha256', Buffer.concat(chain.map((der) => hash('sha256', der, 'buffer'))), 'base64url'),
  };
}

const ofSockets = new WeakMap<Socket, ClientCertificate | null>();

/** The certificate of a TLS connection; null if there is none. */
export function certificateOfSocket(socket: Socket): ClientCertificate | null {
  const known = ofSockets.get(socket);
  if (known !== undefined) return known;
  const found = socket instanceof TLSSocket ? clientCertificate(chainOf(socket)) : null;
  ofSockets.set(socket, found);
  return found;
}

function chainOf(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  const seen = new Set<string>();
  let next: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  // The authority of a certificate that signed itself is itself.
  while (next?.raw !== undefined && !seen.has(next.fingerprint256) && chain.length <= CHAIN_MAX) {
    seen.add(next.fingerprint256);
    chain.push(next.raw);
    next = next.issuerCertificate;
  }
  return chain;
}

/** A byte sequence of a structured field (RFC 8941 section 3.3.5). */
const BYTES = /^:([A-Za-z0-9+/]*={0,2}):$/;

/** What a trusted proxy says; null if it says nothing, or nothing that can be read. */
export function certificateOfHeaders(own: string | null, rest: string | null): ClientCertificate | null {
  if (own === null || own.length + (rest?.length ?? 0) > HEADERS_MAX) return null;
  const texts = [own, ...(rest === null || rest.trim() === '' ? [] : rest.split(','))];
  const chain: Buffer[] = [];
  for (const text of texts) {
    const [, base64] = BYTES.exec(text.trim()) ?? [];
    if (base64 === undefined || base64 === '') return null;
    chain.push(Buffer.from(base64, 'base64'));
  }
  return clientCertificate(chain);
}
