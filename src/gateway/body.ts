// Reads the body, within its bound, and learns from it what the road must know: the model, whether a stream is
// wanted, and which objects of the provider's it refers to. The bytes themselves are kept as they came.

import { Busboy } from '@fastify/busboy';
import type { Bounds } from '../config/model.ts';
import { sizeOfForm, sizeOfJson } from '../limits/estimate.ts';
import { ApiError } from '../platform/errors.ts';
import { MOST_VALUES, ObjectScan, type ScanRefusal, standsTwice } from '../platform/json-scan.ts';
import { type Asked, type Call, NOTHING_ASKED } from './call.ts';
import type { BodySink } from './peer.ts';
import { tooLarge } from './receive.ts';
import { references } from './references.ts';
import { LATER, type Resume, type Verdict } from './verdict.ts';

/** Members of a JSON body that the road may have to replace, or that must not stand twice. */
const INTEREST: ReadonlySet<string> = new Set(['model', 'stream', 'stream_options', 'background', 'store']);
const MODEL_MAX = 256;
const END_USER_MAX = 128;
const FORM_PARTS = 64;
const FORM_FIELD_BYTES = 1024 * 1024;

/** Second half of receiving: the body. Goes on by `resume` when the last byte has come. */
export function readBody(call: Call, bounds: Bounds, now: () => number, resume: Resume): Verdict {
  const { operation } = call;
  if (operation === null || operation.body === 'none') return null;
  call.receiving = true;
  call.peer.readBody(new Body(call, bounds, now, resume));
  return LATER;
}

/** The body of one call as it comes. */
class Body implements BodySink {
  readonly #call: Call;
  readonly #bounds: Bounds;
  readonly #now: () => number;
  readonly #resume: Resume;
  #first: Buffer | null = null;
  #parts: Buffer[] | null = null;
  #bytes = 0;

  constructor(call: Call, bounds: Bounds, now: () => number, resume: Resume) {
    this.#call = call;
    this.#bounds = bounds;
    this.#now = now;
    this.#resume = resume;
  }

  data(chunk: Buffer): void {
    const call = this.#call;
    if (call.over || !call.receiving) return;
    this.#bytes += chunk.length;
    if (this.#bytes > this.#bounds.bodyBytes) {
      call.receiving = false;
      this.#resume(call, tooLarge(this.#bounds.bodyBytes));
    } else if (this.#first === null) this.#first = chunk;
    else {
      call.active = this.#now();
      if (this.#parts === null) this.#parts = [this.#first, chunk];
      else this.#parts.push(chunk);
    }
  }

  end(): void {
    const call = this.#call;
    if (call.over || !call.receiving) return;
    call.receiving = false;
    const body =
      this.#parts === null ? (this.#first ?? Buffer.alloc(0)) : Buffer.concat(this.#parts, this.#bytes);
    call.body = body;
    if (call.operation?.body === 'json') this.#resume(call, understandJson(call, body, this.#bounds));
    else understandForm(call, body, this.#resume);
  }
}

function understandJson(call: Call, body: Buffer, bounds: Bounds): ApiError | null {
  const text = body.toString('utf8');
  const odd = isPlain(body, text, bounds.jsonDepth) ? null : look(body, bounds);
  if (odd !== null) return odd;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return notJson();
  }
  if (!isRecord(value)) return notJson();
  const asked = readAsked(call, value);
  if (asked instanceof ApiError) return asked;
  call.asked = asked;
  call.json = value;
  call.text = text;
  return null;
}

/** Looks the bytes over for what must not be parsed, or could be read in two ways. */
function look(body: Buffer, bounds: Bounds): ApiError | null {
  switch (scanRefusal(body, bounds.jsonDepth)) {
    case 'too_deep':
      return new ApiError(400, `The JSON body is nested deeper than ${bounds.jsonDepth} levels.`);
    case 'too_many':
      return new ApiError(400, `The JSON body holds more than ${MOST_VALUES} values.`);
    case 'ambiguous':
      return new ApiError(
        400,
        'The JSON body names a member twice, or spells a name with escapes: it could be read in two ways.',
      );
    case 'not_an_object':
      return notJson();
    case null:
      return null;
  }
}

function scanRefusal(body: Buffer, jsonDepth: number): ScanRefusal | null {
  const scan = ObjectScan.over(body, jsonDepth, INTEREST);
  return scan instanceof ObjectScan ? null : scan;
}

const PLAIN_BYTES = 64 * 1024;
/** The members of interest as they stand in a body; each at most once, if it is to be plain. */
const INTEREST_QUOTED = [...INTEREST].map((name) => `"${name}"`);

/**
 * Whether a short body can hold nothing of what is looked for byte by byte: no more brackets than levels are allowed,
 * no name of interest twice anywhere, no escape that could spell one. It is the rule, and a few searches in native code
 * settle it (measured: a third of the time of looking).
 */
function isPlain(body: Buffer, text: string, jsonDepth: number): boolean {
  if (body.length > PLAIN_BYTES || text.includes('\\u')) return false;
  for (const name of INTEREST_QUOTED) {
    if (standsTwice(text, name)) return false;
  }
  return !hasMore(text, '{', '[', jsonDepth);
}

/** Whether `a` and `b` stand in `text` more than `most` times together. */
function hasMore(text: string, a: string, b: string, most: number): boolean {
  let count = 0;
  for (const mark of [a, b]) {
    for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at + 1))
      if (++count > most) return true;
  }
  return false;
}

function readAsked(call: Call, body: Readonly<Record<string, unknown>>): Asked | ApiError {
  const model = body['model'];
  if (model === undefined || model === null) {
    if (call.operation?.model === 'required') return new ApiError(400, 'you must provide a model parameter');
  } else if (!isModelName(model)) return badModel();
  const stream = body['stream'];
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    return new ApiError(400, `Invalid type for 'stream': expected a boolean.`, {
      param: 'stream',
      code: 'invalid_type',
    });
  }
  if (body['background'] === true) {
    return new ApiError(
      400,
      `'background' is not supported: keygate meters a call when it ends, and this one would end unseen.`,
      {
        param: 'background',
        code: 'unsupported_parameter',
      },
    );
  }
  const options = body['stream_options'];
  const input = body['input'];
  return {
    model: typeof model === 'string' ? model : null,
    stream: stream === true,
    wantsUsage: isRecord(options) && options['include_usage'] === true,
    characters: call.meter === 'speech' && typeof input === 'string' ? input.length : 0,
    files: 0,
    fileBytes: 0,
    size: sizeOfJson(call.meter, body),
    endUser: endUserOf(body['safety_identifier'] ?? body['user']),
    references: references(body),
    keeps: call.operation?.objects === 'creates' && body['store'] !== false,
  };
}

/** A name that is too long to be kept is cut; it still tells one user from another. */
function endUserOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value.slice(0, END_USER_MAX) : null;
}

function understandForm(call: Call, body: Buffer, resume: Resume): void {
  const contentType = call.head.contentType ?? '';
  const models: string[] = [];
  const fields = new Map<string, string>();
  let files = 0;
  let fileBytes = 0;
  let done = false;
  const finish = (refusal: ApiError | null): void => {
    if (done) return;
    done = true;
    resume(call, refusal);
  };
  const malformed = (): void =>
    finish(new ApiError(400, 'Could not parse multipart form: check the boundary and the parts.'));
  try {
    const form = new Busboy({
      headers: { 'content-type': contentType },
      limits: { parts: FORM_PARTS, fieldSize: FORM_FIELD_BYTES, headerPairs: 32 },
    });
    form.on('field', (name, value) => {
      if (name === 'model') models.push(value);
      fields.set(name, value);
    });
    form.on('file', (_name, file) => {
      files++;
      file.on('data', (chunk: Buffer) => {
        fileBytes += chunk.length;
      });
      // A form that ends within a file says so on the file's own stream.
      file.on('error', malformed);
    });
    form.on('partsLimit', () => finish(new ApiError(400, `A form may have at most ${FORM_PARTS} parts.`)));
    form.on('error', malformed);
    form.on('finish', () => {
      const model = models[0] ?? null;
      if (models.length > 1)
        return finish(new ApiError(400, 'The form names a model twice.', { param: 'model' }));
      if (model === null && call.operation?.model === 'required') {
        return finish(new ApiError(400, 'you must provide a model parameter'));
      }
      if (model !== null && !isModelName(model)) return finish(badModel());
      call.asked = {
        ...NOTHING_ASKED,
        model,
        stream: fields.get('stream') === 'true',
        files,
        fileBytes,
        size: sizeOfForm(call.meter, fields, fileBytes),
        endUser: endUserOf(fields.get('user')),
      };
      finish(null);
    });
    form.end(body);
  } catch {
    malformed();
  }
}

function isModelName(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MODEL_MAX && !hasControl(value);
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) < 0x20) return true;
  return false;
}

function badModel(): ApiError {
  return new ApiError(400, `Invalid type for 'model': expected a name of 1 to ${MODEL_MAX} characters.`, {
    param: 'model',
    code: 'invalid_type',
  });
}

function notJson(): ApiError {
  return new ApiError(
    400,
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. The API expects a JSON object, but what was sent was not valid JSON.)",
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
