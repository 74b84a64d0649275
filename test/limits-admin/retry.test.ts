import OpenAI, { RateLimitError } from 'openai';
import { afterEach, describe, expect, test } from 'vitest';
import { type Limited, startLimited, tier } from './servers.ts';

interface Try {
  readonly at: number;
  readonly status: number;
  /** What the reply said to wait, in milliseconds; null: nothing. */
  readonly told: number | null;
}

/** The unmodified client, whose tries a `fetch` around the real one writes down. */
function observed(limited: Limited, maxRetries: number): { client: OpenAI; tries: Try[] } {
  const tries: Try[] = [];
  const client = new OpenAI({
    baseURL: `${limited.server.url}/v1`,
    apiKey: limited.server.projectKey,
    maxRetries,
    fetch: async (input, init) => {
      const at = performance.now();
      const reply = await fetch(input, init);
      const told = reply.headers.get('retry-after-ms');
      tries.push({ at, status: reply.status, told: told === null ? null : Number(told) });
      return reply;
    },
  });
  return { client, tries };
}

const say = (client: OpenAI, maxTokens = 5) =>
  client.chat.completions.create({
    model: 'gpt-4o',
    max_tokens: maxTokens,
    messages: [{ role: 'user', content: 'hi' }],
  });

describe("the official client's own retry obeys the headers", () => {
  let limited: Limited;
  afterEach(() => limited.close());

  test('it pauses for as long as it was told, no less and hardly more, and then passes', async () => {
    // One request comes back each 300 ms.
    limited = await startLimited(tier('gpt-4o: { requests_per_minute: 200 }'));
    const { client, tries } = observed(limited, 3);
    await Promise.all(Array.from({ length: 200 }, () => say(client)));
    tries.length = 0;
    for (let i = 0; i < 5; i++) await say(client);

    const pauses = tries.flatMap((each, i) => {
      const next = tries[i + 1];
      return each.status === 429 && next !== undefined
        ? [{ told: each.told ?? 0, took: next.at - each.at }]
        : [];
    });
    console.info(
      'told to wait, and waited (ms):',
      pauses.map(({ told, took }) => `${told} ${Math.round(took)}`),
    );
    expect(pauses.length).toBeGreaterThanOrEqual(4);
    for (const { told, took } of pauses) {
      expect(told).toBeGreaterThan(0);
      expect(told).toBeLessThanOrEqual(300);
      expect(took).toBeGreaterThanOrEqual(told);
      expect(took).toBeLessThan(told + 250);
    }
    // Each pause was enough: the try after it passed.
    expect(tries.filter(({ status }) => status === 200)).toHaveLength(5);
    expect(tries.filter(({ status }) => status === 429)).toHaveLength(pauses.length);
  });

  test('many callers at once all get through, each in its turn', async () => {
    limited = await startLimited(tier('gpt-4o: { requests_per_minute: 600 }'));
    const { client, tries } = observed(limited, 40);
    const began = performance.now();
    await Promise.all(Array.from({ length: 615 }, () => say(client)));
    expect(tries.filter(({ status }) => status === 200)).toHaveLength(615);
    // Fifteen more than the bucket holds, at one each 100 ms.
    expect(performance.now() - began).toBeGreaterThanOrEqual(1_400);
  });

  test('tokens are waited for as well', async () => {
    // A thousand tokens come back each 600 ms.
    limited = await startLimited(tier('gpt-4o: { tokens_per_minute: 100000 }'));
    limited.upstream.answer = (_, response) => {
      const usage = { prompt_tokens: 10, completion_tokens: 49_990, total_tokens: 50_000 };
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({
          id: 'chatcmpl-1',
          object: 'chat.completion',
          choices: [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'length' }],
          usage,
        }),
      );
    };
    const { client, tries } = observed(limited, 3);
    for (let i = 0; i < 2; i++) await say(client, 40_000);
    tries.length = 0;
    await say(client, 500);
    const [first, second] = tries;
    expect(tries.map(({ status }) => status)).toEqual([429, 200]);
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(
      first?.told ?? Number.POSITIVE_INFINITY,
    );
  });

  test('what can never pass is not tried again', async () => {
    limited = await startLimited(tier('gpt-4o: { tokens_per_minute: 1000 }'));
    const { client, tries } = observed(limited, 5);
    await expect(say(client, 5000)).rejects.toThrow(RateLimitError);
    expect(tries).toHaveLength(1);
  });
});
