// Three gateway processes on one PostgreSQL and one Redis: what they admit together, and how fast a change is known.

import { Agent, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { oneProvider } from '../harness/server.ts';
import { sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';
import { type Gateways, startGateways } from './processes.ts';
import { chat } from './servers.ts';

const NODES = 3;
const CLIENTS = 64;
const RUN_MS = 3_000;
/** That a call uses; it reserves its prompt beside them, so no bucket is ever overdrawn. */
const TOKENS = 200;
const DAY_MS = 86_400_000;

/** Each in its own dimension: the most, in what time it comes back, and how much of it a call takes. */
const LIMITS = {
  requests_per_minute: { most: 600, periodMs: 60_000, each: 1 },
  tokens_per_minute: { most: 100_000, periodMs: 60_000, each: TOKENS },
  requests_per_day: { most: 500, periodMs: DAY_MS, each: 1 },
  tokens_per_day: { most: 100_000, periodMs: DAY_MS, each: TOKENS },
  images_per_minute: { most: 600, periodMs: 60_000, each: 1 },
} as const;
type Limited = keyof typeof LIMITS;

let upstream: Upstream;
let gateways: Gateways;

beforeAll(async () => {
  upstream = await startUpstream((asked, response) => {
    if (asked.url.includes('images'))
      return sendJson(response, 200, { created: 1, data: [{ b64_json: '' }] });
    return sendJson(response, 200, {
      id: 'chatcmpl-1',
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 10, completion_tokens: TOKENS - 10, total_tokens: TOKENS },
    });
  });
  gateways = await startGateways(
    NODES,
    `${oneProvider(upstream.url)}limits:
  tiers:
    - name: only
      limits:
${Object.entries(LIMITS)
  .map(([dimension, { most }]) => `        by-${dimension}: { ${dimension}: ${most} }`)
  .join('\n')}
        seen: { requests_per_day: 100 }
`,
  );
});
afterAll(async () => {
  await gateways?.close();
  await upstream?.close();
});

interface Loaded {
  readonly admitted: number;
  readonly refused: number;
  /** By status, those that are neither. */
  readonly others: Readonly<Record<string, number>>;
  /** From the first call's beginning to the last one's end. */
  readonly tookMs: number;
}

/** Sixty-four clients that call as often as they may, and ask again a moment after a refusal. */
async function load(dimension: Limited): Promise<Loaded> {
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  const model = `by-${dimension}`;
  const [path, call] =
    dimension === 'images_per_minute'
      ? ['/v1/images/generations', { model, prompt: 'a cat' }]
      : ['/v1/chat/completions', { model, max_tokens: TOKENS, messages: [{ role: 'user', content: 'hi' }] }];
  const body = JSON.stringify(call);
  const post = (url: string) =>
    new Promise<number>((resolve, reject) => {
      const call = request(
        url + path,
        {
          agent,
          method: 'POST',
          headers: {
            authorization: `Bearer ${gateways.projectKey}`,
            'content-type': 'application/json',
            'content-length': body.length,
          },
        },
        (reply) => {
          reply.resume();
          reply.on('end', () => resolve(reply.statusCode ?? 0));
        },
      );
      call.on('error', reject);
      call.end(body);
    });
  const counts = new Map<number, number>();
  const began = performance.now();
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, client) => {
      const url = gateways.urls[client % NODES] ?? '';
      while (performance.now() - began < RUN_MS) {
        const status = await post(url);
        counts.set(status, (counts.get(status) ?? 0) + 1);
        if (status === 429) await new Promise((resolve) => setTimeout(resolve, 30));
      }
    }),
  );
  const tookMs = performance.now() - began;
  agent.destroy();
  const [admitted, refused] = [counts.get(200) ?? 0, counts.get(429) ?? 0];
  const others = Object.fromEntries([...counts].filter(([status]) => status !== 200 && status !== 429));
  return { admitted, refused, others, tookMs };
}

describe('three gateway processes with 64 clients on one Redis', () => {
  test.each(Object.keys(LIMITS) as Limited[])(
    'admit of %s no more than the limit and its refill, and at least 99 in 100 of that',
    async (dimension) => {
      const { most, periodMs, each } = LIMITS[dimension];
      const { admitted, refused, others, tookMs } = await load(dimension);
      const may = (ms: number): number => most + (most * ms) / periodMs;
      const said = `${admitted * each} of ${Math.floor(may(tookMs))} admitted, ${refused} calls refused`;
      console.info(`${dimension}: ${said}`);
      expect(others).toEqual({});
      expect(refused).toBeGreaterThan(0);
      expect(admitted * each).toBeLessThanOrEqual(may(tookMs));
      // The refill of the last moments may not have been asked for any more.
      expect(admitted * each).toBeGreaterThanOrEqual(0.99 * may(RUN_MS));
    },
  );

  test('know of a change within a second, wherever it was made', async () => {
    const path = `/v1/organization/projects/${gateways.projectId}/rate_limits/rl-by-requests_per_minute`;
    await gateways.admin(2, 'POST', path, { max_requests_per_1_minute: 1 });
    const changed = performance.now();
    for (const node of [2, 0, 1]) {
      await vi.waitFor(
        async () => {
          const limits = `/v1/organization/projects/${gateways.projectId}/rate_limits`;
          const { data } = (await gateways.admin(node, 'GET', limits)) as {
            data: { id: string; max_requests_per_1_minute: number }[];
          };
          const [lowered] = data.filter(({ id }) => id === 'rl-by-requests_per_minute');
          expect(lowered?.max_requests_per_1_minute).toBe(1);
        },
        { timeout: 2_000, interval: 10 },
      );
      expect(performance.now() - changed).toBeLessThan(1_000);
    }
    const calls = [];
    for (const node of [0, 1, 2, 0]) {
      calls.push(
        await chat(
          { url: gateways.urls[node] ?? '', projectKey: gateways.projectKey },
          { model: 'by-requests_per_minute' },
        ),
      );
    }
    // One bucket for all of them: of its one request at most one passes.
    expect(calls.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1);
    const refusal = calls.find(({ status }) => status === 429);
    expect(refusal?.error?.message).toContain(`(project ${gateways.projectId})`);
  });

  test('see the same levels', async () => {
    await chat({ url: gateways.urls[0] ?? '', projectKey: gateways.projectKey }, { model: 'seen' });
    for (let node = 0; node < NODES; node++) {
      const { data } = await gateways.admin(node, 'GET', '/v1/keygate/limits?model=seen&in_use=true');
      expect(data).toMatchObject([{ dimension: 'requests_per_day', limit: 100, used: 1, remaining: 99 }]);
    }
  });
});
