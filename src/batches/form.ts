// A form with one file, read as it comes: fields may stand before the file or after it, and the file's bytes go where they
// are kept while they arrive.

import { pipeline } from 'node:stream/promises';
import { Busboy } from '@fastify/busboy';
import { ApiError } from '../platform/errors.ts';
import type { KeptCall } from './model.ts';

const FIELDS = 8;
const FIELD_BYTES = 4096;
const FILENAME_MAX = 512;

export interface FormFile {
  readonly filename: string;
  readonly source: AsyncIterable<Buffer>;
}

/**
 * Reads the form; its file is called `name` and goes to `take`, whose result is given back with the fields.
 * Throws 400 or 415 for what is no such form.
 */
export async function readForm<T>(
  call: Pick<KeptCall, 'contentType' | 'body' | 'signal'>,
  name: string,
  take: (file: FormFile) => Promise<T>,
): Promise<{ readonly taken: T; readonly fields: ReadonlyMap<string, string> }> {
  const { contentType } = call;
  if (contentType === null || !/^multipart\/form-data\s*;/i.test(contentType))
    throw new ApiError(415, 'Unsupported Content-Type: this operation takes multipart/form-data.');
  const fields = new Map<string, string>();
  const takings: Promise<T>[] = [];
  const open: { destroy(error: Error): unknown }[] = [];
  let refusal: ApiError | null = null;
  const form = formReader(contentType);
  const body = call.body();
  const refuse = (error: ApiError): void => {
    refusal ??= error;
  };
  form.on('field', (field, value, _cutName, cut) => {
    if (cut) refuse(new ApiError(400, `The form's field '${field.slice(0, 64)}' is too long.`));
    if (fields.has(field))
      refuse(new ApiError(400, `The form has '${field.slice(0, 64)}' twice.`, { param: field.slice(0, 64) }));
    fields.set(field, value);
  });
  form.on('file', (field, file, filename) => {
    if (field !== name) {
      refuse(new ApiError(400, `The form's file must be called '${name}'.`, { param: name }));
      file.resume();
      return;
    }
    open.push(file);
    // Whoever takes it learns of its end by reading; a file that nobody reads yet must not end the process.
    file.on('error', () => {});
    const taking = take({ filename: plainName(filename), source: file });
    takings.push(taking);
    // Whatever stops the taking stops the upload: nobody reads on.
    taking.catch((error: unknown) => body.destroy(error instanceof Error ? error : new Error('not taken')));
  });
  for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const)
    form.on(limit, () =>
      refuse(new ApiError(400, `The form may have one file and at most ${FIELDS} fields.`)),
    );
  const parsed = await pipeline(body, form, { signal: call.signal }).then(
    () => null,
    (error: unknown) => {
      // What is being taken of the file does not come any more.
      for (const file of open) file.destroy(new Error('the form broke off'));
      return error;
    },
  );
  const [taken] = await Promise.allSettled(takings);
  if (taken?.status === 'rejected' && taken.reason instanceof ApiError) throw taken.reason;
  if (parsed !== null) throw parsed instanceof ApiError || call.signal.aborted ? parsed : malformed();
  if (taken?.status === 'rejected') throw taken.reason;
  if (refusal !== null) throw refusal;
  if (taken === undefined)
    throw new ApiError(400, `'${name}' is a required property`, {
      param: name,
      code: 'missing_required_parameter',
    });
  return { taken: taken.value, fields };
}

function formReader(contentType: string) {
  try {
    return new Busboy({
      headers: { 'content-type': contentType },
      limits: { parts: FIELDS + 1, files: 1, fields: FIELDS, fieldSize: FIELD_BYTES, headerPairs: 32 },
    });
  } catch {
    throw malformed();
  }
}

function malformed(): ApiError {
  return new ApiError(400, 'Could not parse multipart form: check the boundary and the parts.');
}

/** The last part of a path, without what cannot be shown; never empty. */
function plainName(filename: string | undefined): string {
  const last = (filename ?? '').split(/[/\\]/).at(-1) ?? '';
  const shown = last
    .toWellFormed()
    .replace(/\p{Cc}/gu, '')
    .slice(0, FILENAME_MAX);
  return shown === '' ? 'file' : shown;
}
