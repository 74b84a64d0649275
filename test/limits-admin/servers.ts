// A whole keygate with a small table of limits, and calls through it.

import OpenAI from 'openai';
import { oneProvider, startTestServer, type TestServer, type TestServerOptions } from '../harness/server.ts';
import { startUpstream, type Upstream } from '../harness/upstream.ts';

export interface Limited {
  readonly server: TestServer;
  readonly upstream: Upstream;
  /** The official client with the admin key. */
  readonly admin: OpenAI;
  close(): Promise<void>;
}

/** @param limits YAML of the table, indented under `limits:` */
export async function startLimited(limits: string, options: TestServerOptions = {}): Promise<Limited> {
  const upstream = await startUpstream();
  const yaml = `${oneProvider(upstream.url)}limits:\n${limits.replace(/^/gm, '  ')}\n`;
  const server = await startTestServer({ ...options, yaml: `${yaml}${options.yaml ?? ''}` });
  return {
    server,
    upstream,
    admin: new OpenAI({
      adminAPIKey: server.adminKey,
      apiKey: null,
      baseURL: `${server.adminUrl}/v1`,
      maxRetries: 0,
    }),
    async close() {
      await server.stop();
      server.remove();
      await upstream.close();
    },
  };
}

/** One tier with these statements, as flow YAML: `'*': { requests_per_minute: 3 }`. */
export function tier(statements: string): string {
  return `tiers: [{ name: only, limits: { ${statements} } }]`;
}

export interface Called {
  readonly status: number;
  readonly headers: Headers;
  /** Of a refusal. */
  readonly error: { message: string; type: string; code: string | null } | undefined;
}

/** One call of one word, of which the provider says that it used ten tokens. */
export async function chat(
  server: Pick<TestServer, 'url' | 'projectKey'>,
  body: Record<string, unknown> = {},
  key = server.projectKey,
): Promise<Called> {
  const reply = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'gpt-4o',
      max_tokens: 5,
      messages: [{ role: 'user', content: 'hi' }],
      ...body,
    }),
  });
  const parsed = (await reply.json()) as { error?: Called['error'] };
  return { status: reply.status, headers: reply.headers, error: parsed.error };
}

/** How many of `count` calls one after the other pass, and the first refusal. */
export async function callUntilRefused(
  call: () => Promise<Called>,
  most = 50,
): Promise<{ passed: number; refusal: Called }> {
  for (let passed = 0; passed < most; passed++) {
    const called = await call();
    if (called.status !== 200) return { passed, refusal: called };
  }
  throw new Error(`${most} calls passed`);
}
