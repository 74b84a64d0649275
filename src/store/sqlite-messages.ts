// What the store and the worker that owns the SQLite database say to each other. Every question has a number and
// gets one answer; the worker takes questions in the order in which they were sent.

import type { Folded, Pricing } from '../spend/rollup/messages.ts';
import type { Parameter } from './errors.ts';
import type { NewSegment } from './store.ts';

export interface Query {
  readonly sql: string;
  readonly parameters: readonly Parameter[];
}

/**
 * Rows of a query that returns rows, each a list in the order of the columns: objects take several times as long to
 * cross between threads. Otherwise how many rows it changed.
 */
export type QueryAnswer =
  | { readonly columns: readonly string[]; readonly rows: readonly (readonly unknown[])[] }
  | { readonly columns: null; readonly changed: bigint };

export interface KeysQuestion {
  /** The row number after which the batch begins. */
  readonly after: number;
  readonly limit: number;
}

export interface KeysAnswer {
  readonly count: number;
  readonly last: number;
  /** UTF-8 text of a JSON list of KeyRows. */
  readonly json: Uint8Array<ArrayBuffer>;
}

/** Each kind of question, and its answer. */
export interface Exchanges {
  query: { question: Query; answer: QueryAnswer };
  begin: { question: null; answer: null };
  commit: { question: null; answer: null };
  rollback: { question: null; answer: null };
  append: { question: readonly NewSegment[]; answer: null };
  /** One slice of folding usage; the prices the first time, and whenever they changed. */
  fold: { question: Pricing | null; answer: Folded };
  keys: { question: KeysQuestion; answer: KeysAnswer };
  ping: { question: null; answer: null };
  close: { question: null; answer: null };
}

export type Op = keyof Exchanges;

export type Request = {
  [K in Op]: { readonly id: number; readonly op: K; readonly question: Exchanges[K]['question'] };
}[Op];

export type Reply =
  | { readonly id: number; readonly answer: Exchanges[Op]['answer'] }
  | { readonly id: number; readonly failure: Failure };

/** An error, as it crosses between threads. */
export interface Failure {
  readonly message: string;
  /** SQLite's extended result code (https://www.sqlite.org/rescode.html); null: the error is not SQLite's. */
  readonly code: number | null;
}

/** The first message of the worker: whether the database is open, or why not. */
export type Opening = { readonly opened: true } | { readonly opened: false; readonly reason: OpeningFailure };

export type OpeningFailure =
  | { readonly kind: 'held' }
  | { readonly kind: 'foreign' }
  | { readonly kind: 'damaged'; readonly detail: string }
  | { readonly kind: 'unusable'; readonly detail: string };

export interface WorkerSettings {
  readonly path: string;
}
