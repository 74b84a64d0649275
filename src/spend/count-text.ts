// Counts, cuts and rebuilds text in a model's own tokens: the published ranks and split patterns that gpt-tokenizer
// ships, in tables of our own. Only ever loaded on a worker thread: a big text takes milliseconds.
//
// What is ours, each for a reason:
// - The ranks are kept as typed arrays (rank-table.ts: 5 MB) and not as the package's maps (33 MB, and 70 MB from its
//   200,000-line module). Tests compare the tokens of both.
// - The algorithm takes time in the square of one unbroken run (40,000 letters: 0.8 s), so that a hostile prompt
//   could hold the thread. Runs longer than MAX_RUN characters are cut into slices, which bounds the time to
//   linear; a cut can split a token in two, so the count may be high by one a slice and says `exact: false`.
// - Nothing of a text stays in memory but the bytes of its last piece.

import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { CL100K_TOKEN_SPLIT_REGEX, O200K_TOKEN_SPLIT_REGEX } from 'gpt-tokenizer/encodingParams/constants';
import { encodePiece } from './byte-pairs.ts';
import type { TokenCount } from './count-estimate.ts';
import { RankTable } from './rank-table.ts';

export type EncodingName = 'o200k_base' | 'cl100k_base';

const MAX_RUN = 256;
const SPLIT = { o200k_base: O200K_TOKEN_SPLIT_REGEX, cl100k_base: CL100K_TOKEN_SPLIT_REGEX };
/** A unit of UTF-16 is at most three bytes of UTF-8. */
const BYTES_A_UNIT = 3;

export class Tokenizer {
  readonly #ranks: RankTable;
  readonly #split: RegExp;
  #piece = Buffer.alloc(4 * MAX_RUN);

  private constructor(name: EncodingName) {
    const file = createRequire(import.meta.url).resolve(`gpt-tokenizer/data/${name}.tiktoken`);
    this.#ranks = new RankTable(readFileSync(file));
    this.#split = SPLIT[name];
    collectGarbage();
  }

  static readonly #loaded = new Map<EncodingName, Tokenizer>();

  /** The tokenizer of an encoding, loaded at first use (about a tenth of a second) and kept. */
  static of(name: EncodingName): Tokenizer {
    const known = Tokenizer.#loaded.get(name);
    if (known) return known;
    const tokenizer = new Tokenizer(name);
    Tokenizer.#loaded.set(name, tokenizer);
    return tokenizer;
  }

  count(text: string): TokenCount {
    const slices = boundedSlices(text);
    let tokens = 0;
    for (const slice of slices) tokens += this.#tokens(slice).length;
    return { tokens, exact: slices.length === 1 };
  }

  encode(text: string): number[] {
    return boundedSlices(text).flatMap((slice) => this.#tokens(slice));
  }

  /** Text that looks like a control token (`<|endoftext|>`) is text: a caller cannot make control tokens. */
  #tokens(text: string): number[] {
    const tokens: number[] = [];
    for (const [piece] of text.matchAll(this.#split)) {
      if (this.#piece.length < piece.length * BYTES_A_UNIT)
        this.#piece = Buffer.alloc(2 * piece.length * BYTES_A_UNIT);
      encodePiece(this.#ranks, this.#piece, this.#piece.write(piece, 'utf8'), tokens);
    }
    return tokens;
  }

  /**
   * The text of each token in turn. A character whose bytes lie in several tokens comes whole with the last of
   * them (the others give an empty string); one that is cut off at the end is left out. A number that is no token
   * of this encoding gives an empty string.
   */
  *pieces(tokens: readonly number[], from = 0): Generator<string, void, undefined> {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    let midway = false;
    for (let i = from; i < tokens.length; i++) {
      const bytes = this.#ranks.bytesOf(tokens[i] ?? -1);
      const text = isUtf8(bytes) ? bytes.toString() : null;
      if (text !== null && !midway) {
        yield text;
        continue;
      }
      // A piece that is whole characters leaves the decoder with nothing held back.
      midway = text === null;
      yield decoder.decode(bytes, { stream: true });
    }
  }

  decode(tokens: readonly number[]): string {
    let text = '';
    for (const piece of this.pieces(tokens)) text += piece;
    return text;
  }
}

/** The encoding of a model, and whether it is known to be that model's own. */
export function encodingFor(model: string): { name: EncodingName; known: boolean } {
  const bare = model.toLowerCase().replace(/^.*\//, '').replace(/^ft:/, '');
  if (/^(gpt-4($|-(?!5))|gpt-(3\.5|35)|text-embedding-|davinci-002|babbage-002)/.test(bare)) {
    return { name: 'cl100k_base', known: true };
  }
  const known = /^(gpt-|o\d|chatgpt-|codex-|computer-use-|chat-latest|sandbox-|omni-moderation)/.test(bare);
  return { name: 'o200k_base', known };
}

// Loading leaves 15 MB behind that an idle thread would hold on to for good: it makes too little to be collected.
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect === 'function') collect();
}

function boundedSlices(text: string): string[] {
  const slices: string[] = [];
  let sliceStart = 0;
  let runStart = 0;
  let runKind = -1;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    const kind = kindOf(unit);
    if (kind !== runKind) {
      runKind = kind;
      runStart = i;
    } else if (i - runStart >= MAX_RUN && !isLowSurrogate(unit)) {
      slices.push(text.slice(sliceStart, i));
      sliceStart = i;
      runStart = i;
    }
  }
  slices.push(sliceStart === 0 ? text : text.slice(sliceStart));
  return slices;
}

// Coarser than the encodings' own classes (letters, digits, spaces, the rest), so that none of their pieces is
// longer than a run here by more than a character or two.
function kindOf(unit: number): number {
  if (unit === 0x20 || (unit >= 0x09 && unit <= 0x0d)) return 2;
  if (unit >= 0x30 && unit <= 0x39) return 1;
  if ((unit >= 0x41 && unit <= 0x5a) || (unit >= 0x61 && unit <= 0x7a)) return 0;
  if (unit < 0x80) return 3;
  const punctuation = (unit >= 0x2000 && unit <= 0x206f) || (unit >= 0x3000 && unit <= 0x303f);
  return punctuation || (unit >= 0xff01 && unit <= 0xff0f) ? 3 : 0;
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
