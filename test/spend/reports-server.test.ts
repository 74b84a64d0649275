// Usage and costs through a whole server: calls by the official client are in its reports a moment later, and the
// command line draws them.

import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../cli/running.ts';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { completion, sendJson, startUpstream } from '../harness/upstream.ts';

const PRICES = `prices:
  source: test
  date: "2026-01-01"
  prices:
    - { provider: mock, models: [priced], input: "2.50", output: "10" }
`;

describe('reports of a server', () => {
  let upstream: Awaited<ReturnType<typeof startUpstream>>;
  let server: TestServer;
  let admin: OpenAI;
  const since = Math.floor(Date.now() / 1000) - 60;

  beforeAll(async () => {
    upstream = await startUpstream((_asked, response) =>
      sendJson(response, 200, {
        ...completion('hello'),
        model: 'priced',
        usage: { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 },
      }),
    );
    server = await startTestServer({ yaml: oneProvider(upstream.url, PRICES) });
    admin = new OpenAI({
      baseURL: `${server.adminUrl}/v1`,
      adminAPIKey: server.adminKey,
      apiKey: null,
      maxRetries: 0,
    });
  });
  afterAll(async () => {
    await server.stop();
    server.remove();
    await upstream.close();
  });

  /** Asks until a report has what is waited for; roll-ups are about a second behind. */
  async function eventually<T>(ask: () => Promise<T>, there: (reply: T) => boolean): Promise<T> {
    for (let tries = 0; ; tries++) {
      const reply = await ask();
      if (there(reply) || tries === 100) return reply;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  it('have every call, with its cost, for the official client and in pages', async () => {
    for (let call = 0; call < 3; call++)
      await server.client.chat.completions.create({
        model: 'priced',
        messages: [{ role: 'user', content: 'hi' }],
      });
    const usage = admin.admin.organization.usage;
    const found = await eventually(
      () => usage.completions({ start_time: since, group_by: ['project_id', 'model'] }),
      (page) => JSON.stringify(page).includes('"num_model_requests":3'),
    );
    expect(found.data.flatMap((bucket) => bucket.results)).toMatchObject([
      {
        object: 'organization.usage.completions.result',
        num_model_requests: 3,
        input_tokens: 3000,
        output_tokens: 300,
        model: 'priced',
        project_id: server.projectId,
        user_id: null,
      },
    ]);
    const costs = await usage.costs({ start_time: since, group_by: ['line_item'] });
    expect(costs.data.flatMap((bucket) => bucket.results)).toMatchObject([
      { line_item: 'priced, input_tokens', quantity: 3000, amount: { value: 0.0075, currency: 'usd' } },
      { line_item: 'priced, output_tokens', quantity: 300, amount: { value: 0.003, currency: 'usd' } },
    ]);
    const starts: number[] = [];
    let page: string | null = null;
    do {
      const reply = await usage.completions({
        start_time: since - 10 * 86_400,
        limit: 3,
        ...(page && { page }),
      });
      starts.push(...reply.data.map((bucket) => bucket.start_time));
      page = reply.next_page;
    } while (page !== null);
    expect(starts.length).toBeGreaterThanOrEqual(11);
    expect(starts).toEqual(starts.map((_, at) => (starts[0] ?? 0) + at * 86_400));
  });

  it('are drawn by the command line', async () => {
    const env = { KEYGATE_URL: server.adminUrl, KEYGATE_ADMIN_KEY: server.adminKey };
    const { code, out } = await run(['costs', '--group-by', 'model'], { env, now: Date.now() });
    expect(code).toBe(0);
    expect(out).toMatch(/priced +\$0\.0105 +100\.0 % +3 +█+/);
    const day = new Date().toISOString().slice(0, 10);
    const files = { 'bill.csv': `date,model,cost\n${day},priced,0.0105\n` };
    const same = await run(['costs', 'reconcile', '--provider', 'mock', '--file', 'bill.csv'], {
      env,
      files,
      now: Date.now(),
    });
    expect(same.out).toMatch(/^1 of 1 days of models agree/);
  });
});
