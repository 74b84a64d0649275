// A batch's input file, line by line, as it comes out of the database: at most one line more than a piece is in memory.

import { z } from 'zod';
import { BATCH_EMBEDDINGS, type BatchError } from './model.ts';

export interface InputLine {
  /** From 1 on, as in the file. */
  readonly number: number;
  /** Null: it is longer than a request may be. */
  readonly bytes: Buffer | null;
}

const NEWLINE = 0x0a;

/** The lines that are not blank. */
export async function* linesOf(pieces: AsyncIterable<Buffer>, lineBytes: number): AsyncGenerator<InputLine> {
  let number = 1;
  let kept: Buffer[] = [];
  let bytes = 0;
  const take = (rest: Buffer): Buffer | null => {
    const whole = bytes + rest.length;
    const line = whole > lineBytes ? null : Buffer.concat([...kept, rest], whole);
    kept = [];
    bytes = 0;
    return line;
  };
  for await (const piece of pieces) {
    let from = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, from)) {
      const line = take(piece.subarray(from, end));
      if (line === null || !isBlank(line)) yield { number, bytes: line };
      number++;
      from = end + 1;
    }
    bytes += piece.length - from;
    if (bytes <= lineBytes) kept.push(Buffer.from(piece.subarray(from)));
    else kept = [];
  }
  const last = take(Buffer.alloc(0));
  if (last === null || !isBlank(last)) yield { number, bytes: last };
}

function isBlank(line: Buffer): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

export interface BatchRequest {
  readonly customId: string;
  readonly body: Readonly<Record<string, unknown>>;
}

const CUSTOM_ID_MAX = 512;
const Request = z.object({
  custom_id: z.string().min(1).max(CUSTOM_ID_MAX),
  method: z.string(),
  url: z.string(),
  body: z.record(z.string(), z.unknown()),
});

/** What a line asks, or what is wrong with it. */
export function requestIn({ number, bytes }: InputLine, endpoint: string): BatchRequest | BatchError {
  const wrong = (code: string, message: string, param: string | null = null): BatchError => ({
    code,
    message,
    param,
    line: number,
  });
  if (bytes === null) return wrong('line_too_long', 'This line is longer than a request may be.');
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    return wrong('invalid_json_line', 'This line is not parseable as valid JSON.');
  }
  const parsed = Request.safeParse(value);
  if (!parsed.success) {
    const field = parsed.error.issues[0]?.path[0];
    if (field === undefined)
      return wrong('invalid_json_line', 'This line is not a JSON object with a request in it.');
    const name = String(field);
    const missing = isRecord(value) && value[name] === undefined;
    return missing
      ? wrong('missing_required_parameter', `Missing required parameter: '${name}'.`, name)
      : wrong('invalid_value', `Invalid '${name}': ${parsed.error.issues[0]?.message ?? 'not valid'}.`, name);
  }
  const { custom_id: customId, method, url, body } = parsed.data;
  if (method.toUpperCase() !== 'POST')
    return wrong('invalid_method', 'Invalid method: every request of a batch is a POST.', 'method');
  if (url !== endpoint)
    return wrong(
      'url_mismatch',
      `The URL provided for this request does not match the batch endpoint ${endpoint}.`,
      'url',
    );
  if (body['stream'] === true)
    return wrong('invalid_value', 'Streaming is not supported in batches.', 'body.stream');
  return { customId, body };
}

/** How many inputs an embeddings request has. */
export function embeddingInputs(body: Readonly<Record<string, unknown>>): number {
  const { input } = body;
  return Array.isArray(input) && typeof input[0] !== 'number' ? input.length : 1;
}

export const TOO_MANY_EMBEDDINGS = `A batch may have at most ${BATCH_EMBEDDINGS} embedding inputs over all of its requests.`;

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
