// One call on its way to the prompt log: what is known of it, and its bytes as they came.

import { bodyOf, streamOf } from './read.ts';
import { type Redaction, redactValue } from './redact.ts';

export interface Entry {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly requestId: string;
  readonly projectId: string;
  readonly keyId: string;
  readonly operation: string;
  readonly model: string;
  readonly status: number;
  readonly outcome: string;
  /** Null: no JSON. Cut after some length. */
  readonly request: Uint8Array | null;
  /** In pieces. Null: neither JSON nor a stream of events. */
  readonly reply: readonly Uint8Array[] | null;
  readonly streamed: boolean;
  /** Whether something of either was cut off. */
  readonly cut: boolean;
}

/** The line of an entry, with its end. */
export function lineOf(entry: Entry, redaction: Redaction): string {
  const { request, reply } = entry;
  const replied = reply === null ? null : Buffer.concat(reply);
  const line = {
    time: new Date(entry.at).toISOString(),
    request_id: entry.requestId,
    project_id: entry.projectId,
    api_key_id: entry.keyId,
    operation: entry.operation,
    model: entry.model,
    status: entry.status,
    outcome: entry.outcome,
    ...(entry.cut && { cut: true }),
    request: request === null ? null : redactValue(bodyOf(Buffer.from(request)), redaction),
    reply:
      replied === null ? null : redactValue(entry.streamed ? streamOf(replied) : bodyOf(replied), redaction),
  };
  return `${JSON.stringify(line)}\n`;
}
