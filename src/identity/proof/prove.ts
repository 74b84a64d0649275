// What a caller must prove beside knowing its key: that it holds the key which the API key or token is bound to (DPoP or
// its client certificate), and a client certificate of an authority that is active in the project or organization.
//
// Who needs none of it does not come here: the road asks three properties. A certificate that was looked at before is
// answered at once; everything else is a promise.

import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { plainAddress } from '../../keys/addresses.ts';
import { digestKey } from '../../keys/format.ts';
import type { AddressRanges, Confirmation, Principal } from '../../keys/model.ts';
import type { Clock } from '../../platform/clock.ts';
import { ApiError, unavailable } from '../../platform/errors.ts';
import {
  type ClientCertificate,
  certificateOfHeaders,
  certificateOfSocket,
} from '../certificates/client-certificate.ts';
import type { Trust } from '../certificates/trust.ts';
import { DPOP_WINDOW_SECONDS, verifyProof } from './dpop.ts';
import { Nonces } from './nonces.ts';
import { Replays } from './replays.ts';

/** The request as it came in, and its connection. */
export interface Incoming {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** Flat: name, value. */
  readonly headers: readonly string[];
  readonly socket: Socket;
}

export interface ProofOptions {
  readonly clock: Clock;
  /** Addresses whose headers are believed; null: none. */
  readonly proxies: AddressRanges | null;
  /** Where clients reach this server, without a path; null: as the request's Host header has it. */
  readonly publicUrl: string | null;
  /** Whether proofs must hold a nonce of this node's. */
  readonly nonce: boolean;
}

export type Proof = ApiError | null;

/** Whether anything must be proved at all. */
export function mustProve({ confirmation, organization, project }: Principal): boolean {
  return confirmation !== null || organization.trust !== null || (project !== null && project.trust !== null);
}

export class Proofs {
  readonly #options: ProofOptions;
  readonly #replays: Replays;
  readonly #nonces: Nonces | null;

  constructor(options: ProofOptions) {
    this.#options = options;
    this.#replays = new Replays(options.clock, 2 * DPOP_WINDOW_SECONDS * 1000);
    this.#nonces = options.nonce ? new Nonces(options.clock) : null;
  }

  /** The client's certificate, as far as it can be believed. */
  certificateOf({ socket, headers }: Incoming): ClientCertificate | null {
    const { proxies } = this.#options;
    // A trusted proxy's own certificate is not the client's.
    if (proxies?.includes(plainAddress(socket.remoteAddress ?? ''))) {
      return certificateOfHeaders(headerOf(headers, 'client-cert'), headerOf(headers, 'client-cert-chain'));
    }
    return certificateOfSocket(socket);
  }

  /**
   * Null when all is proved that must be.
   * @param presented the key, or the token
   * @param trusted whether the authorities of project and organization are asked: not on the control plane, where a
   *   certificate that was switched on by mistake is switched off again
   */
  check(
    principal: Principal,
    presented: string,
    incoming: Incoming,
    trusted: boolean,
  ): Proof | Promise<Proof> {
    const { confirmation } = principal;
    if (confirmation?.kind === 'certificate') {
      const refusal = this.boundTo(confirmation, this.certificateOf(incoming));
      if (refusal !== null) return refusal;
    }
    if (confirmation?.kind === 'dpop') {
      return this.#dpop(confirmation, presented, incoming).then(
        (refusal) => refusal ?? (trusted ? this.#trusted(principal, incoming) : null),
      );
    }
    return trusted ? this.#trusted(principal, incoming) : null;
  }

  /** Whether the certificate is the one that a key is bound to. */
  boundTo(confirmation: Confirmation, certificate: ClientCertificate | null): Proof {
    if (certificate?.thumbprint === confirmation.thumbprint) return null;
    return new ApiError(
      401,
      certificate === null
        ? 'This key works only with the client certificate that it is bound to, and the connection has none.'
        : 'This key is bound to another client certificate than the one of this connection.',
      { code: 'key_bound_to_certificate', headers: ['www-authenticate', 'Bearer error="invalid_token"'] },
    );
  }

  /** The key that a DPoP proof at the token endpoint shows; null without a proof. Rejects with what is wrong. */
  async keyOf(incoming: Incoming): Promise<Confirmation | null> {
    const proof = headerOf(incoming.headers, 'dpop');
    if (proof === null) return null;
    const shown = await this.#verify(proof, incoming, null);
    if (shown instanceof ApiError) throw shown;
    return { kind: 'dpop', thumbprint: shown };
  }

  async #dpop(confirmation: Confirmation, presented: string, incoming: Incoming): Promise<Proof> {
    const proof = headerOf(incoming.headers, 'dpop');
    if (proof === null)
      return this.#noProof('This key works only with a DPoP proof, and the request has none.');
    const keyHash = Buffer.from(digestKey(presented), 'latin1').toString('base64url');
    const shown = await this.#verify(proof, incoming, keyHash);
    if (shown instanceof ApiError) return shown;
    return shown === confirmation.thumbprint
      ? null
      : this.#noProof('The DPoP proof is by another key than the one that this API key is bound to.');
  }

  /** The thumbprint of the key that signed the proof, or the refusal. */
  async #verify(proof: string, incoming: Incoming, keyHash: string | null): Promise<string | ApiError> {
    const nonces = this.#nonces;
    const result = await verifyProof(proof, {
      method: incoming.method,
      targets: this.#targets(incoming),
      keyHash,
      nowSeconds: Math.floor(this.#options.clock.now() / 1000),
      nonce: nonces && ((nonce) => nonces.accepts(nonce)),
    });
    if (!result.ok) {
      return result.flaw === 'nonce'
        ? useNonce(nonces?.current() ?? '')
        : this.#noProof('The DPoP proof does not hold for this request, key and time.');
    }
    switch (this.#replays.note(`${result.thumbprint}\n${result.id}`)) {
      case 'new':
        return result.thumbprint;
      case 'seen':
        return this.#noProof('This DPoP proof was used before: each request needs its own.');
      default:
        return unavailable('Too many DPoP proofs at once: try again.');
    }
  }

  /** Where this request was sent to, as its client may have written it. */
  #targets({ target, headers, socket }: Incoming): readonly string[] {
    const mark = target.indexOf('?');
    const path = mark < 0 ? target : target.slice(0, mark);
    const { publicUrl, proxies } = this.#options;
    if (publicUrl !== null) return [normal(publicUrl + path)];
    const host = headerOf(headers, 'host') ?? '';
    const proxied = proxies?.includes(plainAddress(socket.remoteAddress ?? '')) === true;
    // A trusted proxy may have ended TLS in front of a plain connection.
    const schemes = socket instanceof TLSSocket ? ['https'] : proxied ? ['https', 'http'] : ['http'];
    return schemes.map((scheme) => normal(`${scheme}://${host}${path}`));
  }

  #noProof(message: string): ApiError {
    return new ApiError(401, message, {
      code: 'dpop_proof_required',
      headers: ['www-authenticate', 'DPoP error="invalid_dpop_proof", algs="ES256 EdDSA PS256 RS256"'],
    });
  }

  #trusted(principal: Principal, incoming: Incoming): Proof | Promise<Proof> {
    const trusts = [principal.organization.trust, principal.project?.trust ?? null].filter(
      (trust) => trust !== null,
    );
    if (trusts.length === 0) return null;
    const certificate = this.certificateOf(incoming);
    if (certificate === null) return noCertificate();
    const accepted = acceptedBy(trusts, certificate, this.#options.clock.now());
    if (typeof accepted === 'boolean') return accepted ? null : notAccepted();
    return accepted.then((yes) => (yes ? null : notAccepted()));
  }
}

/** Whether any of these accepts the certificate. */
export function acceptedBy(
  trusts: readonly Trust[],
  certificate: ClientCertificate,
  nowMs: number,
): boolean | Promise<boolean> {
  const answers = trusts.map((trust) => trust.accepts(certificate, nowMs));
  if (answers.includes(true)) return true;
  if (answers.every((answer) => answer === false)) return false;
  return Promise.all(answers).then((all) => all.includes(true));
}

function noCertificate(): ApiError {
  return new ApiError(
    401,
    'This project takes calls only with a client certificate (mutual TLS), and the connection has none.',
    { code: 'client_certificate_required' },
  );
}

function notAccepted(): ApiError {
  return new ApiError(401, 'The client certificate of this connection is not accepted by this project.', {
    code: 'client_certificate_not_accepted',
  });
}

/** RFC 9449 section 9. */
function useNonce(nonce: string): ApiError {
  return new ApiError(401, 'The DPoP proof must hold the nonce that this reply gives.', {
    code: 'use_dpop_nonce',
    headers: ['www-authenticate', 'DPoP error="use_dpop_nonce"', 'dpop-nonce', nonce],
  });
}

/** A header that stands once; null if it is not there, or twice, which proves nothing. */
export function headerOf(headers: readonly string[], name: string): string | null {
  let found: string | null = null;
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const header = headers[at] ?? '';
    if (header.length !== name.length || header.toLowerCase() !== name) continue;
    if (found !== null) return null;
    found = headers[at + 1] ?? '';
  }
  return found;
}

function normal(text: string): string {
  if (!URL.canParse(text)) return text;
  const url = new URL(text);
  return `${url.origin}${url.pathname}`;
}
