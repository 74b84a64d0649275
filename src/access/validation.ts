// What a caller is told about a request that does not fit: the platform's words and codes, with the field in `param`.
// The value itself is never repeated: it may be a secret in the wrong place.

import type { z } from 'zod';
import { ApiError } from '../platform/errors.ts';

type Issue = z.core.$ZodIssue;

/** The first thing that is wrong with a request, as 400. */
export function badRequest(issues: readonly Issue[]): ApiError {
  const [issue] = issues;
  if (issue === undefined) return new ApiError(400, 'The request does not fit this operation.');
  const param = paramOf(issue.path);
  if (issue.code === 'unrecognized_keys') return unknownParameter(join(param, issue.keys[0] ?? ''));
  if (issue.code === 'invalid_type' && param === null) return notAnObject();
  if (issue.code === 'invalid_type' && isMissing(issue)) {
    return new ApiError(400, `Missing required parameter: '${param}'.`, {
      code: 'missing_required_parameter',
      param,
    });
  }
  if (issue.code === 'invalid_type') {
    return new ApiError(400, `Invalid type for '${param}': ${said(issue.message)}.`, {
      code: 'invalid_type',
      param,
    });
  }
  return new ApiError(400, `Invalid '${param ?? 'request'}': ${said(issue.message)}.`, {
    code: 'invalid_value',
    param,
  });
}

/** A field that is known but cannot be what was asked for, as 400. */
export function invalidParameter(param: string, message: string): ApiError {
  return new ApiError(400, message, { code: 'invalid_value', param });
}

function unknownParameter(param: string): ApiError {
  return new ApiError(400, `Unknown parameter: '${param}'.`, { code: 'unknown_parameter', param });
}

function notAnObject(): ApiError {
  return new ApiError(400, 'The request body must be a JSON object.');
}

/** zod says `undefined` was received only in its message; a required field that is absent is worth its own words. */
function isMissing(issue: Issue): boolean {
  return /received undefined$/.test(issue.message);
}

function said(message: string): string {
  const text = message.replace(/^Invalid input: /, '').replace(/\.$/, '');
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** `models[2]`, `output.name`; null for the request as a whole. */
function paramOf(path: readonly PropertyKey[]): string | null {
  let param: string | null = null;
  for (const step of path)
    param = typeof step === 'number' ? `${param ?? ''}[${step}]` : join(param, String(step));
  return param;
}

function join(param: string | null, name: string): string {
  // A name that the caller made up is repeated, so it is kept short.
  const short = name.length > 64 ? `${name.slice(0, 64)}…` : name;
  return param === null ? short : `${param}.${short}`;
}
