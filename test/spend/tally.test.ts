// The count of a running reply is never too low, however the stream is cut and whatever stands in it.

import fc from 'fast-check';
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, test } from 'vitest';
import { ReplyTally } from '../../src/spend/meter/tally.ts';

const chunk = (choices: object[], rest: object = {}) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices, ...rest })}\n\n`;

describe('the tally of a stream', () => {
  test('is never below what a tokenizer counts of what was written, under whatever member', () => {
    const member = fc.constantFrom('content', 'refusal', 'reasoning_content', 'reasoning');
    const piece = fc.record({
      member,
      text: fc.string({ unit: 'grapheme', maxLength: 40 }),
      index: fc.nat(2),
    });
    const call = fc.record({ name: fc.string({ maxLength: 20 }), arguments: fc.json({ maxDepth: 1 }) });
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, call), { maxLength: 30 }), (pieces) => {
        const tally = new ReplyTally('chat');
        let text = '';
        for (const each of pieces) {
          const delta =
            'name' in each
              ? { tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: each }] }
              : { [each.member]: each.text };
          text += 'name' in each ? each.name + each.arguments : each.text;
          tally.read(chunk([{ index: 0, delta, finish_reason: null }]));
        }
        expect(tally.tokens).toBeGreaterThanOrEqual(countTokens(text));
      }),
      { numRuns: 500 },
    );
  });

  test('takes the provider’s word where it says on the way what was used', () => {
    const tally = new ReplyTally('chat');
    tally.read(chunk([{ index: 0, delta: { content: 'x'.repeat(1000) } }]));
    expect(tally.tokens).toBe(1001);
    const usage = { prompt_tokens: 1, completion_tokens: 250, total_tokens: 251 };
    tally.read(chunk([{ index: 0, delta: { content: 'x' } }], { usage }));
    expect(tally.tokens).toBe(250);
  });

  test('ends every choice that is open, and none that is over', () => {
    const tally = new ReplyTally('chat');
    tally.read(
      chunk([{ index: 0, delta: { content: 'a' } }]) + chunk([{ index: 1, delta: { content: 'b' } }]),
    );
    tally.read(chunk([{ index: 0, delta: {}, finish_reason: 'stop' }]));
    expect(tally.ending.over).toBe(false);
    const [end = '', done] = tally.ending.events().toString().split('\n\n');
    expect(JSON.parse(end.slice(6))).toEqual({
      id: 'c',
      object: 'chat.completion.chunk',
      created: 1,
      model: 'm',
      choices: [{ index: 1, delta: {}, logprobs: null, finish_reason: 'length' }],
    });
    expect(done).toBe('data: [DONE]');
    tally.read(chunk([{ index: 1, delta: {}, finish_reason: 'stop' }]));
    expect(tally.ending.over).toBe(true);
  });

  test('counts what is no JSON by its bytes, and ends nothing that never began wrongly', () => {
    const tally = new ReplyTally('chat');
    tally.read('data: {broken\n\n: comment\n\nevent: x\ndata: [DONE]\n\n');
    expect([tally.tokens, tally.ending.over]).toEqual([7, true]);
    const empty = new ReplyTally('responses');
    expect(empty.ending.events().toString()).toContain('"status":"incomplete"');
  });
});
