// What is wrong with a configuration, gathered so that one start tells all of it: sentences that name the variable,
// the option or the place in the file, and say what is allowed. No sentence repeats what might be a secret.

import { SetupError } from '../platform/errors.ts';

export class Problems {
  readonly #sentences: string[] = [];

  add(sentence: string): void {
    this.#sentences.push(sentence);
  }

  get any(): boolean {
    return this.#sentences.length > 0;
  }

  /** @throws SetupError with every sentence, one a line */
  throwIfAny(): void {
    if (this.any) throw new SetupError(this.#sentences.join('\n'));
  }
}

const LONGEST_SHOWN = 60;

/** A value as an error may repeat it: short, on one line, and not if it is long enough to be somebody's secret. */
export function shown(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a group of settings';
  const text = String(value);
  if (text === '') return 'an empty text';
  if (mightBeSecret(text)) return 'a text that is not shown here';
  return JSON.stringify(text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text);
}

/** Whether a text holds what keys, tokens and passwords in addresses look like; a long plain word is none. */
export function mightBeSecret(text: string): boolean {
  return /\bsk-|:\/\/[^/]*@|bearer /i.test(text) || /(?![a-z_-]{20})[A-Za-z0-9_+/=-]{20}/.test(text);
}

/** ` (did you mean port?)` when one of `known` is close to `word`, else nothing. */
export function didYouMean(word: string, known: readonly string[]): string {
  const best = closest(word, known);
  return best === undefined ? '' : ` (did you mean ${best}?)`;
}

/** What was probably meant: at most a third of the letters differ. */
export function closest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.slice(0, 64).toLowerCase(), candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** Damerau's and Levenshtein's distance (optimal string alignment): a swap of two neighbours is one step. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] ?? 0) + 1 : replaced;
      next.push(Math.min(replaced, swapped, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    [before, row] = [row, next];
  }
  return row[b.length] ?? 0;
}
