// Files and batches: their types, and the rules that need no database.

import type { Readable } from 'node:stream';
import type { Principal, ProjectState } from '../keys/model.ts';
import { ApiError } from '../platform/errors.ts';
import type { UsageEvent } from '../spend/usage.ts';
import type { BatchStatus } from '../store/schema-files.ts';

/** A principal that belongs to a project: whose files and batches it may reach. */
export interface Owner extends Principal {
  readonly project: ProjectState;
}

/** What callers may upload, as the published API has it. */
export const PURPOSES = ['assistants', 'batch', 'fine-tune', 'vision', 'user_data', 'evals'] as const;
export const BATCH_OUTPUT = 'batch_output';

const DAY_S = 86_400;
/** Bounds of `expires_after.seconds`: an hour to thirty days. */
export const EXPIRY_LEAST_S = 3_600;
export const EXPIRY_MOST_S = 30 * DAY_S;

/** How long a file of this purpose lives where nobody says: batches' files thirty days, others until they are deleted. */
export function standardExpirySeconds(purpose: string): number | null {
  return purpose === 'batch' || purpose === BATCH_OUTPUT ? 30 * DAY_S : null;
}

/** Requests and bytes of one batch's input file, and embedding inputs over all of it: as published. */
export const BATCH_LINES = 50_000;
export const BATCH_BYTES = 200_000_000;
export const BATCH_EMBEDDINGS = 50_000;
export const COMPLETION_WINDOW = '24h';
export const COMPLETION_WINDOW_MS = DAY_S * 1000;

/** Endpoints whose lines keygate runs. */
export const BATCH_ENDPOINTS = [
  '/v1/responses',
  '/v1/chat/completions',
  '/v1/embeddings',
  '/v1/completions',
  '/v1/moderations',
  '/v1/images/generations',
] as const;
/** Endpoints of the published Batch API that keygate's batches do not have. */
export const BATCH_ENDPOINTS_NOT_SERVED: readonly string[] = ['/v1/images/edits', '/v1/videos'];

export type BatchEndpoint = (typeof BATCH_ENDPOINTS)[number];

/** Statuses in which a node has work to do. */
export const OPEN: readonly BatchStatus[] = ['validating', 'in_progress', 'finalizing', 'cancelling'];

export function isOpen(status: BatchStatus): boolean {
  return OPEN.includes(status);
}

/** One of the published `errors.data` of a batch. */
export interface BatchError {
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
  /** From 1 on; null: it is about the whole file. */
  readonly line: number | null;
}

/** A call of the data plane that keygate answers itself, as it comes from the road: authorized, within its bounds. */
export interface KeptCall {
  readonly owner: Owner;
  /** The parts of the path that stand for `{}`; not decoded. */
  readonly parameters: readonly string[];
  /** `?after=…`, or ''. */
  readonly query: string;
  /** The JSON body, if the operation has one. */
  readonly json: Readonly<Record<string, unknown>> | null;
  readonly contentType: string | null;
  readonly contentLength: number | null;
  /** When it arrived, milliseconds since the epoch. */
  readonly at: number;
  /** The body as it comes, for operations that read it themselves. At most once. */
  readonly body: () => Readable;
  /** Aborted when the caller is gone or its time is up. */
  readonly signal: AbortSignal;
}

export type KeptAnswer =
  | { readonly kind: 'json'; readonly value: object }
  | {
      readonly kind: 'bytes';
      readonly filename: string;
      readonly length: number;
      readonly pieces: AsyncIterable<Uint8Array>;
    };

/** A line of a batch, to be sent over the road with the rights of the batch's key. */
export interface Order {
  readonly principal: Owner;
  /** `/v1/chat/completions` */
  readonly path: string;
  readonly body: Buffer;
  /** The same for every try of the line: a provider that knows such keys answers, and bills, once. */
  readonly idempotencyKey: string;
}

/** What became of it. */
export interface Performed {
  readonly requestId: string;
  readonly status: number;
  /** The header lines of the reply. */
  readonly lines: string;
  readonly reply: Buffer;
  /** Whether the whole reply came. */
  readonly complete: boolean;
  /** What it used and was charged; null: it was refused before it was sent. It is for whoever ordered to record. */
  readonly event: UsageEvent | null;
}

export type Perform = (order: Order) => Promise<Performed>;

/** Answers, or throws ApiError. */
export type KeptHandler = (call: KeptCall) => Promise<KeptAnswer>;

export function jsonAnswer(value: object): KeptAnswer {
  return { kind: 'json', value };
}

export function refused(param: string, message: string, code = 'invalid_value'): ApiError {
  return new ApiError(400, message, { param, code });
}

/** Another project's object is as unknown as one that never was. */
export function noSuchFile(id: string): ApiError {
  return new ApiError(404, `No such File object: ${id.slice(0, 100)}`, { param: 'id' });
}

export function noSuchBatch(id: string): ApiError {
  return new ApiError(404, `No batch found with id '${id.slice(0, 100)}'.`);
}

export function noSuchUpload(id: string): ApiError {
  return new ApiError(404, `No upload found with id '${id.slice(0, 100)}'.`);
}
