// What a simulation is given and what goes between its thread and the server's; and how a recorded call is written in
// NDJSON, for traffic that was recorded elsewhere.

import { z } from 'zod';
import type { UsageSegmentTable } from '../store/schema.ts';
import type { ReplayedEvent, Simulation } from './simulate.ts';
import type { Statement } from './statements.ts';
import type { Table } from './tables.ts';
import type { TierAccount } from './tiers.ts';

/** Everything but the calls. It is plain data: it goes to another thread. */
export interface SimulationOrder {
  readonly table: Table;
  /** Statements over the table. */
  readonly statements: readonly Statement[];
  readonly organizationId: string;
  readonly account: TierAccount;
  /** Milliseconds since the epoch: the tier is the one of that instant. */
  readonly now: number;
  /** Calls that arrived before this are left out. */
  readonly since: number;
}

/** To the thread. Segments come in the order of their first calls. */
export type Input =
  | { readonly kind: 'segment'; readonly segment: Omit<UsageSegmentTable, 'seq'> }
  | { readonly kind: 'text'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' };

/** From the thread: each input is answered with `taken` or `wrong`, the end with `done`. */
export type Output =
  | { readonly kind: 'taken' }
  | { readonly kind: 'wrong'; readonly message: string }
  | { readonly kind: 'done'; readonly simulation: Simulation; readonly unreadable: number };

const Count = z.number().int().min(0).max(1e12);
const Id = z.string().min(1).max(256);

/** One recorded call. `at`: Unix time in seconds, or ISO 8601. Further fields are passed over. */
const RecordedCall = z.object({
  at: z.union([
    z.number().min(0).max(1e11),
    z.iso.datetime({ offset: true }).transform((text) => Date.parse(text) / 1000),
  ]),
  project_id: Id,
  model: Id,
  input_tokens: Count,
  output_tokens: Count.default(0),
  images: Count.default(0),
  audio_seconds: z.number().min(0).max(1e9).default(0),
  api_key_id: Id.optional(),
  service_account_id: Id.optional(),
  request_id: Id.optional(),
});

/** @throws Error whose message completes "line 5 …" */
export function recordedCall(line: string, number: number, organizationId: string): ReplayedEvent {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw new Error('is not JSON');
  }
  const parsed = RecordedCall.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const field = issue?.path.join('.') ?? '';
    throw new Error(`does not fit${field === '' ? '' : ` in '${field}'`}: ${issue?.message ?? 'unknown'}`);
  }
  const call = parsed.data;
  return {
    requestId: call.request_id ?? `line ${number}`,
    at: Math.round(call.at * 1000),
    organizationId,
    projectId: call.project_id,
    // A call that names no key is taken for one of the project's only key.
    keyId: call.api_key_id ?? call.service_account_id ?? call.project_id,
    ownerId: call.service_account_id ?? '',
    modelAsked: call.model,
    usage: {
      input: call.input_tokens,
      output: call.output_tokens,
      images: call.images,
      audioMs: call.audio_seconds * 1000,
    },
  };
}
