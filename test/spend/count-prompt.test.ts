import fc from 'fast-check';
import cl100k from 'gpt-tokenizer/bpeRanks/cl100k_base';
import o200k from 'gpt-tokenizer/bpeRanks/o200k_base';
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, test } from 'vitest';
import { countPrompt } from '../../src/spend/count-prompt.ts';
import { encodingFor, Tokenizer } from '../../src/spend/count-text.ts';

const o200kBase = Tokenizer.of('o200k_base');

describe('counting text', () => {
  test.each([
    ['o200k_base', o200k],
    ['cl100k_base', cl100k],
  ] as const)('%s is read from its rank file to the same table as the library carries', (name, table) => {
    const tokenizer = Tokenizer.of(name);
    const different = table.flatMap((token, rank) => {
      const bytes = typeof token === 'string' ? Buffer.from(token) : Uint8Array.from(token);
      // A part of a character has no text of its own yet.
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes, { stream: true });
      return tokenizer.decode([rank]) === text ? [] : [rank];
    });
    expect(different).toEqual([]);
  });

  test('any text counts as the library counts it, and its tokens decode to it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
        const well = text.toWellFormed();
        const tokens = o200kBase.encode(well);
        expect(o200kBase.count(well)).toEqual({ tokens: tokens.length, exact: true });
        expect(tokens.length).toBe(countTokens(well, { disallowedSpecial: new Set() }));
        expect(o200kBase.decode(tokens)).toBe(well);
      }),
      { numRuns: 300 },
    );
  });

  test('text cut after any token is whole characters, and the rest follows from there', () => {
    const text = 'naïve 👩‍👩‍👧 漢字 \ufeff ﷽ end';
    const tokens = o200kBase.encode(text);
    for (let end = 0; end <= tokens.length; end++) {
      expect(text.startsWith(o200kBase.decode(tokens.slice(0, end)))).toBe(true);
    }
  });

  test('a run of hundreds of thousands of letters is counted in linear time, and says that it may be high', () => {
    const start = performance.now();
    const count = o200kBase.count('a'.repeat(300_000));
    expect(performance.now() - start).toBeLessThan(3_000);
    expect(count).toEqual({ tokens: 37_500, exact: false });
  });

  test('text that looks like a control token is counted as text', () => {
    expect(o200kBase.count('<|endoftext|>').tokens).toBeGreaterThan(1);
  });

  test.each([
    ['gpt-4', 'cl100k_base', true],
    ['gpt-4-turbo-2024-04-09', 'cl100k_base', true],
    ['ft:gpt-3.5-turbo:acme::1', 'cl100k_base', true],
    ['text-embedding-3-small', 'cl100k_base', true],
    ['gpt-4o-mini', 'o200k_base', true],
    ['gpt-4.1', 'o200k_base', true],
    ['gpt-4-5-preview', 'o200k_base', true],
    ['openai/gpt-5', 'o200k_base', true],
    ['o3-mini', 'o200k_base', true],
    ['sandbox-small', 'o200k_base', true],
    ['claude-sonnet-4', 'o200k_base', false],
  ])('%s is counted in %s', (model, name, known) => {
    expect(encodingFor(model)).toEqual({ name, known });
  });
});

describe('counting a prompt', () => {
  const weather = {
    messages: [
      {
        role: 'system',
        content: 'You are a helpful assistant that can answer to questions about the weather.',
      },
      { role: 'user', content: "What's the weather like in San Francisco?" },
    ],
    tools: [
      {
        type: 'function',
        function: {
          name: 'get_current_weather',
          description: 'Get the current weather in a given location',
          parameters: {
            type: 'object',
            properties: {
              location: { type: 'string', description: 'The city and state, e.g. San Francisco, CA' },
              unit: {
                type: 'string',
                description: 'The unit of temperature to return',
                enum: ['celsius', 'fahrenheit'],
              },
            },
            required: ['location'],
          },
        },
      },
    ],
  };
  const jargon = [
    [
      'system',
      null,
      'You are a helpful, pattern-following assistant that translates corporate jargon into plain English.',
    ],
    ['system', 'example_user', 'New synergies will help drive top-line growth.'],
    ['system', 'example_assistant', 'Things working well together will increase revenue.'],
    [
      'system',
      'example_user',
      "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
    ],
    ['system', 'example_assistant', "Let's talk later when we're less busy about how to do better."],
    ['user', null, "This late pivot means we don't have time to boil the ocean for the client deliverable."],
  ].map(([role, name, content]) => (name ? { role, name, content } : { role, content }));

  test.each([
    ['gpt-4', 129, 105],
    ['gpt-4o', 124, 101],
  ])('%s: the cookbook’s own examples count as the API counted them', (model, messages, withTool) => {
    expect(countPrompt({ messages: jargon }, model)).toEqual({ tokens: messages, exact: true });
    expect(countPrompt(weather, model)).toEqual({ tokens: withTool, exact: true });
  });

  test('a chat and the same turn as a response count alike', () => {
    const chat = {
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'hello' },
      ],
    };
    const response = { instructions: 'Be brief.', input: 'hello' };
    const items = {
      instructions: 'Be brief.',
      input: [{ role: 'user', content: [{ type: 'input_text', text: 'hello' }] }],
    };
    const expected = countPrompt(chat, 'gpt-4o');
    expect(expected.exact).toBe(true);
    expect(countPrompt(response, 'gpt-4o')).toEqual(expected);
    expect(countPrompt(items, 'gpt-4o')).toEqual(expected);
  });

  test('embeddings count their texts alone, and tokens as they are', () => {
    const model = 'text-embedding-3-small';
    expect(countPrompt({ model, input: 'hello world' }, model)).toEqual({ tokens: 2, exact: true });
    expect(countPrompt({ model, input: ['hello', 'hello world'] }, model)).toEqual({
      tokens: 3,
      exact: true,
    });
    expect(countPrompt({ model, input: [1, 2, 3] }, model)).toEqual({ tokens: 3, exact: true });
    expect(countPrompt({ model, input: [[1, 2], [3]] }, model)).toEqual({ tokens: 3, exact: true });
    expect(countPrompt({ model: 'x', prompt: ['hello', 'world'] }, 'gpt-4o').tokens).toBe(2);
  });

  test.each([
    [
      'an image',
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] },
      772,
    ],
    [
      'a low-detail image',
      {
        messages: [
          { role: 'user', content: [{ type: 'image_url', image_url: { url: 'x', detail: 'low' } }] },
        ],
      },
      92,
    ],
    ['an earlier turn that the provider holds', { input: 'hello', previous_response_id: 'resp_1' }, 8],
    [
      'an earlier tool call',
      {
        messages: [
          {
            role: 'assistant',
            tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }],
          },
          { role: 'tool', tool_call_id: 'c', content: 'done' },
        ],
      },
      17,
    ],
  ])('%s is an estimate, and says so', (_, body, tokens) => {
    expect(countPrompt(body, 'gpt-4o')).toEqual({ tokens, exact: false });
  });

  test('an Anthropic messages body counts its system prompt, tools and results', () => {
    const plain = countPrompt({ messages: [{ role: 'user', content: 'hello' }] }, 'claude-sonnet-4');
    const whole = countPrompt(
      {
        system: 'Be brief.',
        messages: [
          { role: 'user', content: 'hello' },
          {
            role: 'assistant',
            content: [{ type: 'tool_use', id: 't', name: 'clock', input: { zone: 'UTC' } }],
          },
          { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: 'noon' }] },
        ],
        tools: [
          { name: 'clock', input_schema: { type: 'object', properties: { zone: { type: 'string' } } } },
        ],
      },
      'claude-sonnet-4',
    );
    expect(plain.exact).toBe(false);
    expect(whole.tokens).toBeGreaterThan(plain.tokens + 40);
  });

  test('no body, however odd, makes it fail or give less than nothing', () => {
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 4 }),
        fc.constantFrom('messages', 'input', 'tools', 'prompt'),
        (value, name) => {
          for (const body of [
            value,
            { [name]: value },
            { messages: [value], tools: [value], input: value },
          ]) {
            expect(countPrompt(body, 'gpt-4o').tokens).toBeGreaterThanOrEqual(0);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
