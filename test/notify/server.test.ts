// Alerts through a whole server: calls are charged and refused, and the webhook has it.

import { Webhook } from 'standardwebhooks';
import { afterEach, expect, test } from 'vitest';
import type { TestServer } from '../harness/server.ts';
import { completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';
import { startBudgeted } from '../spend/budgeted.ts';
import { type Receiver, startReceiver } from './receiver.ts';

let server: TestServer | null = null;
let upstream: Upstream | null = null;
let hook: Receiver | null = null;

afterEach(async () => {
  await server?.stop();
  server?.remove();
  await upstream?.close();
  await hook?.close();
});

test('a threshold that calls pass and a limit that refuses one are each told once, and measured', async () => {
  upstream = await startUpstream();
  hook = await startReceiver();
  upstream.answer = (_asked, response) =>
    sendJson(response, 200, completion('x', { prompt_tokens: 10, completion_tokens: 90 }));
  const limit = 10_000_000n;
  server = await startBudgeted(
    upstream.url,
    [{ scope: 'project', limit, alerts: [limit / 2n] }],
    'outgoing: {allow_private: [127.0.0.1]}\n',
  );
  const made = await server.admin('POST', '/v1/keygate/webhooks', {
    name: 'x',
    url: hook.url,
    event_types: ['spend_alert.triggered', 'spend_limit.reached'],
  });
  expect(made.status).toBe(200);
  const body = JSON.stringify({
    model: 'priced',
    messages: [{ role: 'user', content: 'hi' }],
    max_tokens: 100,
  });
  let refused = 0;
  for (let at = 0; at < 40 && refused < 3; at++) {
    const reply = await server.request('/v1/chat/completions', { method: 'POST', body });
    if (reply.status === 429) refused++;
    await reply.arrayBuffer();
  }
  expect(refused).toBe(3);
  while (hook.received.length < 2) await hook.next();
  const told = hook.received.map(({ body, headers }) => {
    expect(new Webhook(String(made.body['signing_secret'])).verify(body, headers)).toBeTruthy();
    return JSON.parse(body) as { type: string; data: Record<string, unknown> };
  });
  expect(told.map(({ type }) => type).sort()).toEqual(['spend_alert.triggered', 'spend_limit.reached']);
  expect(told[0]?.data).toMatchObject({ scope: 'project', project_id: server.projectId, interval: 'month' });
  expect(await server.metric('keygate_limit_refusals_total{scope="project"}')).toBe(3);
  expect(await server.metric('keygate_spend_settled_dollars_total')).toBeGreaterThan(0.005);
  expect(await server.metric('keygate_deliveries_total{channel="webhook",result="sent"}')).toBe(2);
  expect(await server.metric('keygate_escrow_unresolved_dollars')).toBe(0);
});
