// Where secrets come from: a variable, a variable that names a file (`…_FILE`), or in keygate.yaml a reference,
// `env:NAME` or `file:/path`. A secret that is there but empty is refused: it must never count as "none".

import { parseReference, type Reference } from '../secrets/references.ts';
import { credentialText } from '../secrets/text.ts';
import { type ProviderConfig, Secret } from './model.ts';
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
 * The secret behind a reference in the file, for what is needed before anything else can be asked: env: and file:.
 * @param place what the sentence calls it: `In keygate.yaml, database_url`
 */
export function secretFromReference(
  reference: unknown,
  place: string,
  from: Surroundings,
  problems: Problems,
): Secret | null {
  const parsed = typeof reference === 'string' ? parseReference(reference) : undefined;
  if (parsed?.scheme === 'env' || parsed?.scheme === 'file') {
    return atStart(parsed, place, from, problems, nonEmpty);
  }
  problems.add(
    parsed === undefined
      ? notAReference(place, 'env:NAME or file:/path')
      : `${place} is needed at the start, so it must be env:NAME or file:/path.`,
  );
  return null;
}

/** The same for a document of several lines: a service account's JSON, a private key in PEM. */
export function secretTextFromReference(
  reference: unknown,
  place: string,
  from: Surroundings,
  problems: Problems,
): Secret | null {
  const parsed = typeof reference === 'string' ? parseReference(reference) : undefined;
  if (parsed?.scheme === 'env' || parsed?.scheme === 'file') {
    return atStart(parsed, place, from, problems, (raw, subject) => {
      if (raw.trim() !== '' && raw.length <= 64 * 1024) return new Secret(raw.trim());
      problems.add(`${subject} is empty, or longer than 64 KB.`);
      return null;
    });
  }
  problems.add(notAReference(place, 'env:NAME or file:/path'));
  return null;
}

/** A provider's credential, which may also be kept where it can change while the server runs. */
export function credentialFromReference(
  reference: unknown,
  place: string,
  from: Surroundings,
  problems: Problems,
): Pick<ProviderConfig, 'credential' | 'credentialFrom'> {
  const parsed = typeof reference === 'string' ? parseReference(reference) : undefined;
  if (parsed === undefined) {
    problems.add(notAReference(place, 'env:NAME or file:/path, or sealed:NAME'));
    return { credential: null, credentialFrom: null };
  }
  switch (parsed.scheme) {
    case 'env':
      return { credential: atStart(parsed, place, from, problems, nonEmpty), credentialFrom: null };
    case 'file':
      return {
        credential: atStart(parsed, place, from, problems, nonEmpty),
        credentialFrom: { scheme: 'file', path: from.resolve(parsed.path) },
      };
    default:
      return { credential: null, credentialFrom: parsed };
  }
}

function notAReference(place: string, forms: string): string {
  return (
    `${place} must be a reference, ${forms}: a secret itself never stands in this file, because ` +
    'configuration files are copied, committed and shown.'
  );
}

type ReadText = (raw: string, subject: string, problems: Problems) => Secret | null;

function atStart(
  reference: Extract<Reference, { scheme: 'env' | 'file' }>,
  place: string,
  from: Surroundings,
  problems: Problems,
  read: ReadText,
): Secret | null {
  if (reference.scheme === 'file') {
    return secretFromFile(from.resolve(reference.path), place, from, problems, read);
  }
  const text = from.env[reference.name];
  if (text !== undefined) {
    return read(text, `${place} names the variable ${reference.name}, which`, problems);
  }
  problems.add(`${place} names the variable ${reference.name}, which is not set: set it, or name another.`);
  return null;
}

function secretFromFile(
  path: string,
  place: string,
  from: Surroundings,
  problems: Problems,
  read: ReadText = nonEmpty,
): Secret | null {
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
  return read(text, `${place} names the file ${JSON.stringify(path)}, which`, problems);
}

function nonEmpty(raw: string, subject: string, problems: Problems): Secret | null {
  const text = raw.trim();
  if (text === '') {
    problems.add(`${subject} is empty: an empty secret is not taken for "none"; fill it in or remove it.`);
    return null;
  }
  if (!credentialText(text)) {
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
