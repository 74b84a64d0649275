// A server with a provider and a rule for a test issuer, and the official client that signs in by its tokens.

import OpenAI from 'openai';
import { startTestServer, type TestServer, type TestServerOptions } from '../harness/server.ts';
import { AUDIENCE, startIssuer, type TestIssuer } from './issuer.ts';

export interface Federated {
  readonly server: TestServer;
  readonly issuer: TestIssuer;
  readonly providerId: string;
  readonly ruleId: string;
  readonly accountId: string;
  /** One request to the token endpoint. */
  exchange(body: Record<string, unknown> | string, headers?: Record<string, string>): Promise<OAuthReply>;
  /** An exchange of this subject token with the provider and account as they are. */
  exchangeToken(token: string, over?: Record<string, unknown>): Promise<OAuthReply>;
  close(): Promise<void>;
}

export interface OAuthReply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const JWT = 'urn:ietf:params:oauth:token-type:jwt';

export async function startFederated(
  over: {
    readonly matchers?: Record<string, string | number | boolean>;
    readonly server?: TestServerOptions;
  } = {},
): Promise<Federated> {
  const issuer = await startIssuer();
  const server = await startTestServer({
    ...over.server,
    flags: { ...over.server?.flags },
    env: { KEYGATE_OUTGOING_ALLOW_PRIVATE: '127.0.0.1', ...over.server?.env },
  });
  const ok = async (method: string, path: string, body?: unknown) => {
    const reply = await server.admin(method, path, body);
    if (reply.status !== 200) throw new Error(JSON.stringify(reply.body));
    return reply.body;
  };
  const account = await ok('POST', `/v1/organization/projects/${server.projectId}/service_accounts`, {
    name: 'ci',
  });
  const provider = await ok('POST', '/v1/organization/workload_identity_providers', {
    type: 'oidc',
    name: 'CI',
    issuer: issuer.url,
    audience: AUDIENCE,
    attribute_transformations: [{ attribute: 'openai.branch', expression: 'assertion.ref.split("/")[2]' }],
  });
  const rule = await ok(
    'POST',
    `/v1/organization/workload_identity_providers/${provider['id']}/federation_rules`,
    {
      project_id: server.projectId,
      service_account_id: account['id'],
      attribute_matchers: over.matchers ?? { repository: 'acme/app', 'openai.branch': 'main' },
    },
  );
  const exchange: Federated['exchange'] = async (body, headers = {}) => {
    const reply = await fetch(`${server.url}/oauth/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    return {
      status: reply.status,
      headers: reply.headers,
      body: (await reply.json()) as Record<string, unknown>,
    };
  };
  return {
    server,
    issuer,
    providerId: String(provider['id']),
    ruleId: String(rule['id']),
    accountId: String(account['id']),
    exchange,
    exchangeToken: (token, fields = {}) =>
      exchange({
        grant_type: EXCHANGE,
        subject_token: token,
        subject_token_type: JWT,
        identity_provider_id: provider['id'],
        service_account_id: account['id'],
        ...fields,
      }),
    async close() {
      await server.stop();
      server.remove();
      await issuer.close();
    },
  };
}

/** The unmodified client; its token endpoint, which is fixed in it, is led to the server by its own `fetch` option. */
export function workloadClient(
  { server, providerId, accountId }: Federated,
  getToken: () => Promise<string>,
  seen?: (url: string, reply: Response) => void,
): OpenAI {
  return new OpenAI({
    baseURL: `${server.url}/v1`,
    apiKey: null,
    maxRetries: 0,
    workloadIdentity: {
      identityProviderId: providerId,
      serviceAccountId: accountId,
      provider: { tokenType: 'jwt', getToken },
    },
    fetch: async (url, init) => {
      const to = String(url).replace('https://auth.openai.com', server.url);
      const reply = await fetch(to, init);
      seen?.(to, reply);
      return reply;
    },
  });
}
