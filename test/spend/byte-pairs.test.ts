// Our byte-pair tables beside the library's, on texts of many kinds and in both encodings.

import fc from 'fast-check';
import { countTokens as countCl100k, encode as encodeCl100k } from 'gpt-tokenizer/encoding/cl100k_base';
import { encode as encodeO200k } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, it } from 'vitest';
import { Tokenizer } from '../../src/spend/count-text.ts';

const PLAIN = { disallowedSpecial: new Set<string>(), allowedSpecial: new Set<string>() };
const part = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'etaoinshrdlu'), minLength: 1, maxLength: 24 }),
  fc.constantFrom(
    'The ',
    ' capital',
    "don't",
    "WE'LL",
    'function(',
    ' => {',
    '\n\n  ',
    '\t',
    '\r\n',
    '    ',
    ' ',
  ),
  fc.constantFrom('naïve', ' Straße', '漢字かな交じり文', 'Привет', 'مرحبا', '🙂👩‍👩‍👧', 'é'),
  fc.integer({ min: 0, max: 99_999_999 }).map(String),
  fc.string({ unit: fc.constantFrom(...'{}[]":,.;!?/\\<>|=-_*#%&()'), minLength: 1, maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 8 }).map((text) => text.toWellFormed().replaceAll('\ufeff', '')),
);
const text = fc.array(part, { maxLength: 40 }).map((parts) => parts.join(''));

describe('tokens', () => {
  it.each([
    ['o200k_base', encodeO200k],
    ['cl100k_base', encodeCl100k],
  ] as const)('of %s are the library’s, one by one', (name, encode) => {
    const ours = Tokenizer.of(name);
    fc.assert(
      fc.property(text, (sample) => {
        expect(ours.encode(sample)).toEqual(encode(sample, PLAIN));
        expect(ours.decode(ours.encode(sample))).toBe(sample);
      }),
      { numRuns: 1_000 },
    );
  });

  it('are those of the published ranks where the library takes a byte order mark apart', () => {
    const ours = Tokenizer.of('o200k_base');
    expect(ours.encode('\ufeff')).toEqual([5574]);
    expect(ours.decode([5574])).toBe('\ufeff');
  });

  it('are counted for a long text as the library counts them', () => {
    const long = 'The quick brown fox, aged 12, jumps over Straße 漢字 {"a": [1, 2]}\n'.repeat(2_000);
    expect(Tokenizer.of('cl100k_base').count(long)).toEqual({
      tokens: countCl100k(long, PLAIN),
      exact: true,
    });
  });
});
