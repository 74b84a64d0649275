// What callers say in queries, forms and JSON bodies of files and batches, read strictly: every refusal names the field.

import { z } from 'zod';
import { ApiError } from '../platform/errors.ts';
import { EXPIRY_LEAST_S, EXPIRY_MOST_S, PURPOSES, refused } from './model.ts';

const ID_MAX = 128;

/** `?after=…&limit=…`; names other than these are passed over, as the published API does. */
export class Query {
  readonly #values: URLSearchParams;

  constructor(query: string) {
    this.#values = new URLSearchParams(query);
  }

  text(name: string): string | null {
    const value = this.#values.get(name);
    if (value === null || value === '') return null;
    if (value.length > ID_MAX) throw refused(name, `Invalid '${name}': it is too long.`);
    return value;
  }

  limit(most: number, standard: number): number {
    const value = this.#values.get('limit');
    if (value === null || value === '') return standard;
    const limit = /^\d{1,6}$/.test(value) ? Number(value) : 0;
    if (limit < 1 || limit > most)
      throw refused('limit', `Invalid 'limit': expected a whole number from 1 to ${most}.`);
    return limit;
  }

  order(): 'asc' | 'desc' {
    const value = this.text('order') ?? 'desc';
    if (value !== 'asc' && value !== 'desc')
      throw refused('order', "Invalid 'order': expected 'asc' or 'desc'.");
    return value;
  }
}

const Seconds = z
  .int()
  .min(EXPIRY_LEAST_S, `must be at least ${EXPIRY_LEAST_S}`)
  .max(EXPIRY_MOST_S, `must be at most ${EXPIRY_MOST_S}`);

export const ExpiresAfter = z.strictObject({ anchor: z.literal('created_at'), seconds: Seconds });

const METADATA_PAIRS = 16;
export const Metadata = z
  .record(z.string().min(1).max(64), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= METADATA_PAIRS, `may have at most ${METADATA_PAIRS} pairs`);

export function readPurpose(value: string | undefined): string {
  const known = PURPOSES.find((purpose) => purpose === value);
  if (known !== undefined) return known;
  throw value === undefined
    ? refused('purpose', "'purpose' is a required property", 'missing_required_parameter')
    : refused('purpose', `'${value.slice(0, 64)}' is not one of ['${PURPOSES.join("', '")}'] - 'purpose'`);
}

/** `expires_after[anchor]` and `expires_after[seconds]` of a form; null: neither is there. */
export function readFormExpiry(fields: ReadonlyMap<string, string>): number | null {
  const anchor = fields.get('expires_after[anchor]');
  const seconds = fields.get('expires_after[seconds]');
  if (anchor === undefined && seconds === undefined) return null;
  return read(ExpiresAfter, { anchor, seconds: Number(seconds) }, 'expires_after').seconds;
}

/** Reads a value, or throws 400 that names the field. */
export function read<S extends z.ZodType>(schema: S, value: unknown, within = ''): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const path = [within, ...(issue?.path ?? []), unknown].filter((part) => part !== undefined && part !== '');
  const param = path.join('.').slice(0, ID_MAX);
  if (unknown !== undefined)
    throw new ApiError(400, `Unrecognized request argument supplied: ${param}`, {
      param,
      code: 'unknown_parameter',
    });
  throw refused(param, `Invalid '${param}': ${issue?.message ?? 'it cannot be read'}.`);
}
