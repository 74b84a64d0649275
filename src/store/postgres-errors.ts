// What `pg` says, sorted: the database is away (503, try again), a row was refused, or a statement is wrong. The
// server's detail is left out, because it repeats the values of the row.

import { SetupError, unavailable } from '../platform/errors.ts';
import { systemCode } from './data-folder.ts';
import { type Constraint, ConstraintError, QueryError } from './errors.ts';

/** https://www.postgresql.org/docs/current/errcodes-appendix.html, class 23. */
const CONSTRAINTS: Readonly<Record<string, Constraint>> = {
  '23502': 'not_null',
  '23503': 'foreign_key',
  '23505': 'unique',
  '23514': 'check',
};

/**
 * Connection, authorization, no such database, read-only (a standby), transaction rollback (deadlock), resources,
 * lock not available, operator intervention (statement timeout, shutdown), system error, idle in transaction.
 */
const AWAY = /^(08|28|3D|25006|25P03|40|53|55P03|57|58)/;

/** The SQLSTATE of a server's answer; undefined for what went wrong on the way there. */
function sqlState(error: unknown): string | undefined {
  const code = systemCode(error);
  return /^[0-9A-Z]{5}$/.test(code) && error instanceof Error && 'severity' in error ? code : undefined;
}

/** True when the connection can no longer be trusted and must not go back into the pool. */
export function breaksConnection(error: unknown): boolean {
  const state = sqlState(error);
  if (state === undefined) return !(error instanceof RangeError);
  return /^(08|25P03|57P|58|XX)/.test(state);
}

/** Turns errors into refusals, and says once an outage, not once a query, why the database is away. */
export class Availability {
  readonly #onError: (error: unknown) => void;
  #away = false;

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  answered(): void {
    this.#away = false;
  }

  refuse(error: unknown): Error {
    const state = sqlState(error);
    const text = error instanceof Error ? error.message : String(error);
    if (error instanceof RangeError) return new QueryError('none', text);
    if (state === undefined || AWAY.test(state)) {
      if (!this.#away) this.#onError(new Error(`PostgreSQL: ${text} (${state ?? systemCode(error)}).`));
      this.#away = true;
      return away();
    }
    this.answered();
    const constraint = CONSTRAINTS[state];
    if (constraint) {
      const name = error instanceof Error && 'constraint' in error ? error.constraint : undefined;
      return new ConstraintError(constraint, typeof name === 'string' ? name : 'unnamed');
    }
    // Class 22 quotes the value that it refuses.
    const detail = state.startsWith('22') ? '' : `: ${text}`;
    return new QueryError(state, `PostgreSQL refused a statement (${state})${detail}.`);
  }
}

export function away() {
  return unavailable('The database cannot be reached at the moment; try again.');
}

/** The sentence for whoever starts keygate with a database that cannot be used. `where` holds no password. */
export function setupError(error: unknown, where: string): SetupError {
  const state = sqlState(error);
  const text = error instanceof Error ? error.message : String(error);
  if (state?.startsWith('28')) {
    return new SetupError(
      `${where} refuses the user or the password of KEYGATE_DATABASE_URL: correct them (${text}).`,
    );
  }
  if (state === '3D000') {
    return new SetupError(
      `${where} has no such database (${text}): create it, or correct KEYGATE_DATABASE_URL.`,
    );
  }
  return new SetupError(
    `${where} cannot be used (${text || systemCode(error)}): check that the server runs and that KEYGATE_DATABASE_URL is right.`,
  );
}
