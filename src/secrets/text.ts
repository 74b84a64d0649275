// What a secret's text may be, wherever it came from.

import { Secret } from './secret.ts';

export const SECRET_MAX = 8192;

/** A credential travels in a header or an address: anything but visible ASCII is a broken copy, or an attack on either. */
export function credentialText(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text) && text.length <= SECRET_MAX;
}

/** A secret could not be read. The message says where it was looked for and why not; never what was found. */
export class SecretError extends Error {
  override readonly name = 'SecretError';
}

/** A credential out of what a place holds, its white space around it left out. */
export function credentialOf(text: string): Secret {
  const trimmed = text.trim();
  if (trimmed === '') throw new SecretError('it is empty');
  if (!credentialText(trimmed)) {
    throw new SecretError('it holds spaces, line breaks or other characters that no credential has');
  }
  return new Secret(trimmed);
}

/** A field of a JSON object, or the text as it is where no field is named. */
export function fieldOf(text: string, field: string | null): string {
  if (field === null) return text;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new SecretError(`it is no JSON object, so it has no field ${field}`);
  }
  const found =
    typeof value === 'object' && value !== null && Object.hasOwn(value, field)
      ? Reflect.get(value, field)
      : undefined;
  if (typeof found !== 'string') throw new SecretError(`it has no field ${field}`);
  return found;
}

/** The place says that there is no such secret (any more): what was read before must not be used either. */
export class SecretGone extends SecretError {}
