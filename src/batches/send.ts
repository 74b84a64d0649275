// One line of a batch: sent over the road, tried again while that may help, and made a line of the output or error file.
//
// A batch can wait: what is over for now (429, 502, 503, 504, 408) is tried again until the completion window ends, with
// pauses that grow to a minute; a fault of the provider (other 5xx) a few times. What waiting cannot mend is final: the
// reply says so (x-should-retry: false), or its code does.

import { hash } from 'node:crypto';
import type { UsageEvent } from '../spend/usage.ts';
import type { BatchRequest } from './lines.ts';
import type { Owner, Perform, Performed } from './model.ts';
import type { LineResult } from './results.ts';

const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 60_000;
const FAULT_TRIES = 5;
const PATIENT: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);
const FINAL_CODES: ReadonlySet<string> = new Set(['insufficient_quota', 'billing_hard_limit_reached']);

export interface LineOrder {
  readonly batchId: string;
  readonly line: number;
  readonly endpoint: string;
  readonly request: BatchRequest;
}

export interface SendParts {
  readonly perform: Perform;
  /** Who sends it now; null: the batch is to stop. */
  readonly sender: () => Owner | null;
  /** Waits so long, or until the batch is to stop. */
  readonly pause: (ms: number) => Promise<void>;
  /** Whether the completion window is over. */
  readonly late: () => boolean;
}

/** Null: the batch is to stop, and the line is still to be done. */
export async function sendLine(parts: SendParts, order: LineOrder): Promise<LineResult | null> {
  const { batchId, line, endpoint, request } = order;
  const id = requestIdOf(batchId, line);
  const body = Buffer.from(JSON.stringify(request.body));
  const events: UsageEvent[] = [];
  for (let tries = 1; ; tries++) {
    if (parts.late()) return expiredLine(order, events);
    const principal = parts.sender();
    if (principal === null) return null;
    const done = await parts.perform({ principal, path: endpoint, body, idempotencyKey: id });
    if (!done.complete && parts.sender() === null) return null;
    if (done.event !== null) events.push(done.event);
    if (!mayTryAgain(done, tries)) return resultOf(order, id, done, events);
    await parts.pause(pauseAfter(done, tries));
  }
}

/** The same for each try of a line, after a crash too. */
export function requestIdOf(batchId: string, line: number): string {
  return `batch_req_${hash('sha256', `${batchId}/${line}`, 'hex').slice(0, 32)}`;
}

function mayTryAgain({ status, lines, reply, complete }: Performed, tries: number): boolean {
  if (!complete) return tries < FAULT_TRIES;
  if (status < 408 || headerOf(lines, 'x-should-retry') === 'false') return false;
  if (PATIENT.has(status)) return !FINAL_CODES.has(errorCode(reply));
  return status >= 500 && tries < FAULT_TRIES;
}

function pauseAfter({ lines }: Performed, tries: number): number {
  const grown = Math.min(FIRST_PAUSE_MS * 2 ** (tries - 1), LAST_PAUSE_MS);
  const told = Number(headerOf(lines, 'retry-after-ms') ?? Number.NaN);
  const seconds = Number(headerOf(lines, 'retry-after') ?? Number.NaN) * 1000;
  const asked = Number.isFinite(told) ? told : Number.isFinite(seconds) ? seconds : 0;
  return Math.min(Math.max(grown, asked), LAST_PAUSE_MS) * (1 + Math.random() / 4);
}

function headerOf(lines: string, name: string): string | undefined {
  return new RegExp(`^${name}: *([^\r\n]*)`, 'im').exec(lines)?.[1];
}

function errorCode(reply: Buffer): string {
  try {
    const value: unknown = JSON.parse(reply.toString('utf8'));
    const error = typeof value === 'object' && value !== null ? Reflect.get(value, 'error') : null;
    const code = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : null;
    return typeof code === 'string' ? code : '';
  } catch {
    return '';
  }
}

function resultOf(
  { line, request }: LineOrder,
  id: string,
  { status, reply, complete, requestId }: Performed,
  events: readonly UsageEvent[],
): LineResult {
  const body = complete ? jsonLine(reply) : null;
  const head = `{"id":"${id}","custom_id":${JSON.stringify(request.customId)}`;
  if (body === null) {
    const error = {
      code: 'invalid_response',
      message: 'The provider broke off, or its answer was not JSON.',
    };
    return { line, failed: true, text: `${head},"response":null,"error":${JSON.stringify(error)}}`, events };
  }
  const response = `{"status_code":${status},"request_id":"${requestId}","body":${body}}`;
  return { line, failed: status >= 400, text: `${head},"response":${response},"error":null}`, events };
}

/** A line that was not done in time, or at all. */
export function expiredLine(order: LineOrder, events: readonly UsageEvent[] = []): LineResult {
  return undoneLine(
    order,
    'batch_expired',
    'This request could not be executed before the completion window expired.',
    events,
  );
}

function undoneLine(
  { batchId, line, request }: LineOrder,
  code: string,
  message: string,
  events: readonly UsageEvent[],
): LineResult {
  const text = JSON.stringify({
    id: requestIdOf(batchId, line),
    custom_id: request.customId,
    response: null,
    error: { code, message },
  });
  return { line, failed: true, text, events };
}

/** The reply's JSON as it stands, on one line. Null: it is not JSON. */
function jsonLine(reply: Buffer): string | null {
  const text = reply.toString('utf8');
  try {
    const value: unknown = JSON.parse(text);
    return /[\r\n]/.test(text) ? JSON.stringify(value) : text;
  } catch {
    return null;
  }
}
