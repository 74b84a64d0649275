// Google Cloud by its REST interfaces: access tokens by a service account's key (RFC 7523) or by federation, where
// keygate's own token is exchanged (RFC 8693) and no Google key is kept at all.

import { importPKCS8, SignJWT } from 'jose';
import { z } from 'zod';
import type { GcpConfig } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Outgoing, OutgoingReply } from '../platform/outgoing.ts';
import { CloudError, codeText, jsonOf, neededAt, reached, reasonOf, textAt } from './error.ts';
import type { CloudIdentity } from './identity.ts';

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
const EARLY_MS = 5 * 60_000;
const TOKENS_MAX = 1000;

const ServiceAccount = z.looseObject({
  client_email: z.string(),
  private_key: z.string(),
  token_uri: z.url().optional(),
});

/** A pool that trusts keygate's tokens. */
export interface Federation {
  readonly projectNumber: string;
  readonly pool: string;
  readonly provider: string;
  /** `aud` of keygate's token. */
  readonly audience: string;
  /** `sub` of keygate's token. */
  readonly subject: string;
}

export interface GcpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
}

export class Gcp {
  readonly #config: GcpConfig;
  readonly #outgoing: Outgoing;
  readonly #identity: CloudIdentity;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, { readonly token: string; readonly until: number }>();

  constructor(config: GcpConfig, outgoing: Outgoing, identity: CloudIdentity, clock: Clock) {
    this.#config = config;
    this.#outgoing = outgoing;
    this.#identity = identity;
    this.#clock = clock;
  }

  endpoint(service: 'kms' | 'storage' | 'secretmanager'): string {
    const hosts = { kms: 'cloudkms', storage: 'storage', secretmanager: 'secretmanager' };
    return (this.#config.endpoints[service] ?? `https://${hosts[service]}.googleapis.com`).replace(
      /\/+$/,
      '',
    );
  }

  /** keygate's own access token. */
  async own(): Promise<string> {
    const secret = this.#config.serviceAccount;
    if (secret === null) {
      throw new CloudError(
        'unavailable',
        'keygate has no Google credentials: set clouds.gcp.service_account or GOOGLE_APPLICATION_CREDENTIALS.',
      );
    }
    return await this.#cached('own', async () => {
      const account = parseAccount(secret.reveal());
      const uri = this.#config.endpoints.token ?? account.token_uri ?? 'https://oauth2.googleapis.com/token';
      const now = Math.floor(this.#clock.now() / 1000);
      const assertion = await new SignJWT({ scope: SCOPE })
        .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
        .setIssuer(account.client_email)
        .setAudience(account.token_uri ?? uri)
        .setIssuedAt(now)
        .setExpirationTime(now + 3600)
        .sign(await importPKCS8(account.private_key, 'RS256'));
      return await this.#ask(uri, {
        grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
        assertion,
      });
    });
  }

  /** An access token of a customer's pool for keygate's own token. */
  async federated(to: Federation): Promise<string> {
    return await this.#cached(federationName(to), async () =>
      this.#ask(
        `${(this.#config.endpoints.sts ?? 'https://sts.googleapis.com').replace(/\/+$/, '')}/v1/token`,
        {
          grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
          audience: `//iam.googleapis.com/projects/${to.projectNumber}/locations/global/workloadIdentityPools/${to.pool}/providers/${to.provider}`,
          scope: SCOPE,
          requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
          subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
          subject_token: await this.#identity.token(to.subject, to.audience),
        },
      ),
    );
  }

  forget(to: Federation): void {
    this.#tokens.delete(federationName(to));
  }

  async send(token: string, request: GcpRequest): Promise<OutgoingReply> {
    return await reached(
      this.#outgoing.send({ ...request, headers: { ...request.headers, authorization: `Bearer ${token}` } }),
    );
  }

  /** One operation that takes and gives JSON. */
  async json(token: string, request: Omit<GcpRequest, 'body'> & { readonly body?: object }) {
    const { body, ...rest } = request;
    const reply = await this.send(token, {
      ...rest,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      headers: { ...rest.headers, 'content-type': 'application/json' },
    });
    if (reply.status !== 200) throw gcpError(reply);
    return jsonOf(reply, 'Google Cloud');
  }

  async #cached(name: string, take: () => Promise<{ token: string; until: number }>): Promise<string> {
    const known = this.#tokens.get(name);
    if (known !== undefined && known.until - EARLY_MS > this.#clock.now()) return known.token;
    const taken = await take();
    if (this.#tokens.size >= TOKENS_MAX) this.#tokens.clear();
    this.#tokens.set(name, taken);
    return taken.token;
  }

  async #ask(url: string, parameters: Readonly<Record<string, string>>) {
    const reply = await reached(
      this.#outgoing.send({
        url,
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams(parameters).toString(),
      }),
    );
    const value = jsonOf(reply, 'Google Cloud');
    if (reply.status !== 200) {
      const code = codeText(textAt(value, 'error'));
      throw new CloudError(
        reasonOf(reply.status),
        `Google Cloud gave no access token: ${code ?? reply.status}.`,
        code,
      );
    }
    const seconds = typeof value['expires_in'] === 'number' ? value['expires_in'] : 3600;
    return {
      token: neededAt(value, 'Google Cloud', 'access_token'),
      until: this.#clock.now() + seconds * 1000,
    };
  }
}

function federationName(to: Federation): string {
  return JSON.stringify([to.projectNumber, to.pool, to.provider, to.audience, to.subject]);
}

function parseAccount(text: string): z.infer<typeof ServiceAccount> {
  try {
    return ServiceAccount.parse(JSON.parse(text));
  } catch {
    throw new CloudError('unavailable', 'clouds.gcp.service_account is no JSON key of a service account.');
  }
}

export function gcpError(reply: OutgoingReply): CloudError {
  let code: string | null = null;
  try {
    code = codeText(textAt(JSON.parse(reply.body.toString('utf8')), 'error', 'status'));
  } catch {
    // The number says enough.
  }
  const reason = reply.status === 401 ? 'unavailable' : reasonOf(reply.status);
  return new CloudError(
    reason,
    `Google Cloud answered ${code ?? ''} (${reply.status}).`.replace('  ', ' '),
    code,
  );
}
