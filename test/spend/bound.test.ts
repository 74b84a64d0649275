// The bound of a call: no usage that its body allows costs more than what is reserved for it.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sizeOfJson } from '../../src/limits/estimate.ts';
import { boundOfBody, boundOnModel, type CallBody } from '../../src/spend/bound/bound.ts';
import { modelLimits } from '../../src/spend/bound/model-limits.ts';
import { countPrompt } from '../../src/spend/count-prompt.ts';
import type { Meter } from '../../src/spend/meter/model.ts';

function bodyOf(meter: Meter, json: Record<string, unknown>): CallBody {
  return { meter, json, size: sizeOfJson(meter, json), files: 0, fileBytes: 0, characters: 0 };
}

function boundFor(meter: Meter, json: Record<string, unknown>, model = 'unknown', allowed = 2_000) {
  return boundOnModel(boundOfBody(bodyOf(meter, json)), modelLimits(model), allowed);
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 200 }),
  fc.string({ unit: 'binary', maxLength: 50 }),
  fc.constantFrom(
    'x'.repeat(500),
    '漢字'.repeat(100),
    '🙂🙃'.repeat(60),
    '𒀀𒁀'.repeat(40),
    '\u0000\u0001'.repeat(50),
  ),
);

const tool = fc.record({
  type: fc.constant('function'),
  function: fc.record({
    name: text,
    description: text,
    parameters: fc.record({
      type: fc.constant('object'),
      properties: fc.dictionary(
        fc.string({ maxLength: 20 }),
        fc.record({ type: fc.constant('string'), description: text, enum: fc.array(text, { maxLength: 3 }) }),
        { maxKeys: 4 },
      ),
    }),
  }),
});

describe('the bound of a prompt', () => {
  it('is never below what a tokenizer counts of a chat, whatever is written in it', () => {
    const chat = fc.record({
      messages: fc.array(
        fc.record(
          { role: fc.constantFrom('user', 'system'), content: text, name: text },
          { requiredKeys: ['role', 'content'] },
        ),
        { maxLength: 6 },
      ),
      tools: fc.array(tool, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(chat, fc.constantFrom('gpt-5', 'gpt-4'), (json, model) => {
        expect(boundFor('chat', json).input).toBeGreaterThanOrEqual(countPrompt(json, model).tokens);
      }),
      { numRuns: 300 },
    );
  });

  it('is never below it for Responses and embeddings', () => {
    const input = fc.oneof(
      text,
      fc.array(fc.record({ role: fc.constant('user'), content: text }), { maxLength: 4 }),
    );
    fc.assert(
      fc.property(input, text, (given, instructions) => {
        const json = { input: given, instructions };
        expect(boundFor('responses', json).input).toBeGreaterThanOrEqual(countPrompt(json, 'gpt-5').tokens);
      }),
      { numRuns: 200 },
    );
    const tokens = { model: 'text-embedding-3-small', input: [[1, 2, 3], [4]] };
    expect(boundFor('embeddings', tokens).input).toBeGreaterThanOrEqual(
      countPrompt(tokens, 'text-embedding-3-small').tokens,
    );
    // A list that begins with a number may hold something else.
    expect(boundFor('embeddings', { input: [1, 'x'.repeat(5000)] }).input).toBeGreaterThan(5000);
  });

  it('is the whole window of the model where the body does not hold all of it', () => {
    const open: Record<string, unknown>[] = [
      { input: 'x', previous_response_id: 'resp_1' },
      { input: 'x', conversation: 'conv_1' },
      { input: 'x', prompt: { id: 'pmpt_1' } },
      { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'file_1' }] }] },
      { input: 'x', tools: [{ type: 'web_search' }] },
    ];
    for (const json of open) {
      expect(boundFor('responses', json, 'gpt-5').input).toBe(400_000);
      expect(boundFor('responses', json).input).toBe(1_050_000);
    }
    expect(boundFor('responses', { input: 'x', previous_response_id: null }, 'gpt-5').input).toBeLessThan(
      200,
    );
    expect(
      boundFor('chat', { messages: [{ role: 'user', content: 'x'.repeat(9_000_000) }] }, 'gpt-5').input,
    ).toBe(400_000);
  });

  it('takes images and audio by what they are, not by the bytes of their coding', () => {
    const image = {
      type: 'image_url',
      image_url: { url: `data:image/png;base64,${'A'.repeat(400_000)}`, detail: 'low' },
    };
    const bound = boundFor('chat', { messages: [{ role: 'user', content: [image] }] });
    expect(bound.imageInput).toBeGreaterThan(0);
    expect(bound.input).toBeLessThan(5_000);
  });
});

describe('the bound of a reply', () => {
  it('is what the call allows, for each choice, or what is allowed to a call that does not say', () => {
    const messages: unknown[] = [];
    expect(boundFor('chat', { messages, max_tokens: 10, n: 3 })).toMatchObject({
      output: 30,
      replyTokens: null,
    });
    // A provider goes by one of two names: the larger one counts.
    expect(boundFor('chat', { messages, max_tokens: 10, max_completion_tokens: 5 }).output).toBe(10);
    expect(boundFor('chat', { messages })).toMatchObject({ output: 2_000, replyTokens: 2_000 });
    expect(boundFor('responses', { input: 'x' })).toMatchObject({ output: 2_000, replyTokens: 2_000 });
    expect(boundFor('completions', { prompt: ['a', 'b'], best_of: 3 })).toMatchObject({
      output: 96,
      replyTokens: null,
    });
    expect(boundFor('embeddings', { input: 'x' })).toMatchObject({ output: 0, replyTokens: null });
  });

  it('is no more than the model writes, and such a call is sent on as it came', () => {
    expect(boundFor('chat', { messages: [] }, 'gpt-4o', 20_000)).toMatchObject({
      output: 16_384,
      replyTokens: null,
    });
    expect(boundFor('chat', { messages: [], max_tokens: 1e12 }, 'gpt-4o').output).toBe(16_384);
  });

  it('includes what is wrong of a predicted reply', () => {
    const prediction = { type: 'content', content: 'word '.repeat(1000) };
    expect(boundFor('chat', { messages: [], max_tokens: 10, prediction }).output).toBeGreaterThan(5_000);
  });
});
