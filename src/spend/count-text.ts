// Counts, cuts and rebuilds text in a model's own tokens: gpt-tokenizer's algorithm over its published rank files.
// Only ever loaded on a worker thread: an encoding takes tens of megabytes and a big text takes milliseconds.
//
// Three things are ours, each for a reason:
// - The ranks are read from the package's .tiktoken file and not from its 200,000-line module, which costs twice
//   the memory (measured: 33 MB instead of 70 MB resident) for the same table; a test compares the two.
// - The algorithm takes time in the square of one unbroken run (40,000 letters: 0.8 s), so that a hostile prompt
//   could hold the thread. Runs longer than MAX_RUN characters are cut into slices, which bounds the time to
//   linear; a cut can split a token in two, so the count may be high by one a slice and says `exact: false`.
// - What it remembers of merges is dropped after each text: nothing of a prompt stays in memory.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { GptEncoding } from 'gpt-tokenizer/GptEncoding';
import type { TokenCount } from './count-estimate.ts';

export type EncodingName = 'o200k_base' | 'cl100k_base';

const MAX_RUN = 256;
// Text that looks like a control token (`<|endoftext|>`) is text: a caller cannot make control tokens.
const AS_TEXT = { disallowedSpecial: new Set<string>(), allowedSpecial: new Set<string>() };

export class Tokenizer {
  readonly #ranks: RankTable;
  readonly #api: GptEncoding;

  private constructor(name: EncodingName) {
    const ranks = readRanks(name);
    this.#ranks = ranks;
    this.#api = GptEncoding.getEncodingApi(name, () => ranks);
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
    for (const slice of slices) tokens += this.#api.countTokens(slice, AS_TEXT);
    this.#api.clearMergeCache();
    return { tokens, exact: slices.length === 1 };
  }

  encode(text: string): number[] {
    const slices = boundedSlices(text);
    const first = slices.length === 1 ? slices[0] : undefined;
    const tokens =
      first !== undefined
        ? this.#api.encode(first, AS_TEXT)
        : slices.flatMap((slice) => this.#api.encode(slice, AS_TEXT));
    this.#api.clearMergeCache();
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
      const piece = this.#ranks[tokens[i] ?? -1];
      if (typeof piece === 'string' && !midway) {
        yield piece;
        continue;
      }
      const bytes = typeof piece === 'string' ? Buffer.from(piece) : Uint8Array.from(piece ?? []);
      midway = true;
      const text = decoder.decode(bytes, { stream: true });
      // A piece that is whole characters leaves the decoder with nothing held back.
      if (typeof piece === 'string') midway = false;
      yield text;
    }
  }

  decode(tokens: readonly number[]): string {
    let text = '';
    for (const piece of this.pieces(tokens)) text += piece;
    return text;
  }
}

/** By index: a token's text, or its bytes where they are not whole characters. */
type RankTable = (string | number[])[];

/** The encoding of a model, and whether it is known to be that model's own. */
export function encodingFor(model: string): { name: EncodingName; known: boolean } {
  const bare = model.toLowerCase().replace(/^.*\//, '').replace(/^ft:/, '');
  if (/^(gpt-4($|-(?!5))|gpt-(3\.5|35)|text-embedding-|davinci-002|babbage-002)/.test(bare)) {
    return { name: 'cl100k_base', known: true };
  }
  const known = /^(gpt-|o\d|chatgpt-|codex-|computer-use-|chat-latest|sandbox-|omni-moderation)/.test(bare);
  return { name: 'o200k_base', known };
}

// The published format: a line a token, its bytes in base64, a space, its rank.
function readRanks(name: EncodingName): RankTable {
  const file = readFileSync(createRequire(import.meta.url).resolve(`gpt-tokenizer/data/${name}.tiktoken`));
  const ranks: RankTable = [];
  for (let start = 0; start < file.length; ) {
    const space = file.indexOf(0x20, start);
    const newline = file.indexOf(0x0a, space);
    const end = newline < 0 ? file.length : newline;
    const bytes = Buffer.from(file.toString('latin1', start, space), 'base64');
    const text = bytes.toString();
    // Bytes that are not whole characters decode to U+FFFD, as does U+FFFD itself: only then look twice.
    const whole = !text.includes('\ufffd') || Buffer.from(text).equals(bytes);
    ranks[Number(file.toString('latin1', space + 1, end))] = whole ? text : [...bytes];
    start = end + 1;
  }
  return ranks;
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
