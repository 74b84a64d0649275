// Text that matches a regular expression, by building it: the expression is read into parts, and each part gives
// what it would match. Look-around, \b and anchors in the middle are refused: they cannot be built part by part.

import type { Seed } from './seed.ts';

/** The pattern is beyond what can be built; the message says what of it. */
export class UnbuildablePattern extends Error {
  override readonly name = 'UnbuildablePattern';
}

type Part =
  | { readonly kind: 'set'; readonly ranges: readonly Range[]; readonly negated: boolean }
  | { readonly kind: 'group'; readonly branches: readonly Repeated[][]; readonly index: number | null }
  | { readonly kind: 'back'; readonly index: number };
type Range = readonly [from: number, to: number];
interface Repeated {
  readonly part: Part;
  readonly least: number;
  readonly most: number;
}

const MAX_REPEAT = 1_000;
const DIGIT: readonly Range[] = [[0x30, 0x39]];
const WORD: readonly Range[] = [
  [0x61, 0x7a],
  [0x41, 0x5a],
  [0x30, 0x39],
  [0x5f, 0x5f],
];
const SPACE: readonly Range[] = [
  [0x20, 0x20],
  [0x09, 0x0d],
];
const LOWER: readonly Range[] = [[0x61, 0x7a]];
const UPPER: readonly Range[] = [[0x41, 0x5a]];
const LETTER: readonly Range[] = [...LOWER, ...UPPER];
const PRINTABLE: readonly Range[] = [
  [0x61, 0x7a],
  [0x41, 0x5a],
  [0x30, 0x39],
  [0x20, 0x7e],
];

/**
 * @param generous how often an open-ended repetition repeats beyond its least
 * @throws {UnbuildablePattern}
 */
export function matching(pattern: string, seed: Seed, generous: number): string {
  const branches = new PatternReader(pattern).read();
  return new Building(seed, generous).branches(branches);
}

class PatternReader {
  readonly #chars: readonly string[];
  #at = 0;
  #groups = 0;

  constructor(pattern: string) {
    this.#chars = [...pattern];
  }

  read(): Repeated[][] {
    const branches = this.#branches(true);
    if (this.#at < this.#chars.length)
      throw new UnbuildablePattern(`an unmatched '${this.#chars[this.#at]}'`);
    return branches;
  }

  #branches(outermost: boolean): Repeated[][] {
    const branches: Repeated[][] = [];
    do branches.push(this.#sequence(outermost));
    while (this.#takes('|'));
    return branches;
  }

  #sequence(outermost: boolean): Repeated[] {
    const parts: Repeated[] = [];
    if (outermost) this.#takes('^');
    for (;;) {
      const next = this.#chars[this.#at];
      if (next === undefined || next === '|' || next === ')') return parts;
      if (outermost && next === '$' && this.#endsBranch(this.#at + 1)) {
        this.#at += 1;
        return parts;
      }
      const part = this.#part();
      parts.push({ part, ...this.#repeat() });
    }
  }

  #endsBranch(at: number): boolean {
    return this.#chars[at] === undefined || this.#chars[at] === '|';
  }

  #part(): Part {
    const next = this.#chars[this.#at++];
    switch (next) {
      case '(':
        return this.#group();
      case '[':
        return this.#set();
      case '.':
        return { kind: 'set', ranges: PRINTABLE, negated: false };
      case '\\':
        return this.#escape();
      case '^':
      case '$':
        throw new UnbuildablePattern('an anchor in the middle');
      case '*':
      case '+':
      case '?':
        throw new UnbuildablePattern('a repetition of nothing');
      default:
        return literal(next ?? '');
    }
  }

  #group(): Part {
    let index: number | null = null;
    if (!this.#takes('?')) index = ++this.#groups;
    else if (this.#takes('<')) {
      if (this.#peek() === '=' || this.#peek() === '!') throw new UnbuildablePattern('look-behind');
      while (this.#chars[this.#at] !== undefined && !this.#takes('>')) this.#at += 1;
      index = ++this.#groups;
    } else if (!this.#takes(':')) throw new UnbuildablePattern('look-ahead or a modifier');
    const branches = this.#branches(false);
    if (!this.#takes(')')) throw new UnbuildablePattern('an unclosed group');
    return { kind: 'group', branches, index };
  }

  #set(): Part {
    const negated = this.#takes('^');
    const ranges: Range[] = [];
    while (!this.#takes(']')) {
      if (this.#peek() === undefined) throw new UnbuildablePattern('an unclosed set');
      const from = this.#setMember();
      if (from.length === 1 && this.#peek() === '-' && this.#chars[this.#at + 1] !== ']') {
        this.#at += 1;
        const to = this.#setMember();
        ranges.push([from[0]?.[0] ?? 0, to[0]?.[0] ?? 0]);
      } else ranges.push(...from);
    }
    return { kind: 'set', ranges, negated };
  }

  #setMember(): readonly Range[] {
    const next = this.#chars[this.#at++] ?? '';
    if (next !== '\\') return single(next);
    if (this.#takes('b')) return single('\b');
    const part = this.#escape();
    if (part.kind !== 'set' || part.negated) throw new UnbuildablePattern('a negated class in a set');
    return part.ranges;
  }

  #escape(): Part {
    const next = this.#chars[this.#at++] ?? '';
    const ranges = CLASSES[next.toLowerCase()];
    if (ranges !== undefined) return { kind: 'set', ranges, negated: next !== next.toLowerCase() };
    if (next === 'p') return { kind: 'set', ranges: this.#property(), negated: false };
    if (/[1-9]/.test(next)) return { kind: 'back', index: Number(next) };
    if (next === 'u' || next === 'x' || next === 'c') return literal(this.#coded(next));
    if (/[bBPk]/.test(next)) throw new UnbuildablePattern(`\\${next}`);
    return literal(CONTROLS[next] ?? next);
  }

  #coded(kind: string): string {
    const rest = this.#chars.slice(this.#at, this.#at + 10).join('');
    const form =
      kind === 'c'
        ? /^[A-Za-z]/
        : kind === 'x'
          ? /^[0-9a-fA-F]{2}/
          : /^(\{[0-9a-fA-F]{1,6}\}|[0-9a-fA-F]{4})/;
    const [digits] = form.exec(rest) ?? [];
    if (digits === undefined) throw new UnbuildablePattern(`\\${kind}`);
    this.#at += digits.length;
    const code = kind === 'c' ? digits.charCodeAt(0) % 32 : Number.parseInt(digits.replace(/[{}]/g, ''), 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : '';
  }

  #property(): readonly Range[] {
    const rest = this.#chars.slice(this.#at, this.#at + 40).join('');
    const [whole, name = ''] = /^\{([^}]*)\}/.exec(rest) ?? [''];
    const ranges = PROPERTIES[name.replace(/^(General_Category|gc)=/, '')];
    if (whole === '' || ranges === undefined) throw new UnbuildablePattern(`\\p{${name}}`);
    this.#at += whole.length;
    return ranges;
  }

  #repeat(): { least: number; most: number } {
    const bounds = this.#bounds();
    this.#takes('?');
    return bounds;
  }

  #bounds(): { least: number; most: number } {
    if (this.#takes('*')) return { least: 0, most: Number.POSITIVE_INFINITY };
    if (this.#takes('+')) return { least: 1, most: Number.POSITIVE_INFINITY };
    if (this.#takes('?')) return { least: 0, most: 1 };
    const rest = this.#chars.slice(this.#at, this.#at + 16).join('');
    const [whole, from, open, to] = /^\{(\d+)(?:(,)(\d*))?\}/.exec(rest) ?? [];
    if (whole === undefined) return { least: 1, most: 1 };
    this.#at += whole.length;
    const least = Number(from);
    const most = open === undefined ? least : to === '' ? Number.POSITIVE_INFINITY : Number(to);
    if (least > MAX_REPEAT) throw new UnbuildablePattern(`more than ${MAX_REPEAT} repetitions`);
    return { least, most };
  }

  #peek(): string | undefined {
    return this.#chars[this.#at];
  }

  #takes(char: string): boolean {
    if (this.#chars[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }
}

const CLASSES: Readonly<Record<string, readonly Range[]>> = { d: DIGIT, w: WORD, s: SPACE };
const CONTROLS: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', v: '\v', f: '\f', 0: '\0' };
const PROPERTIES: Readonly<Record<string, readonly Range[]>> = {
  L: LETTER,
  Letter: LETTER,
  Alphabetic: LETTER,
  Ll: LOWER,
  Lowercase_Letter: LOWER,
  Lu: UPPER,
  Uppercase_Letter: UPPER,
  N: DIGIT,
  Number: DIGIT,
  Nd: DIGIT,
};

function literal(text: string): Part {
  return { kind: 'set', ranges: single(text), negated: false };
}

function single(text: string): Range[] {
  const code = text.codePointAt(0) ?? 0;
  return [[code, code]];
}

class Building {
  readonly #seed: Seed;
  readonly #generous: number;
  readonly #groups = new Map<number, string>();
  #length = 0;

  constructor(seed: Seed, generous: number) {
    this.#seed = seed;
    this.#generous = generous;
  }

  branches(branches: readonly Repeated[][]): string {
    let text = '';
    for (const { part, least, most } of this.#seed.pick(branches) ?? []) {
      const times = Math.min(most, least + (most > least ? this.#generous : 0));
      for (let i = 0; i < times; i++) text += this.#part(part);
    }
    return text;
  }

  #part(part: Part): string {
    if (++this.#length > 100_000) throw new UnbuildablePattern('too long a match');
    if (part.kind === 'back') return this.#groups.get(part.index) ?? '';
    if (part.kind === 'set') return this.#member(part.ranges, part.negated);
    const text = this.branches(part.branches);
    if (part.index !== null) this.#groups.set(part.index, text);
    return text;
  }

  #member(ranges: readonly Range[], negated: boolean): string {
    // The first range of a class is its plainest: letters for \w, a space for \s.
    const [from, to] = (negated ? outside(ranges) : ranges)[0] ?? [];
    if (from === undefined || to === undefined || to < from) throw new UnbuildablePattern('an empty set');
    return String.fromCodePoint(this.#seed.between(from, to));
  }
}

function outside(ranges: readonly Range[]): Range[] {
  for (const [from, to] of PRINTABLE) {
    for (let code = from; code <= to; code++) {
      if (ranges.every(([first, last]) => code < first || code > last)) return [[code, code]];
    }
  }
  return [];
}
