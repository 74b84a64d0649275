// Byte-pair encoding of one piece of text: of all neighbours that together are a token, the two with the lowest rank
// are joined, the leftmost of equals first, until no two are a token.

/** Above every rank: these bytes are no token. */
export const GAP = 0x7fffffff;

export interface Ranks {
  /** The rank of these bytes; GAP when they are no token. */
  rank(bytes: Uint8Array, from: number, to: number): number;
}

let starts = new Int32Array(1_024);
let ranks = new Int32Array(1_024);

/** Appends the tokens of bytes[0, length) to `tokens`. Every single byte must be a token. Quadratic in `length`. */
export function encodePiece(table: Ranks, bytes: Uint8Array, length: number, tokens: number[]): void {
  const whole = table.rank(bytes, 0, length);
  if (whole !== GAP) {
    tokens.push(whole);
    return;
  }
  if (starts.length < length + 2) {
    starts = new Int32Array(2 * length + 2);
    ranks = new Int32Array(2 * length + 2);
  }
  // Part i is bytes[starts[i], starts[i + 1]); ranks[i] that of it and the next together.
  let parts = length;
  for (let i = 0; i <= length; i++) starts[i] = i;
  const rankAt = (i: number): number =>
    i + 2 > parts ? GAP : table.rank(bytes, starts[i] ?? 0, starts[i + 2] ?? 0);
  for (let i = 0; i < parts; i++) ranks[i] = rankAt(i);
  for (;;) {
    let lowest = GAP;
    let at = -1;
    for (let i = 0; i < parts - 1; i++) {
      const rank = ranks[i] ?? GAP;
      if (rank < lowest) {
        lowest = rank;
        at = i;
      }
    }
    if (at < 0) break;
    starts.copyWithin(at + 1, at + 2, parts + 1);
    ranks.copyWithin(at + 1, at + 2, parts);
    parts--;
    ranks[at] = rankAt(at);
    if (at > 0) ranks[at - 1] = rankAt(at - 1);
  }
  for (let i = 0; i < parts; i++) tokens.push(table.rank(bytes, starts[i] ?? 0, starts[i + 1] ?? 0));
}
