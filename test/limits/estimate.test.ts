import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sizeOfForm, sizeOfJson } from '../../src/limits/estimate.ts';
import { countPrompt } from '../../src/spend/count-prompt.ts';

const ENGLISH = 'The quick brown fox jumps over the lazy dog while the band plays a slow and familiar tune. ';
const CHINESE = '限流器在每次调用之前估计令牌的数量，并在调用结束之后按照实际用量结算。';
const CODE = 'function add(a: number, b: number): number {\n  return a + b; // sum\n}\n';
const RUSSIAN = 'Ограничитель оценивает число токенов до вызова и рассчитывает после него. ';

function chat(content: unknown, extra: object = {}) {
  return { model: 'gpt-4o', messages: [{ role: 'user', content }], ...extra };
}

describe('the estimate of a prompt', () => {
  test.each([
    ['English', ENGLISH],
    ['Chinese', CHINESE],
    ['code', CODE],
    ['Russian', RUSSIAN],
  ])(
    'of %s has the counted tokens between its low and its high, and is within a factor of two',
    (_, text) => {
      for (const times of [1, 10, 300]) {
        const body = chat(text.repeat(times));
        const { tokens } = countPrompt(body, 'gpt-4o');
        const { prompt } = sizeOfJson('chat', body);
        expect(prompt.low).toBeLessThanOrEqual(tokens);
        expect(prompt.high).toBeGreaterThanOrEqual(tokens);
        expect(prompt.likely / tokens).toBeGreaterThan(0.5);
        expect(prompt.likely / tokens).toBeLessThan(2.1);
      }
    },
  );

  test('of digits and random strings still has the counted tokens below its high', () => {
    for (const text of ['3141592653589793238462643383279502884197', 'qZ8xK2vB9nM4wL7pR1tY6uI3oP5aS0dF']) {
      const body = chat(text.repeat(50));
      expect(sizeOfJson('chat', body).prompt.high).toBeGreaterThanOrEqual(countPrompt(body, 'gpt-4o').tokens);
    }
  });

  test('takes an image for what it costs and not for the length of its data', () => {
    const url = `data:image/png;base64,${'A'.repeat(3_000_000)}`;
    const body = chat([
      { type: 'text', text: 'what is this?' },
      { type: 'image_url', image_url: { url } },
    ]);
    expect(sizeOfJson('chat', body).prompt.likely).toBeLessThan(900);
    const low = chat([{ type: 'image_url', image_url: { url, detail: 'low' } }]);
    expect(sizeOfJson('chat', low).prompt.likely).toBeLessThan(120);
    const item = { input: [{ role: 'user', content: [{ type: 'input_image', image_url: url }] }] };
    expect(sizeOfJson('responses', item).prompt.likely).toBeLessThan(900);
  });

  test('takes audio by its seconds', () => {
    const data = 'A'.repeat(Math.ceil((16_000 * 60 * 4) / 3));
    const body = chat([{ type: 'input_audio', input_audio: { data, format: 'mp3' } }]);
    const { likely } = sizeOfJson('chat', body).prompt;
    expect(likely).toBeGreaterThan(590);
    expect(likely).toBeLessThan(640);
  });

  test('counts tools, schemas and instructions, and lists of token numbers by their length', () => {
    const tool = {
      type: 'function',
      function: { name: 'look', description: ENGLISH.repeat(20), parameters: {} },
    };
    expect(sizeOfJson('chat', chat('hi', { tools: [tool] })).prompt.likely).toBeGreaterThan(300);
    expect(
      sizeOfJson('responses', { instructions: ENGLISH.repeat(20), input: 'hi' }).prompt.likely,
    ).toBeGreaterThan(300);
    const lists = [Array.from({ length: 500 }, () => 7), [1, 2]];
    expect(sizeOfJson('embeddings', { input: lists }).prompt.likely).toBe(502);
    expect(sizeOfJson('completions', { prompt: [1, 2, 3] }).prompt.likely).toBe(3);
  });

  test('is made for any body at all, in bounded time', () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.constantFrom('chat', 'responses', 'completions', 'embeddings', 'images', 'speech'),
        (body, meter) => {
          const size = sizeOfJson(meter as 'chat', {
            messages: body,
            input: body,
            prompt: body,
            tools: body,
            max_tokens: body,
            n: body,
          });
          for (const count of [
            size.prompt.low,
            size.prompt.likely,
            size.prompt.high,
            size.choices,
            size.images,
            size.replyTokens ?? 0,
          ]) {
            expect(Number.isSafeInteger(count) && count >= 0).toBe(true);
          }
          expect(size.prompt.low).toBeLessThanOrEqual(size.prompt.likely);
          expect(size.prompt.likely).toBeLessThanOrEqual(size.prompt.high);
        },
      ),
      { numRuns: 1_000 },
    );
    const began = performance.now();
    sizeOfJson('chat', { messages: Array.from({ length: 500_000 }, () => ({ role: 'user', content: 'x' })) });
    sizeOfJson('chat', chat(ENGLISH.repeat(300_000)));
    expect(performance.now() - began).toBeLessThan(1_000);
  });
});

describe('the bound of a reply', () => {
  test('is what the call states, under each of its names, for as many replies as it asks for', () => {
    expect(sizeOfJson('chat', chat('hi', { max_tokens: 50, n: 3 }))).toMatchObject({
      replyTokens: 50,
      choices: 3,
    });
    expect(sizeOfJson('chat', chat('hi', { max_tokens: 50, max_completion_tokens: 80 })).replyTokens).toBe(
      80,
    );
    expect(sizeOfJson('responses', { input: 'hi', max_output_tokens: 900 }).replyTokens).toBe(900);
    expect(sizeOfJson('completions', { prompt: ['a', 'b'], n: 2, best_of: 3 })).toMatchObject({
      replyTokens: 16,
      choices: 6,
    });
  });

  test('is not known when the call states none, and nothing for operations that write no text', () => {
    expect(sizeOfJson('chat', chat('hi')).replyTokens).toBeNull();
    expect(sizeOfJson('embeddings', { input: 'hi', max_tokens: 5 }).replyTokens).toBe(0);
  });

  test('is whole and bounded, whatever the body says', () => {
    for (const wrong of [-1, Number.NaN, 'many', null, {}, [], true]) {
      expect(sizeOfJson('chat', chat('hi', { max_tokens: wrong, n: wrong }))).toMatchObject({
        replyTokens: null,
        choices: 1,
      });
    }
    expect(sizeOfJson('chat', chat('hi', { max_tokens: 1e300 })).replyTokens).toBe(1e12);
    expect(sizeOfJson('chat', chat('hi', { max_tokens: 10.2 })).replyTokens).toBe(11);
  });
});

describe('images and audio', () => {
  test('are counted from `n` and from the size of the file', () => {
    expect(sizeOfJson('images', { prompt: 'a fox', n: 4 }).images).toBe(4);
    expect(sizeOfJson('images', { prompt: 'a fox' }).images).toBe(1);
    expect(sizeOfForm('images', new Map([['n', '2']]), 1_000).images).toBe(2);
    expect(sizeOfForm('images', new Map([['n', 'x']]), 1_000).images).toBe(1);
    expect(sizeOfForm('transcription', new Map(), 16_000 * 90).audioSeconds).toBe(90);
  });
});
