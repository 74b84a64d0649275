// Looks over the bytes of a JSON object before anything parses them: how deep it nests, and where its own members
// lie, so that one value can be replaced without writing the whole body anew.
//
// It does not validate JSON; JSON.parse does that after. It refuses only what two parsers could read differently:
// a member of interest that stands twice, and escapes in the names of the object's own members.

export interface Member {
  /** Offset of the value's first byte. */
  readonly start: number;
  /** Offset just past its last byte. */
  readonly end: number;
}

export type ScanRefusal = 'not_an_object' | 'too_deep' | 'too_many' | 'ambiguous';

/** More values than this make a body of a few megabytes hundreds of megabytes of objects once it is parsed. */
export const MOST_VALUES = 500_000;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** One pass over a body. `members` maps the names of interest that were found to where their values lie. */
export class ObjectScan {
  readonly members = new Map<string, Member>();
  /** Offset just past the opening brace: where a new member may be put in. */
  open = 0;
  /** Whether the object has no member at all. */
  empty = true;

  /**
   * @param bytes UTF-8 JSON text
   * @param maxDepth the deepest nesting allowed; the object itself is depth 1
   * @param interest names of the object's own members to be located
   */
  static over(bytes: Buffer, maxDepth: number, interest: ReadonlySet<string>): ObjectScan | ScanRefusal {
    const scan = new ObjectScan();
    const refusal = scan.#run(bytes, maxDepth, interest);
    return refusal ?? scan;
  }

  #run(bytes: Buffer, maxDepth: number, interest: ReadonlySet<string>): ScanRefusal | null {
    const length = bytes.length;
    let at = skipSpace(bytes, 0);
    if (bytes[at] !== OPEN_BRACE) return 'not_an_object';
    this.open = at + 1;
    let depth = 1;
    let values = 0;
    let name: string | null = null;
    let valueStart = -1;
    for (at += 1; at < length; at++) {
      const byte = bytes[at];
      if (byte === QUOTE) {
        const end = stringEnd(bytes, at);
        if (end < 0) return null; // unterminated: JSON.parse will say so
        if (depth === 1) {
          if (valueStart < 0 && name === null) {
            this.empty = false;
            name = memberName(bytes, at + 1, end);
            if (name === null) return 'ambiguous';
          } else if (valueStart < 0) valueStart = at;
        }
        at = end;
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (depth === 1 && valueStart < 0) valueStart = at;
        if (++depth > maxDepth) return 'too_deep';
        if (++values > MOST_VALUES) return 'too_many';
      } else if (byte === COMMA && depth > 1) {
        if (++values > MOST_VALUES) return 'too_many';
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET || byte === COMMA) {
        if (depth === 1) {
          if (name !== null && valueStart >= 0 && interest.has(name)) {
            if (this.members.has(name)) return 'ambiguous';
            this.members.set(name, { start: valueStart, end: trimEnd(bytes, at) });
          }
          name = null;
          valueStart = -1;
        }
        if (byte !== COMMA && --depth === 0) return null;
      } else if (depth === 1 && name !== null && valueStart < 0 && byte !== COLON && !isSpace(byte)) {
        valueStart = at;
      }
    }
    return null;
  }
}

/** Whether `quoted`, a name in its quotes, stands more than once in a text. */
export function standsTwice(text: string, quoted: string): boolean {
  const at = text.indexOf(quoted);
  return at >= 0 && text.includes(quoted, at + quoted.length);
}

/** A copy of `bytes` with the value at `member` replaced by `value`, which is JSON text. */
export function replaceMember(bytes: Buffer, member: Member, value: string): Buffer {
  const length = Buffer.byteLength(value);
  const out = Buffer.allocUnsafe(bytes.length - (member.end - member.start) + length);
  bytes.copy(out, 0, 0, member.start);
  out.write(value, member.start);
  bytes.copy(out, member.start + length, member.end);
  return out;
}

/** A copy of `bytes` with `"name":value` put in as the object's first member. */
export function insertMember(bytes: Buffer, scan: ObjectScan, name: string, value: string): Buffer {
  const text = `${JSON.stringify(name)}:${value}${scan.empty ? '' : ','}`;
  return replaceMember(bytes, { start: scan.open, end: scan.open }, text);
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function skipSpace(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && isSpace(bytes[at])) at++;
  return at;
}

function trimEnd(bytes: Buffer, end: number): number {
  let at = end;
  while (at > 0 && isSpace(bytes[at - 1])) at--;
  return at;
}

/** Offset of the quote that ends the string which begins at `start`, or -1. */
function stringEnd(bytes: Buffer, start: number): number {
  // Short strings are the rule, and for them a loop beats a call into the runtime; long ones are left to it.
  const near = Math.min(start + 64, bytes.length);
  for (let at = start + 1; at < near; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) return at;
    if (byte === BACKSLASH) at++;
  }
  let at = bytes.indexOf(QUOTE, near - 1);
  while (at >= 0) {
    let slashes = 0;
    while (at - 1 - slashes > start && bytes[at - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return at;
    at = bytes.indexOf(QUOTE, at + 1);
  }
  return -1;
}

function memberName(bytes: Buffer, start: number, end: number): string | null {
  for (let at = start; at < end; at++) if (bytes[at] === BACKSLASH) return null;
  return bytes.toString('utf8', start, end);
}
