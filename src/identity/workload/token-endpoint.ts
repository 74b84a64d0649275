// POST /oauth/token: the token endpoint (RFC 6749 section 3.2, RFC 8693 section 2), as the official SDK's
// `workloadIdentity` option and any OAuth client drive it.
//
// It is strict: JSON or a form, each parameter once, none that it does not know. Its refusals are RFC 6749 section 5.2's
// codes and a sentence about the request, never about what is configured here.

import { z } from 'zod';
import type { Clock } from '../../platform/clock.ts';
import { ApiError } from '../../platform/errors.ts';
import { ObjectScan } from '../../platform/json-scan.ts';
import type { ClientCertificate } from '../certificates/client-certificate.ts';
import { Failures } from '../failures.ts';
import type { Incoming, Proofs } from '../proof/prove.ts';
import type { Exchange, ExchangeRequest } from './exchange.ts';
import { SUBJECT_TOKEN_MAX } from './subject-token.ts';

const BODY_MAX = 64 * 1024;
const IN_FLIGHT_MAX = 128;
const BODY_MS = 10_000;

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token';
/** The SDK's own name for "the certificate of this connection". */
const X509 = 'urn:openai:params:oauth:token-type:x509';

const Id = z.string().min(1).max(128);
const Parameters = z.strictObject({
  grant_type: z.string().max(128),
  subject_token_type: z.enum([JWT, ID_TOKEN, X509]),
  subject_token: z.string().min(1).max(SUBJECT_TOKEN_MAX).optional(),
  identity_provider_id: Id,
  service_account_id: Id,
  /** Taken, and of no effect: the rule alone says what a token may do. */
  scope: z.string().max(4096).optional(),
  client_id: z.string().max(256).optional(),
  requested_token_type: z.literal(ACCESS_TOKEN).optional(),
});
const KNOWN = new Set(Object.keys(Parameters.shape));

/** A refusal in OAuth's form. */
class OAuthRefusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;
  constructor(status: number, code: string, description: string, headers: Record<string, string> = {}) {
    super(description);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

const invalid = (description: string) => new OAuthRefusal(400, 'invalid_request', description);

/** What the connection proves beside the request. */
export interface Presenter {
  readonly remoteAddress: string;
  readonly incoming: Incoming;
}

export interface TokenEndpointDeps {
  readonly exchange: Exchange;
  readonly proofs: Proofs;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

export class TokenEndpoint {
  readonly #deps: TokenEndpointDeps;
  readonly #failures: Failures;
  #inFlight = 0;

  constructor(deps: TokenEndpointDeps) {
    this.#deps = deps;
    this.#failures = new Failures(deps.clock);
  }

  /** Answers one request; never rejects. */
  async answer(request: Request, presenter: Presenter): Promise<Response> {
    this.#inFlight += 1;
    try {
      if (request.method !== 'POST') return notAllowed();
      const wait = this.#failures.wait(presenter.remoteAddress);
      if (wait > 0) {
        throw new OAuthRefusal(429, 'temporarily_unavailable', 'Too many refused requests from here.', {
          'retry-after': String(wait),
        });
      }
      if (this.#inFlight > IN_FLIGHT_MAX) throw later();
      return await this.#exchanged(request, presenter);
    } catch (error) {
      if (error instanceof OAuthRefusal) {
        if (error.status === 400 && error.code !== 'use_dpop_nonce')
          this.#failures.note(presenter.remoteAddress);
        return refusal(error);
      }
      this.#deps.onError(error);
      return error instanceof ApiError && error.status === 503
        ? refusal(later())
        : refusal(new OAuthRefusal(500, 'server_error', 'The server had an error.'));
    } finally {
      this.#inFlight -= 1;
    }
  }

  async #exchanged(request: Request, presenter: Presenter): Promise<Response> {
    const { proofs } = this.#deps;
    const certificate = proofs.certificateOf(presenter.incoming);
    const order = orderOf(await parametersOf(request), certificate, presenter.remoteAddress);
    // RFC 9449 section 5: a token that is asked for with a proof is bound to its key.
    const confirmation = await proofs.keyOf(presenter.incoming).catch((error: unknown) => {
      throw error instanceof ApiError ? dpopRefusal(error) : error;
    });
    const exchanged = await this.#deps.exchange.exchange({ ...order, confirmation });
    if (exchanged.kind === 'later') throw later();
    if (exchanged.kind === 'refused') {
      throw new OAuthRefusal(400, 'invalid_grant', 'The proof of identity was not accepted.');
    }
    return json(200, {
      access_token: exchanged.token.value,
      issued_token_type: ACCESS_TOKEN,
      token_type: confirmation === null || order.proof.type === 'x509' ? 'Bearer' : 'DPoP',
      expires_in: exchanged.seconds,
    });
  }
}

function orderOf(
  given: Readonly<Record<string, string>>,
  certificate: ClientCertificate | null,
  remoteAddress: string,
): Omit<ExchangeRequest, 'confirmation'> {
  if (given['grant_type'] === undefined) throw invalid('grant_type is missing.');
  if (given['grant_type'] !== EXCHANGE) {
    throw new OAuthRefusal(400, 'unsupported_grant_type', `The one grant type is ${EXCHANGE}.`);
  }
  const parsed = Parameters.safeParse(given);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const name = issue?.code === 'unrecognized_keys' ? issue.keys[0] : issue?.path[0];
    // A name that the caller made up is not repeated.
    throw invalid(typeof name === 'string' && KNOWN.has(name) ? `${name} is missing or wrong.` : UNKNOWN);
  }
  const { subject_token_type, subject_token, identity_provider_id, service_account_id } = parsed.data;
  const order = {
    providerId: identity_provider_id,
    serviceAccountId: service_account_id,
    address: remoteAddress,
  };
  if (subject_token_type === X509) {
    if (subject_token !== undefined)
      throw invalid('A certificate is proved by the connection: no subject_token.');
    if (certificate === null) {
      throw new OAuthRefusal(400, 'invalid_grant', 'The connection has no client certificate.');
    }
    return { ...order, proof: { type: 'x509', certificate } };
  }
  if (subject_token === undefined) throw invalid('subject_token is missing or wrong.');
  return { ...order, proof: { type: 'oidc', token: subject_token } };
}

const UNKNOWN = 'The request has a parameter that is not known here.';

async function parametersOf(request: Request): Promise<Record<string, string>> {
  const type = request.headers.get('content-type')?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json' && type !== 'application/x-www-form-urlencoded') {
    throw invalid('Send application/json or application/x-www-form-urlencoded.');
  }
  const body = await bodyOf(request);
  return type === 'application/json' ? fromJson(body) : fromForm(body.toString());
}

function fromJson(body: Buffer): Record<string, string> {
  if (!(ObjectScan.over(body, 2, KNOWN) instanceof ObjectScan)) throw invalid(TWICE);
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    throw invalid('The body is not JSON.');
  }
  const parsed = z.record(z.string(), z.string()).safeParse(value);
  if (!parsed.success) throw invalid('The body must be an object of texts.');
  return parsed.data;
}

const TWICE = 'The body must be an object that names each parameter once.';

function fromForm(body: string): Record<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (found.has(name)) throw invalid(TWICE);
    found.set(name, value);
  }
  return Object.fromEntries(found);
}

/** The body, within its bounds of size and time. */
async function bodyOf(request: Request): Promise<Buffer> {
  const reader = request.body?.getReader();
  if (reader === undefined) return Buffer.alloc(0);
  const chunks: Uint8Array[] = [];
  let length = 0;
  const timer = setTimeout(() => void reader.cancel().catch(() => {}), BODY_MS);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return Buffer.concat(chunks);
      length += value.byteLength;
      if (length > BODY_MAX) {
        await reader.cancel().catch(() => {});
        throw invalid('The request is larger than any that is taken here.');
      }
      chunks.push(value);
    }
  } finally {
    clearTimeout(timer);
  }
}

function later(): OAuthRefusal {
  return new OAuthRefusal(503, 'temporarily_unavailable', 'This cannot be answered now: try again.', {
    'retry-after': '1',
  });
}

/** RFC 9449 sections 5 and 8: what is wrong with a proof, and the nonce where one is asked for. */
function dpopRefusal({ status, code, headers }: ApiError): OAuthRefusal {
  if (status === 503) return later();
  if (code !== 'use_dpop_nonce') {
    return new OAuthRefusal(400, 'invalid_dpop_proof', 'The DPoP proof was not accepted.');
  }
  const nonce = headers[headers.indexOf('dpop-nonce') + 1] ?? '';
  return new OAuthRefusal(400, code, 'The DPoP proof must hold the nonce of this reply.', {
    'dpop-nonce': nonce,
  });
}

function refusal({ status, code, message, headers }: OAuthRefusal): Response {
  return json(status, { error: code, error_description: message }, headers);
}

function notAllowed(): Response {
  const description = 'Tokens are asked for by POST.';
  return json(405, { error: 'invalid_request', error_description: description }, { allow: 'POST' });
}

/** RFC 6749 section 5.1: nothing of this is ever cached. */
function json(status: number, body: object, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      pragma: 'no-cache',
      ...headers,
    },
  });
}
