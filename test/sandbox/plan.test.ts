import { describe, expect, test } from 'vitest';
import { answer } from '../../src/upstreams/sandbox/answer.ts';
import { ask, events, hello, request, setting, told } from './ask.ts';

const streamed = { ...hello, stream: true };
const shape = (steps: readonly { do: string }[]) => steps.map((step) => step.do).join(' ');

describe('a scripted refusal', () => {
  test.each([
    ['429', 429, 'requests', 'rate_limit_exceeded'],
    ['quota', 429, 'insufficient_quota', 'insufficient_quota'],
    ['401', 401, 'invalid_request_error', 'invalid_api_key'],
    ['500', 500, 'server_error', null],
    ['503', 503, 'service_unavailable_error', 'server_is_overloaded'],
    ['418', 418, 'invalid_request_error', null],
  ])('%s is the API’s own', (script, status, type, code) => {
    const reply = ask('chat/completions', hello, script);
    expect(reply.status).toBe(status);
    expect(reply.json.error).toMatchObject({ type, code, param: null, message: expect.any(String) });
  });

  test('a 429 says when to come back, in whole seconds that are not too short and in milliseconds', () => {
    const { headers } = ask('chat/completions', hello, '429,retry-after=1200ms');
    expect(headers).toMatchObject({ 'retry-after': '2', 'retry-after-ms': '1200' });
    expect(ask('chat/completions', hello, '429,retry-after=none').headers).not.toHaveProperty('retry-after');
  });

  test('every endpoint obeys', () => {
    for (const [path, body] of [
      ['responses', { model: 'x', input: 'hello' }],
      ['embeddings', { model: 'x', input: 'hello' }],
      ['completions', { model: 'x', prompt: 'hello' }],
      ['moderations', { input: 'hello' }],
      ['images/generations', { prompt: 'hello' }],
      ['audio/speech', { model: 'x', input: 'hello', voice: 'alloy' }],
    ] as const) {
      expect(ask(path, body, '503').status).toBe(503);
    }
  });

  test('with times, the first so many identical calls meet it and the next is answered, over and over', () => {
    const at = setting();
    const statuses = (body: unknown, count: number) =>
      Array.from({ length: count }, () => ask('chat/completions', body, '429,times=2', at).status);
    expect(statuses(hello, 6)).toEqual([429, 429, 200, 429, 429, 200]);
    // Another call has its own count.
    expect(statuses(hello, 1)).toEqual([429]);
    expect(statuses({ ...hello, user: 'other' }, 1)).toEqual([429]);
    expect(statuses(hello, 2)).toEqual([429, 200]);
  });
});

describe('a scripted pace', () => {
  test('the first byte waits before the head, and every other chunk before it is sent', () => {
    const { steps } = ask('chat/completions', streamed, 'first-byte=200ms,chunk=20ms,tokens=1');
    expect(shape(steps)).toBe('wait head send wait send wait send wait send');
    expect(steps.filter((step) => step.do === 'wait').map((step) => step.ms)).toEqual([200, 20, 20, 20]);
  });

  test('without a script nothing waits', () => {
    expect(ask('chat/completions', streamed).steps.some((step) => step.do === 'wait')).toBe(false);
  });

  test('a trickle leaves in pieces of that many bytes, and they are the reply', () => {
    const at = setting();
    const whole = told(answer(request('embeddings', { model: 'x', input: 'hi', dimensions: 2 }), at)).text;
    const { steps, text } = ask('embeddings', { model: 'x', input: 'hi', dimensions: 2 }, 'trickle=7');
    const sends = steps.filter((step) => step.do === 'send');
    expect(text).toBe(whole);
    expect(sends.slice(0, -1).every((step) => step.data.length === 7)).toBe(true);
    expect(steps.filter((step) => step.do === 'wait')).toHaveLength(sends.length - 1);
  });
});

describe('a scripted fault in the reply', () => {
  test('a stream is cut after so many chunks', () => {
    expect(shape(ask('chat/completions', streamed, 'cut=2').steps)).toBe('head send send cut');
    expect(shape(ask('chat/completions', streamed, 'cut=0').steps)).toBe('head cut');
  });

  test('or half-way, and before its end if the number is beyond it', () => {
    const whole = ask('chat/completions', streamed).steps.length;
    const half = ask('chat/completions', streamed, 'cut').steps;
    expect(half.at(-1)).toEqual({ do: 'cut' });
    expect(half.length).toBeGreaterThan(whole * 0.3);
    expect(half.length).toBeLessThan(whole * 0.7);
    const late = ask('chat/completions', streamed, 'cut=100000');
    expect(late.steps.at(-1)).toEqual({ do: 'cut' });
    expect(late.text).not.toContain('[DONE]');
  });

  test('a reply that is no stream is cut in its middle, under the length that it promised', () => {
    const { steps, headers, text } = ask('chat/completions', hello, 'cut');
    expect(shape(steps)).toBe('head send cut');
    expect(Buffer.byteLength(text)).toBeLessThan(Number(headers['content-length']));
  });

  test('a stall sends what came before and then nothing; at once, not even the head', () => {
    expect(shape(ask('chat/completions', streamed, 'stall=1').steps)).toBe('head send stall');
    expect(shape(ask('chat/completions', streamed, 'stall=0').steps)).toBe('stall');
    expect(shape(ask('chat/completions', hello, 'stall').steps)).toBe('head send stall');
  });

  test('a reset answers nothing at all', () => {
    expect(shape(ask('chat/completions', hello, 'reset').steps)).toBe('cut');
  });

  test('a malformed event is no JSON, and those around it are', () => {
    const blocks = ask('chat/completions', streamed, 'malformed=1')
      .text.split('\n\n')
      .map((block) => block.replace(/^data: /, ''));
    expect(() => JSON.parse(blocks[0] ?? '')).not.toThrow();
    expect(() => JSON.parse(blocks[1] ?? '')).toThrow();
    expect(() => JSON.parse(blocks[2] ?? '')).not.toThrow();
    const { text, headers } = ask('chat/completions', hello, 'malformed');
    expect(() => JSON.parse(text)).toThrow();
    expect(Buffer.byteLength(text)).toBe(Number(headers['content-length']));
  });

  test('an error event ends the stream, in the form of its API', () => {
    const chat = events(ask('chat/completions', streamed, 'error=1').text);
    expect(chat).toHaveLength(2);
    expect(chat[1]?.data.error).toMatchObject({ type: 'server_error' });
    const response = events(ask('responses', { model: 'x', input: 'hi', stream: true }, 'error=2').text);
    expect(response.map((event) => event.name)).toEqual([
      'response.created',
      'response.in_progress',
      'error',
    ]);
    expect(ask('chat/completions', hello, 'error').status).toBe(500);
  });

  test('without usage and without [DONE], as some providers do', () => {
    const asked = { ...streamed, stream_options: { include_usage: true } };
    expect(ask('chat/completions', asked).text).toContain('"prompt_tokens"');
    expect(ask('chat/completions', asked, 'no-usage').text).not.toContain('usage');
    expect(ask('chat/completions', hello, 'no-usage').json).not.toHaveProperty('usage');
    expect(ask('responses', { model: 'x', input: 'hi' }, 'no-usage').json.usage).toBeNull();
    expect(ask('embeddings', { model: 'x', input: 'hi' }, 'no-usage').json).not.toHaveProperty('usage');
    expect(ask('chat/completions', streamed, 'no-done').text).not.toContain('[DONE]');
  });
});
