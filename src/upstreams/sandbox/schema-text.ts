// A text of the right form and length: by its pattern, by its format, or of the prompt's words.

import { formatted } from './schema-format.ts';
import { bound, choice, type Material, Unbuildable } from './schema-material.ts';
import type { Fields } from './schema-merge.ts';
import { matching, UnbuildablePattern } from './schema-pattern.ts';

export function textFor(fields: Fields, material: Material, path: readonly string[]): string {
  const least = bound(fields, 'minLength', 0);
  const most = bound(fields, 'maxLength', Number.POSITIVE_INFINITY);
  if (least > most || least > 100_000) throw new Unbuildable(`no text is that long`, path);
  const fits = (text: string | undefined): text is string => {
    const length = text === undefined ? -1 : [...text].length;
    return length >= least && length <= most;
  };
  const pattern = fields.get('pattern');
  if (typeof pattern === 'string') {
    for (const generous of [3, 1, 0, 2, 4, 6, 8, least, Math.min(most, 64)]) {
      const text = matchingText(pattern, generous, material, path);
      if (fits(text)) return text;
    }
    throw new Unbuildable(`no text of the right length was found for the pattern '${pattern}'`, path);
  }
  const format = fields.get('format');
  const special = typeof format === 'string' ? formatted(format, material.seed) : undefined;
  return fits(special) ? special : phrase(material, least, Math.min(most, Math.max(least, 40)));
}

/** @throws {Unbuildable} */
export function matchingText(
  pattern: string,
  generous: number,
  material: Material,
  path: readonly string[],
): string {
  try {
    return matching(pattern, material.seed, generous);
  } catch (error) {
    if (!(error instanceof UnbuildablePattern)) throw error;
    throw new Unbuildable(
      `the pattern '${pattern}' has ${error.message}, for which the sandbox builds no text`,
      path,
    );
  }
}

function phrase(material: Material, least: number, most: number): string {
  const words = material.words.length > 0 ? material.words : ['sandbox'];
  let text = words[choice(material, words.length)] ?? '';
  while ([...text].length < least) text += ` ${words[choice(material, words.length)]}`;
  return [...text].slice(0, most).join('');
}
