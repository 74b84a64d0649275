// Where secrets come from: a variable, a variable that names a file (`…_FILE`), or in keygate.yaml a reference,
// `env:NAME` or `file:/path`. A secret that is there but empty is refused: it must never count as "none".

import { Secret } from './model.ts';
import type { Problems } from './problems.ts';

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of a file; throws as `fs.readFileSync` does. */
  readonly readFile: (path: string) => string;
  /** Makes a path of the file absolute: relative ones count from the file's own folder. */
  readonly resolve: (path: string) => string;
}

/** The secret in `name` or in the file that `name_FILE` names; null when neither is set. */
export function secretFromEnvironment(name: string, from: Surroundings, problems: Problems): Secret | null {
  const direct = from.env[name];
  const path = from.env[`${name}_FILE`];
  if (direct !== undefined && path !== undefined) {
    problems.add(`${name} and ${name}_FILE are both set: unset one of them.`);
    return null;
  }
  if (path !== undefined) return secretFromFile(path, `${name}_FILE`, from, problems);
  return direct === undefined ? null : nonEmpty(direct, name, problems);
}

/**
 * The secret behind a reference in the file.
 * @param place what the sentence calls it: `In keygate.yaml, providers.openai.credential`
 */
export function secretFromReference(
  reference: unknown,
  place: string,
  from: Surroundings,
  problems: Problems,
): Secret | null {
  if (typeof reference === 'string') {
    const [, scheme, rest = ''] = /^(env|file):(.*)$/s.exec(reference) ?? [];
    if (scheme === 'env' && /^[A-Za-z_][A-Za-z0-9_]{0,255}$/.test(rest)) {
      const text = from.env[rest];
      if (text !== undefined) return nonEmpty(text, `${place} names the variable ${rest}, which`, problems);
      problems.add(`${place} names the variable ${rest}, which is not set: set it, or name another.`);
      return null;
    }
    if (scheme === 'file' && rest !== '') return secretFromFile(from.resolve(rest), place, from, problems);
  }
  problems.add(
    `${place} must be a reference, env:NAME or file:/path: a secret itself never stands in this file, because ` +
      'configuration files are copied, committed and shown.',
  );
  return null;
}

function secretFromFile(path: string, place: string, from: Surroundings, problems: Problems): Secret | null {
  if (path.trim() === '') {
    problems.add(`${place} is empty: give the path of the file, or unset it.`);
    return null;
  }
  let text: string;
  try {
    text = from.readFile(path);
  } catch (error) {
    problems.add(`${place} names a file that ${whyUnreadable(error)}: ${JSON.stringify(path)}.`);
    return null;
  }
  return nonEmpty(text, `${place} names the file ${JSON.stringify(path)}, which`, problems);
}

function nonEmpty(raw: string, subject: string, problems: Problems): Secret | null {
  const text = raw.trim();
  if (text === '') {
    problems.add(`${subject} is empty: an empty secret is not taken for "none"; fill it in or remove it.`);
    return null;
  }
  // A secret travels in a header or an address: anything but visible ASCII is a broken copy, or an attack on either.
  if (!/^[\x21-\x7e]{1,8192}$/.test(text)) {
    problems.add(
      `${subject} holds spaces, line breaks or other characters that no credential has: copy it again.`,
    );
    return null;
  }
  return new Secret(text);
}

/** Why a file could not be read, in words that complete "a file that …". */
export function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'this user may not read';
  if (code === 'EISDIR') return 'is a folder';
  return 'cannot be read';
}
