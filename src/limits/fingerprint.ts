// A 64-bit keyed fingerprint of a string: HalfSipHash-1-3 (Aumasson and Bernstein, SipHash; the variant on 32-bit
// words that the Linux kernel describes in Documentation/security/siphash.rst), over UTF-16 code units in pairs.
//
// It stands for a limit's subject in the memory limiter, so that ten million end users cost eight bytes each and no
// string is kept. The key is random for each process: nobody can choose two names that meet. At ten million subjects
// the chance that any two meet is 10^14 / 2^65, 1 in 370,000; they would then share a limit, and never lose one.

import { randomFillSync } from 'node:crypto';

const key = randomFillSync(new Uint32Array(2));
const k0 = key[0] ?? 0;
const k1 = key[1] ?? 0;

/** The high and the low 32 bits, as signed integers. */
export function fingerprint(text: string): readonly [high: number, low: number] {
  let v0 = k0 | 0;
  let v1 = (k1 ^ 0xee) | 0; // 0xee: the 64-bit output's domain
  let v2 = (k0 ^ 0x6c796765) | 0;
  let v3 = (k1 ^ 0x74656462) | 0;

  // The last word holds the odd unit, if any, and the length, so that no text is another's prefix.
  const length = text.length;
  const pairs = length >> 1;
  for (let i = 0; i <= pairs + 3; i++) {
    let word = 0;
    if (i < pairs) word = text.charCodeAt(2 * i) | (text.charCodeAt(2 * i + 1) << 16);
    else if (i === pairs) word = (length & 1 ? text.charCodeAt(length - 1) : 0) | (length << 16);
    else if (i === pairs + 1) v2 ^= 0xee;
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = (v1 << 5) | (v1 >>> 27);
    v1 ^= v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = (v3 << 8) | (v3 >>> 24);
    v3 ^= v2;
    v0 = (v0 + v3) | 0;
    v3 = (v3 << 7) | (v3 >>> 25);
    v3 ^= v0;
    v2 = (v2 + v1) | 0;
    v1 = (v1 << 13) | (v1 >>> 19);
    v1 ^= v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  const high = v1 ^ v3;
  // The second half: one more finalization with its own constant.
  v1 ^= 0xdd;
  for (let i = 0; i < 3; i++) {
    v0 = (v0 + v1) | 0;
    v1 = (v1 << 5) | (v1 >>> 27);
    v1 ^= v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = (v3 << 8) | (v3 >>> 24);
    v3 ^= v2;
    v0 = (v0 + v3) | 0;
    v3 = (v3 << 7) | (v3 >>> 25);
    v3 ^= v0;
    v2 = (v2 + v1) | 0;
    v1 = (v1 << 13) | (v1 >>> 19);
    v1 ^= v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  return [high, v1 ^ v3];
}
