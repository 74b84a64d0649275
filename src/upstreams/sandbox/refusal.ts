// Reads a request's body with a zod schema, and says what is wrong with it as the API does: the same message
// forms, `param` and `code` for a missing parameter, a wrong type, a value out of range or not in the list.

import type { z } from 'zod';
import { ApiError } from '../../platform/errors.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** @throws {ApiError} 400, for the first thing that is wrong */
export function read<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw issue ? refusalFor(issue, body, []) : badRequest('The request body cannot be used.', null, null);
}

/** Reads a part of the body; the refusal names its place in the whole: `input[2].content`. */
export function readAt<S extends z.ZodType>(schema: S, part: unknown, path: Path): z.output<S> {
  const result = schema.safeParse(part);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw issue
    ? refusalFor(issue, nested(path, part), path)
    : badRequest('The request body cannot be used.', null, null);
}

function nested(path: Path, value: unknown): unknown {
  return path.reduceRight<unknown>((inner, step) => Object.fromEntries([[String(step), inner]]), value);
}

export function badRequest(message: string, param: string | null, code: string | null): ApiError {
  return new ApiError(400, message, { param, code });
}

/** The API's way to name a place in the body: `messages[0].content`. */
export function placeOf(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += text === '' ? String(step) : `.${String(step)}`;
  }
  return text;
}

export function missing(param: string): ApiError {
  return badRequest(`Missing required parameter: '${param}'.`, param, 'missing_required_parameter');
}

function refusalFor(issue: Issue, body: unknown, base: Path): ApiError {
  const path = [...base, ...issue.path];
  const param = placeOf(path);
  const found = valueAt(body, path);
  if (param === '')
    return badRequest(`Invalid body: expected an object, but got ${nameOf(found)} instead.`, null, null);
  if (found === undefined) return missing(param);
  switch (issue.code) {
    case 'invalid_type':
      return wrongType(param, [issue.expected], found);
    case 'invalid_value':
      return wrongValue(param, issue.values, found);
    case 'too_big':
      return outOfRange(param, issue.origin, 'above maximum', Number(issue.maximum), found);
    case 'too_small':
      return outOfRange(param, issue.origin, 'below minimum', Number(issue.minimum), found);
    case 'invalid_union':
      return noneOf(issue, body, path, found);
    default:
      return badRequest(`Invalid '${param}': ${issue.message}.`, param, 'invalid_value');
  }
}

// Of the branches of a union, the one that got furthest in is the one that was meant.
function noneOf(
  issue: Issue & { code: 'invalid_union' },
  body: unknown,
  path: Path,
  found: unknown,
): ApiError {
  const param = placeOf(path);
  if (issue.errors.length === 0) {
    const options = 'options' in issue && Array.isArray(issue.options) ? issue.options : [];
    return wrongValue(param, options, found);
  }
  const expected: string[] = [];
  for (const branch of issue.errors) {
    const first = branch[0];
    if (first === undefined) continue;
    if (first.path.length > 0 || first.code !== 'invalid_type') return refusalFor(first, body, path);
    expected.push(first.expected);
  }
  return wrongType(param, expected, found);
}

function wrongType(param: string, expected: readonly string[], found: unknown): ApiError {
  const names = [...new Set(expected)].map((type) => EXPECTED[type] ?? type);
  const wanted = names.length === 1 ? (names[0] ?? '') : `one of ${names.join(' or ')}`;
  return badRequest(
    `Invalid type for '${param}': expected ${wanted}, but got ${nameOf(found)} instead.`,
    param,
    'invalid_type',
  );
}

function wrongValue(param: string, values: readonly unknown[], found: unknown): ApiError {
  const quoted = values.map((value) => `'${String(value)}'`);
  const last = quoted.pop() ?? '';
  const list = quoted.length === 0 ? last : `${quoted.join(', ')}, and ${last}`;
  if (typeof found !== 'string') return wrongType(param, ['string'], found);
  return badRequest(
    `Invalid value: '${found.slice(0, 100)}'. Supported values are: ${list}.`,
    param,
    'invalid_value',
  );
}

function outOfRange(
  param: string,
  origin: string,
  side: 'above maximum' | 'below minimum',
  bound: number,
  found: unknown,
): ApiError {
  const edge = side === 'above maximum' ? 'above_max' : 'below_min';
  if (origin === 'array' || origin === 'string') return wrongLength(param, origin, edge, bound, found);
  const kind = DECIMALS.test(param) ? 'decimal' : 'integer';
  return badRequest(
    `Invalid '${param}': ${kind} ${side} value. Expected a value ${edge === 'above_max' ? '<=' : '>='} ${bound}, ` +
      `but got ${String(found)} instead.`,
    param,
    `${kind}_${edge}_value`,
  );
}

function wrongLength(
  param: string,
  kind: 'array' | 'string',
  edge: 'above_max' | 'below_min',
  bound: number,
  found: unknown,
): ApiError {
  const length = Number(Reflect.get(Object(found), 'length'));
  const article = kind === 'array' ? 'an' : 'a';
  const wrong = length === 0 ? `empty ${kind}` : `${kind} too ${edge === 'above_max' ? 'long' : 'short'}`;
  const got = length === 0 ? `an empty ${kind}` : `${article} ${kind} with length ${length}`;
  return badRequest(
    `Invalid '${param}': ${wrong}. Expected ${article} ${kind} with ${edge === 'above_max' ? 'maximum' : 'minimum'} ` +
      `length ${bound}, but got ${got} instead.`,
    param,
    length === 0 ? `empty_${kind}` : `${kind}_${edge}_length`,
  );
}

// The parameters that are no whole numbers; the API words their refusals so.
const DECIMALS = /^(temperature|top_p|frequency_penalty|presence_penalty|speed)$/;

const EXPECTED: Readonly<Record<string, string>> = {
  array: 'an array',
  boolean: 'a boolean',
  int: 'an integer',
  nan: 'a number',
  null: 'null',
  number: 'a decimal',
  object: 'an object',
  record: 'an object',
  string: 'a string',
};

function nameOf(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a decimal number';
  if (typeof value === 'object') return 'an object';
  return `a ${typeof value}`;
}

function valueAt(body: unknown, path: Path): unknown {
  let value = body;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = Reflect.get(value, step);
  }
  return value;
}
