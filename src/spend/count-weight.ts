// How much a JSON text would weigh once it is parsed, told before it is: a body of 32 MB can hold ten million
// empty arrays, and a thread that runs out of memory over them takes the whole process with it.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Values and members at most; the largest sensible body, 300,000 tokens to embed, has fewer. */
export const MOST_VALUES = 500_000;
/** Nesting at most. */
export const MOST_DEPTH = 256;

/** Whether a JSON text may be parsed here: it has no more than MOST_VALUES values, nested no deeper than MOST_DEPTH. */
export function isBearable(json: Buffer): boolean {
  let values = 0;
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    switch (json[at]) {
      case QUOTE:
        at = closingQuote(json, at);
        break;
      case OPEN_BRACKET:
      case OPEN_BRACE:
        values += 1;
        depth += 1;
        break;
      case CLOSE_BRACKET:
      case CLOSE_BRACE:
        depth -= 1;
        break;
      case COMMA:
      case COLON:
        values += 1;
        break;
    }
    if (values > MOST_VALUES || depth > MOST_DEPTH) return false;
  }
  return true;
}

function closingQuote(json: Buffer, opening: number): number {
  for (let at = json.indexOf(QUOTE, opening + 1); at >= 0; at = json.indexOf(QUOTE, at + 1)) {
    let escapes = 0;
    while (json[at - 1 - escapes] === BACKSLASH) escapes += 1;
    if (escapes % 2 === 0) return at;
  }
  return json.length;
}
