import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Called, callUntilRefused, chat, type Limited, startLimited } from './servers.ts';

// Every model of this table is bound by one thing alone, so that a refusal can only be about that.
const TABLE = `
tiers:
  - name: only
    limits:
      by-requests: { requests_per_minute: 3 }
      by-day: { requests_per_day: 4 }
      by-tokens: { tokens_per_minute: 1000 }
      by-tokens-a-day: { tokens_per_day: 1000 }
      sandbox-image: { images_per_minute: 3 }
      sandbox-audio: { audio_seconds_per_minute: 30 }
      twins: { requests_per_minute: 4 }
      long-calls: { tokens_per_minute: 3000 }
      long-model: { requests_per_minute: 1000 }
groups: { twins: [twin-one, twin-two] }
long_context: { long-calls: { models: [long-model], above: 500 } }
charge: sum`;

describe('each limit is hit by itself, through the whole server', () => {
  let limited: Limited;
  beforeAll(async () => {
    limited = await startLimited(TABLE);
  });
  afterAll(() => limited.close());

  const say = (model: string, body: Record<string, unknown> = {}) => chat(limited.server, { model, ...body });

  const refused = (called: Called, type: string, label: string): void => {
    expect(called.status).toBe(429);
    expect(called.error).toMatchObject({ type, code: 'rate_limit_exceeded' });
    expect(called.error?.message).toContain(` on ${label}: Limit `);
    expect(Number(called.headers.get('retry-after-ms'))).toBeGreaterThan(0);
  };

  test('requests a minute', async () => {
    const { passed, refusal } = await callUntilRefused(() => say('by-requests'));
    expect(passed).toBe(3);
    refused(refusal, 'requests', 'requests per min (RPM)');
    expect(refusal.headers.get('x-ratelimit-limit-tokens')).toBeNull();
  });

  test('requests a day, of which one comes back only after hours', async () => {
    const { passed, refusal } = await callUntilRefused(() => say('by-day'));
    expect(passed).toBe(4);
    refused(refusal, 'requests', 'requests per day (RPD)');
    expect(refusal.error?.message).toMatch(/Please try again in (6h0m0s|5h59m\d+(\.\d+)?s)\.$/);
    expect(refusal.headers.get('x-ratelimit-limit-requests')).toBe('4');
  });

  test('tokens a minute: what is not used comes back with the reply', async () => {
    // Reserved are some 500; the provider says that ten were used.
    const { passed, refusal } = await callUntilRefused(() => say('by-tokens', { max_tokens: 500 }), 200);
    refused(refusal, 'tokens', 'tokens per min (TPM)');
    // (1000 - 505) / 10 of them, and a little more for what a minute gives back meanwhile.
    expect(passed).toBeGreaterThanOrEqual(49);
    expect(passed).toBeLessThan(60);
    expect(refusal.headers.get('x-ratelimit-limit-tokens')).toBe('1000');
  });

  test('tokens a minute: a call larger than all of them is told that waiting does not help', async () => {
    const called = await say('by-tokens', { max_tokens: 2000 });
    expect(called.status).toBe(429);
    expect(called.error?.message).toMatch(
      /^Request too large for by-tokens in organization org-\w+ on tokens per min \(TPM\): Limit 1000, Requested 20\d\d\./,
    );
    expect(called.headers.get('x-should-retry')).toBe('false');
    expect(called.headers.get('retry-after-ms')).toBeNull();
  });

  test('tokens a day', async () => {
    const { refusal } = await callUntilRefused(() => say('by-tokens-a-day', { max_tokens: 900 }));
    refused(refusal, 'tokens', 'tokens per day (TPD)');
  });

  test('images a minute, by how many a call makes', async () => {
    const draw = async (n: number): Promise<Called> => {
      const reply = await limited.server.request('/v1/images/generations', {
        method: 'POST',
        body: JSON.stringify({ model: 'sandbox-image', prompt: 'a cat', n, size: '256x256' }),
      });
      const body = (await reply.json()) as { error?: Called['error'] };
      return { status: reply.status, headers: reply.headers, error: body.error };
    };
    const two = await draw(2);
    expect(two.status).toBe(200);
    expect(two.headers.get('x-ratelimit-limit-images')).toBe('3');
    expect(two.headers.get('x-ratelimit-remaining-images')).toBe('1');
    refused(await draw(2), 'images', 'images per min (IPM)');
    expect((await draw(1)).status).toBe(200);
  });

  test('seconds of audio a minute, by the size of what is sent', async () => {
    const hear = async (seconds: number): Promise<Called> => {
      const form = new FormData();
      form.set('model', 'sandbox-audio');
      form.set('file', new File([new Uint8Array(seconds * 16_000)], 'voice.wav'));
      const reply = await limited.server.request('/v1/audio/transcriptions', { method: 'POST', body: form });
      const body = (await reply.json()) as { error?: Called['error'] };
      return { status: reply.status, headers: reply.headers, error: body.error };
    };
    const tooLong = await hear(40);
    expect(tooLong.error?.message).toMatch(/^Request too large .* on audio seconds per min: Limit 30,/);
    const { refusal } = await callUntilRefused(() => hear(20));
    refused(refusal, 'audio_seconds', 'audio seconds per min');
  });

  test('a shared group: its models draw on one pool', async () => {
    expect((await say('twin-one')).status).toBe(200);
    expect((await say('twin-two')).status).toBe(200);
    const { passed, refusal } = await callUntilRefused(() => say('twin-one'));
    expect(passed).toBe(2);
    refused(refusal, 'requests', 'requests per min (RPM)');
    expect(refusal.error?.message).toContain('(shared limit twins)');
    expect((await say('twin-two')).status).toBe(429);
  });

  test('long context: only calls above the threshold draw on its pool', async () => {
    const long = { messages: [{ role: 'user', content: 'many words '.repeat(700) }] };
    const { passed, refusal } = await callUntilRefused(() =>
      say('long-model', { ...long, max_tokens: 1200 }),
    );
    // Each reserves some 2,600 of the 3,000, and gives back all but ten.
    expect(passed).toBeGreaterThan(0);
    refused(refusal, 'tokens', 'tokens per min (TPM)');
    expect(refusal.error?.message).toContain('(long-context limit long-calls)');
    expect((await say('long-model', { max_tokens: 100_000 })).status).toBe(200);
  });

  test("a test key's calls use nothing of what production needs", async () => {
    const { server } = limited;
    const sandbox = await server.createKey({ name: 'ci', type: 'test' });
    expect((await say('by-requests')).status).toBe(429);
    expect((await chat(server, { model: 'by-requests' }, sandbox.value)).status).toBe(200);
  });
});
