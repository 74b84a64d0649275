// The ranks of a byte-pair encoding as typed arrays: the bytes of all tokens in one block, and an index over them by
// open addressing. 5 MB for the 200,000 tokens of o200k_base, where maps of strings are 33 MB (measured), and nothing
// for the garbage collector to look at.

import { GAP } from './byte-pairs.ts';

export class RankTable {
  readonly #bytes: Buffer;
  readonly #starts: Uint32Array;
  readonly #lengths: Uint16Array;
  /** Slots: a rank and one, or 0. */
  readonly #index: Int32Array;
  readonly #mask: number;

  /** @param file the published format: a line a token, its bytes in base64, a space, its rank */
  constructor(file: Buffer) {
    let lines = 0;
    for (let at = file.indexOf(0x0a); at >= 0; at = file.indexOf(0x0a, at + 1)) lines++;
    const slots = 2 ** Math.ceil(Math.log2((lines + 1) * 2));
    this.#bytes = Buffer.alloc(file.length);
    this.#starts = new Uint32Array(lines + 1);
    this.#lengths = new Uint16Array(lines + 1);
    this.#index = new Int32Array(slots);
    this.#mask = slots - 1;
    let used = 0;
    for (let start = 0; start < file.length; ) {
      const space = file.indexOf(0x20, start);
      const newline = file.indexOf(0x0a, space);
      const end = newline < 0 ? file.length : newline;
      const rank = Number(file.toString('latin1', space + 1, end));
      if (!(rank < this.#starts.length)) throw new Error('the ranks of an encoding have gaps');
      const length = this.#bytes.write(file.toString('latin1', start, space), used, 'base64');
      this.#starts[rank] = used;
      this.#lengths[rank] = length;
      used += length;
      this.#enter(rank);
      start = end + 1;
    }
    // What was set aside for base64 and not used.
    this.#bytes = Buffer.from(this.#bytes.subarray(0, used));
  }

  /** The rank of these bytes; GAP when they are no token. */
  rank(bytes: Uint8Array, from: number, to: number): number {
    const length = to - from;
    for (let slot = hashOf(bytes, from, to) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const entry = this.#index[slot] ?? 0;
      if (entry === 0) return GAP;
      const rank = entry - 1;
      if (this.#lengths[rank] !== length) continue;
      const start = this.#starts[rank] ?? 0;
      let same = 0;
      while (same < length && this.#bytes[start + same] === bytes[from + same]) same++;
      if (same === length) return rank;
    }
  }

  /** The bytes of a token; none for a number that is no token. */
  bytesOf(rank: number): Buffer {
    const start = this.#starts[rank] ?? 0;
    return this.#bytes.subarray(start, start + (this.#lengths[rank] ?? 0));
  }

  #enter(rank: number): void {
    const start = this.#starts[rank] ?? 0;
    let slot = hashOf(this.#bytes, start, start + (this.#lengths[rank] ?? 0)) & this.#mask;
    while (this.#index[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#index[slot] = rank + 1;
  }
}

/** FNV-1a, with its bits mixed once more. */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
