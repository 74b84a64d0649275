// Reads a multipart form with one file into memory, within bounds.

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Busboy, type BusboyInstance } from '@fastify/busboy';
import { ApiError } from '../../platform/errors.ts';
import type { Form } from './inquiry.ts';

// The API's own limit for audio.
const FILE_BYTES = 25 * 2 ** 20;

/** @throws {ApiError} 400 for a form that cannot be read, 413 for a file beyond 25 MiB */
export function readForm(request: IncomingMessage): Promise<Form> {
  return new Promise((resolve, reject) => {
    const parser = parserFor(request.headers);
    if (parser === null) {
      reject(unreadable());
      return;
    }
    const fields = new Map<string, string[]>();
    let file: Form['file'] = null;
    parser.on('field', (name, value) => fields.set(name, [...(fields.get(name) ?? []), value]));
    parser.on('file', (field, stream, name) => {
      const parts: Buffer[] = [];
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('limit', () => reject(tooLarge()));
      stream.on('end', () => {
        file = { field, name: name, bytes: Buffer.concat(parts) };
      });
      stream.on('error', () => reject(unreadable()));
    });
    parser.on('error', () => reject(unreadable()));
    parser.on('finish', () => resolve({ fields, file }));
    request.on('error', () => reject(unreadable()));
    request.pipe(parser);
  });
}

function parserFor(headers: IncomingHttpHeaders): BusboyInstance | null {
  const type = headers['content-type'];
  if (type === undefined) return null;
  try {
    return new Busboy({
      headers: { ...headers, 'content-type': type },
      limits: { fields: 100, fieldSize: 2 ** 20, files: 1, fileSize: FILE_BYTES },
    });
  } catch {
    // A form without a boundary.
    return null;
  }
}

function unreadable(): ApiError {
  return new ApiError(
    400,
    'The multipart form could not be read: check its boundary and that it is complete.',
  );
}

function tooLarge(): ApiError {
  return new ApiError(413, `Maximum content size limit (${FILE_BYTES}) exceeded.`);
}
