// Azure by its REST interfaces: access tokens by client credentials (RFC 6749 section 4.4), with the application's
// secret or with keygate's own token that the application trusts (a federated credential, RFC 7523).

import type { AzureConfig } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Outgoing, OutgoingReply, OutgoingRequest } from '../platform/outgoing.ts';
import { CloudError, codeText, jsonOf, neededAt, reached, reasonOf, textAt } from './error.ts';
import type { CloudIdentity } from './identity.ts';

const EARLY_MS = 5 * 60_000;
const TOKENS_MAX = 1000;
const TENANT = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** `aud` of a token for a federated credential. */
const EXCHANGE = 'api://AzureADTokenExchange';

export class Azure {
  readonly config: AzureConfig;
  readonly #outgoing: Outgoing;
  readonly #identity: CloudIdentity;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, { readonly token: string; readonly until: number }>();

  constructor(config: AzureConfig, outgoing: Outgoing, identity: CloudIdentity, clock: Clock) {
    this.config = config;
    this.#outgoing = outgoing;
    this.#identity = identity;
    this.#clock = clock;
  }

  /** @param subject `sub` of keygate's own token, where the application trusts those */
  async token(tenantId: string, scope: string, subject: string): Promise<string> {
    const { clientId, clientSecret, endpoints } = this.config;
    if (clientId === null) {
      throw new CloudError(
        'unavailable',
        'keygate has no Azure application: set clouds.azure.client_id, or AZURE_CLIENT_ID.',
      );
    }
    if (!TENANT.test(tenantId)) throw new CloudError('denied', 'The Azure tenant is not a UUID.');
    const name = JSON.stringify([tenantId, scope, subject]);
    const known = this.#tokens.get(name);
    if (known !== undefined && known.until - EARLY_MS > this.#clock.now()) return known.token;
    const login = (endpoints.login ?? 'https://login.microsoftonline.com').replace(/\/+$/, '');
    const reply = await reached(
      this.#outgoing.send({
        url: `${login}/${tenantId}/oauth2/v2.0/token`,
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({
          grant_type: 'client_credentials',
          client_id: clientId,
          scope,
          ...(clientSecret !== null
            ? { client_secret: clientSecret.reveal() }
            : {
                client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
                client_assertion: await this.#identity.token(subject, EXCHANGE),
              }),
        }).toString(),
      }),
    );
    const value = jsonOf(reply, 'Azure');
    if (reply.status !== 200) {
      const code = codeText(textAt(value, 'error'));
      // A wrong secret is keygate's own trouble; that the tenant no longer knows the application is a no.
      const reason = code === 'invalid_client' ? 'unavailable' : reasonOf(reply.status);
      throw new CloudError(reason, `Azure gave no access token: ${code ?? reply.status}.`, code);
    }
    const seconds = Number(value['expires_in'] ?? 3600);
    const taken = {
      token: neededAt(value, 'Azure', 'access_token'),
      until: this.#clock.now() + seconds * 1000,
    };
    if (this.#tokens.size >= TOKENS_MAX) this.#tokens.clear();
    this.#tokens.set(name, taken);
    return taken.token;
  }

  async send(token: string, request: OutgoingRequest): Promise<OutgoingReply> {
    return await reached(
      this.#outgoing.send({ ...request, headers: { ...request.headers, authorization: `Bearer ${token}` } }),
    );
  }
}

export function azureError(reply: OutgoingReply): CloudError {
  let code: string | null = null;
  try {
    const value: unknown = JSON.parse(reply.body.toString('utf8'));
    code = codeText(textAt(value, 'error', 'innererror', 'code') ?? textAt(value, 'error', 'code'));
  } catch {
    code = codeText(reply.headers.get('x-ms-error-code') ?? undefined);
  }
  const reason = reply.status === 401 ? 'unavailable' : reasonOf(reply.status);
  return new CloudError(reason, `Azure answered ${code === null ? '' : `${code} `}(${reply.status}).`, code);
}
