// What a database refuses, told the same for both, without the values of the statement: those may be personal,
// and a log is no place for them.

import { ApiError, unavailable } from '../platform/errors.ts';

export type Constraint = 'unique' | 'foreign_key' | 'not_null' | 'check' | 'type';

/** A row was refused by a rule of its table. Nothing of the statement was kept. */
export class ConstraintError extends Error {
  override readonly name = 'ConstraintError';
  readonly constraint: Constraint;

  constructor(constraint: Constraint, where: string) {
    super(`The database refused a row: ${constraint} (${where}).`);
    this.constraint = constraint;
  }
}

/** True when a row with the same unique value exists already: a name that is taken, a digest that is known. */
export function isUniqueViolation(error: unknown): error is ConstraintError {
  return error instanceof ConstraintError && error.constraint === 'unique';
}

/** A statement that cannot run: a fault of the program, not of the caller and not of the database's health. */
export class QueryError extends Error {
  override readonly name = 'QueryError';
  /** SQLite's result code or PostgreSQL's SQLSTATE. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** A query of which the caller awaits the result after its transaction or its connection is over. */
export function overError(): Error {
  return new Error('A query came after its transaction was over: await every query inside it.');
}

/** PostgreSQL refuses everything after a failed statement until the rollback; SQLite is held to the same. */
export function failedError(): Error {
  return new Error('An earlier statement of this transaction failed, so nothing of it can be kept.');
}

export function stopping(): ApiError {
  return unavailable('The server is stopping.');
}

/** Longest list that one query may return: more is a missing `limit`, and would not fit the worker's memory. */
export const MAX_ROWS = 20_000;

export function tooManyRows(): QueryError {
  return new QueryError('none', `A query returned more than ${MAX_ROWS} rows: read them in pages.`);
}

/**
 * Parameters mean the same on both databases, or are refused: text without NUL (PostgreSQL cannot hold it),
 * integers that are exact, bytes and null. Throws ApiError 400 for the NUL, which only a caller can have sent.
 */
export function checkParameters(parameters: readonly unknown[]): asserts parameters is readonly Parameter[] {
  for (const value of parameters) {
    if (value === null || typeof value === 'bigint' || value instanceof Uint8Array) continue;
    if (typeof value === 'string') {
      if (value.includes('\0')) {
        throw new ApiError(
          400,
          'A text contains the NUL character (U+0000), which cannot be stored: leave it out.',
        );
      }
    } else if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
      throw new Error(
        `A query parameter of type ${typeof value} cannot be stored: use text, integers or bytes.`,
      );
    }
  }
}

export type Parameter = string | number | bigint | Uint8Array | null;
