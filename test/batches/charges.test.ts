// What each line of a batch is charged, and why: the lines' calls are the provider's calls, and what the provider bills for
// them is what is charged.

import { afterEach, describe, expect, test } from 'vitest';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';
import { chatLine, ended, linesIn, startBatch } from './running.ts';

const YAML = `prices:
  - {provider: mock, models: ["m-*"], input: "2", output: "10"}
  - {provider: mock, models: ["m-*"], tier: flex, factor: "0.5"}
  - {provider: mock, models: ["m-*"], tier: batch, factor: "0.5"}
`;
/** Nano-dollars of 7 tokens in and 3 out. */
const STANDARD = 7 * 2000 + 3 * 10_000;

let upstream: Upstream;
let server: TestServer;

async function begin(budgetCents: number | null): Promise<void> {
  upstream = await startUpstream();
  server = await startTestServer({ yaml: oneProvider(upstream.url, YAML) });
  if (budgetCents === null) return;
  const made = await server.admin('POST', '/v1/keygate/budgets', {
    scope: 'project',
    project_id: server.projectId,
    scope_id: server.projectId,
    threshold_amount: budgetCents,
  });
  expect(made.status).toBe(200);
}

afterEach(async () => {
  await server.stop();
  server.remove();
  await upstream.close();
});

async function run(lines: readonly unknown[]) {
  const batch = await ended(server.client, await startBatch(server.client, lines));
  const output = await linesIn(server.client, batch.output_file_id);
  const errors = await linesIn(server.client, batch.error_file_id);
  const events = (await server.stopAndReadEvents()).filter(({ batch: ofBatch }) => ofBatch);
  return { batch, output, errors, events };
}

describe('a line of a batch is charged', () => {
  test('what the provider bills for its call: the standard price, once, with the key and model of the batch', async () => {
    await begin(100_000);
    const { output, events } = await run([1, 2, 3].map((n) => chatLine(n)));
    expect(events.map(({ spend }) => spend?.cost)).toEqual([STANDARD, STANDARD, STANDARD]);
    expect(events.map(({ requestId }) => requestId).sort()).toEqual(
      output.map(({ response }) => response?.request_id).sort(),
    );
    for (const event of events)
      expect(event).toMatchObject({
        operation: 'chat.completions.create',
        modelAsked: 'm-1',
        projectId: server.projectId,
        status: 200,
        outcome: 'ok',
        batch: true,
        usage: { input: 7, output: 3 },
      });
  });

  test('the price of the tier that it asks for and that the provider serves: flex is half', async () => {
    await begin(100_000);
    upstream.answer = (asked, response) =>
      sendJson(response, 200, { ...completion('x'), service_tier: asked.json()['service_tier'] });
    const { events } = await run([chatLine(1, { service_tier: 'flex' })]);
    expect(events.map(({ spend, serviceTier }) => [serviceTier, spend?.cost])).toEqual([
      ['flex', STANDARD / 2],
    ]);
  });

  test('nothing when the provider refuses it', async () => {
    await begin(100_000);
    upstream.answer = (_asked, response) =>
      sendJson(response, 400, {
        error: { message: 'no', type: 'invalid_request_error', param: null, code: null },
      });
    const { errors, events } = await run([chatLine(1)]);
    expect(errors[0]?.response?.status_code).toBe(400);
    expect(events.map(({ spend, status }) => [status, spend?.cost])).toEqual([[400, 0]]);
  });

  test('once, when it was refused for now, or cut off, before it was answered', async () => {
    await begin(100_000);
    let tries = 0;
    upstream.answer = (_asked, response) => {
      tries++;
      if (tries === 1)
        return sendJson(
          response,
          429,
          { error: { message: 'slow', type: 'requests', param: null, code: null } },
          { 'retry-after-ms': '1' },
        );
      if (tries === 2) {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
        response.write('{"id":');
        return void setTimeout(() => response.destroy(), 20);
      }
      sendJson(response, 200, completion('x'));
    };
    const { batch, events } = await run([chatLine(1)]);
    expect(tries).toBe(3);
    expect(batch.request_counts).toEqual({ total: 1, completed: 1, failed: 0 });
    const paid = events.filter(({ status }) => status === 200);
    expect(paid).toHaveLength(1);
    expect(paid[0]?.spend?.cost).toBe(STANDARD);
    // The refusal used nothing. Of the answer that broke off, what may be billed is what was counted of its prompt.
    const [refused] = events.filter(({ status }) => status === 429);
    expect(refused?.spend?.cost).toBe(0);
  });

  test('nothing, and is not sent, when the budget above it is used up; the limit is not passed', async () => {
    await begin(1);
    upstream.answer = (_asked, response) =>
      sendJson(
        response,
        200,
        completion('x', { prompt_tokens: 10, completion_tokens: 90, total_tokens: 100 }),
      );
    const cost = 10 * 2000 + 90 * 10_000;
    const lines = Array.from({ length: 30 }, (_, n) => chatLine(n, { max_tokens: 100 }));
    const { batch, output, errors, events } = await run(lines);
    expect(batch.status).toBe('completed');
    const spent = events.reduce((sum, { spend }) => sum + (spend?.cost ?? 0), 0);
    expect(spent).toBe(output.length * cost);
    expect(spent).toBeLessThanOrEqual(10_000_000);
    expect(output.length).toBeGreaterThan(0);
    expect(output.length + errors.length).toBe(30);
    expect(upstream.asked.filter(({ method }) => method === 'POST')).toHaveLength(output.length);
    for (const { response } of errors)
      expect(response).toMatchObject({
        status_code: 429,
        body: { error: { type: 'insufficient_quota', code: 'project_spend_limit_exceeded' } },
      });
  });

  test('in the reports too, where it is told from other calls', async () => {
    await begin(null);
    await server.client.chat.completions.create({ model: 'm-1', messages: [{ role: 'user', content: 'x' }] });
    await ended(
      server.client,
      await startBatch(
        server.client,
        [1, 2, 3, 4].map((n) => chatLine(n)),
      ),
    );
    const day = Math.floor(Date.now() / 86_400_000) * 86_400;
    const path = `start_time=${day}&group_by=batch`;
    type Row = { batch: boolean; num_model_requests: number };
    let rows: Row[] = [];
    while (rows.reduce((sum, { num_model_requests: n }) => sum + n, 0) < 5) {
      const { body } = await server.admin('GET', `/v1/organization/usage/completions?${path}`);
      rows = (body['data'] as { results: Row[] }[]).flatMap(({ results }) => results);
    }
    expect(rows.map(({ batch, num_model_requests }) => [batch, num_model_requests]).sort()).toEqual([
      [false, 1],
      [true, 4],
    ]);
    const costs = await server.admin('GET', `/v1/organization/costs?start_time=${day}`);
    const [bucket] = costs.body['data'] as { results: { amount: { value: number } }[] }[];
    expect(bucket?.results[0]?.amount.value).toBeCloseTo((5 * STANDARD) / 1e9, 12);
  });
});
