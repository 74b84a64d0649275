import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { factsOf, usageOf } from '../../src/spend/meter/reply.ts';

const USAGE = { prompt_tokens: 9, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 2 } };

describe('what a whole reply says', () => {
  it('is the same whether it is found in the bytes or in the parsed reply, whatever stands around it', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('choices', 'x', 'created', 'message'), fc.jsonValue()),
        fc.record(
          {
            usage: fc.option(fc.constant(USAGE)),
            id: fc.string({ unit: 'grapheme' }),
            model: fc.string(),
            service_tier: fc.option(fc.string()),
          },
          { requiredKeys: [] },
        ),
        fc.constantFrom(undefined, 2),
        fc.boolean(),
        (around, facts, space, long) => {
          const reply = { ...around, ...facts, ...(long ? { filler: 'x'.repeat(20_000) } : {}) };
          const found = factsOf('chat', Buffer.from(JSON.stringify(reply, null, space)));
          expect(found.usage).toEqual(usageOf('chat', JSON.parse(JSON.stringify(reply))));
          expect(found.id).toBe((facts.id ?? '').slice(0, 256).toWellFormed());
          expect(found.model).toBe((facts.model ?? '').slice(0, 256));
          expect(found.serviceTier).toBe((facts.service_tier ?? '').slice(0, 256));
        },
      ),
    );
  });

  it('does not take a word of the model, or an inner member, for its usage', () => {
    const words = JSON.stringify({
      choices: [{ message: { content: '"usage":{"prompt_tokens":1}', usage: USAGE } }],
    });
    expect(factsOf('chat', Buffer.from(words)).usage).toBeNull();
    expect(factsOf('chat', Buffer.from('not json')).usage).toBeNull();
    expect(factsOf('chat', Buffer.from('[]')).usage).toBeNull();
  });

  it('counts images, audio, searches and every kind of token', () => {
    const facts = (meter: 'images' | 'transcription' | 'responses', reply: object) =>
      factsOf(meter, Buffer.from(JSON.stringify(reply))).usage;
    expect(facts('images', { data: [{}, {}], usage: { input_tokens: 5, output_tokens: 70 } })).toMatchObject({
      images: 2,
      input: 5,
      output: 70,
      imageOutput: 70,
    });
    expect(facts('images', { data: [{}] })).toMatchObject({ images: 1, input: 0 });
    expect(facts('transcription', { text: 'x', usage: { type: 'duration', seconds: 2.5 } })).toMatchObject({
      audioMs: 2500,
    });
    expect(
      facts('responses', {
        output: [{ type: 'web_search_call' }],
        usage: { input_tokens: 3, output_tokens: 2 },
      }),
    ).toMatchObject({ searches: 1, input: 3, output: 2 });
  });

  it('takes a count that is none for none', () => {
    for (const odd of [-1, 1.5, '7', null, 1e300, {}]) {
      expect(usageOf('chat', { usage: { prompt_tokens: odd, completion_tokens: 1 } })).toMatchObject({
        input: 0,
        output: 1,
      });
    }
  });
});
