// Names of models as a price list gives them: `gpt-6-sol` (exact), `claude-opus-4-7*`, `gpt-6-sol-####-##-##` (# is
// one digit), `!*-tts` (never, whatever else matches). Globs and not regular expressions, because lists come from
// administrators too and must not be able to stall the process.

const MAX_NAME = 256;

/** Whether `name` matches `pattern`, both in lower case. Time is bounded by the product of their lengths. */
export function globMatches(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1;
  let resume = 0;
  while (n < name.length) {
    const wanted = pattern.charCodeAt(p);
    if (wanted === STAR) {
      star = p++;
      resume = n;
    } else if (
      p < pattern.length &&
      (wanted === name.charCodeAt(n) || (wanted === HASH && isDigit(name, n)))
    ) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++resume;
    } else return false;
  }
  while (pattern.charCodeAt(p) === STAR) p++;
  return p === pattern.length;
}

const STAR = 42;
const HASH = 35;

function isDigit(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 48 && code <= 57;
}

/** Whether one of `patterns` matches and none of its `!` patterns does. */
export function anyGlobMatches(patterns: readonly string[], name: string): boolean {
  if (name.length > MAX_NAME) return false;
  let found = false;
  for (const pattern of patterns) {
    if (pattern.startsWith('!')) {
      if (globMatches(pattern.slice(1), name)) return false;
    } else if (!found) found = globMatches(pattern, name);
  }
  return found;
}

/** Whether the pattern names exactly one model. */
export function isExact(pattern: string): boolean {
  return !/[*#!]/.test(pattern);
}
