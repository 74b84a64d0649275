// Reads a usage segment for folding: the same events as `readSegment` of the journal, which owns the layout, without
// its schema library, whose memory (15 MB a thread) a thread would hold only to check keygate's own bytes behind a
// checksum. A line that is not of the layout still throws. Tested against `readSegment`.

import { crc32 } from 'node:zlib';
import type { EventSpend, Outcome, Usage, UsageEvent, UsageSource } from '../usage.ts';
import type { RawSegment } from './messages.ts';

/** Formats that are read; 2 added what was charged, 3 groups and lines of batches. */
const FORMATS: readonly number[] = [1, 2, 3];
const FIELDS = 31;

const NEWLINE = 10;

/** One event after the other: a segment may hold 100,000. Throws when it was damaged or is of a newer version. */
export function* segmentEvents({
  format,
  crc,
  events,
  payload,
}: Omit<RawSegment, 'seq'>): Generator<UsageEvent> {
  if (!FORMATS.includes(format)) throw new Error(`usage segment of unknown format ${format}`);
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (crc32(bytes) !== crc) throw new Error('usage segment is damaged: its checksum is wrong');
  let found = 0;
  for (let at = 0; at < bytes.length; found++) {
    const next = bytes.indexOf(NEWLINE, at);
    const end = next < 0 ? bytes.length : next;
    yield eventIn(bytes.toString('utf8', at, end));
    at = end + 1;
  }
  if (found !== events) throw new Error('usage segment is damaged: events are missing');
}

/** Why a segment could not be read, without the values that it was about. */
export function reasonOf(error: unknown): string {
  if (error instanceof Error && error.message.startsWith('usage segment')) return error.message;
  return 'its lines are not of this format';
}

function eventIn(line: string): UsageEvent {
  const fields: unknown = JSON.parse(line);
  if (!Array.isArray(fields) || (fields.length !== FIELDS && fields.length !== FIELDS + 1))
    throw new Misfit();
  const at: readonly unknown[] = fields;
  return {
    requestId: text(at[0]),
    at: count(at[1]),
    organizationId: text(at[2]),
    projectId: text(at[3]),
    keyId: text(at[4]),
    ownerId: text(at[5]),
    operation: text(at[6]),
    modelAsked: text(at[7]),
    modelServed: text(at[8]),
    provider: text(at[9]),
    status: count(at[10]),
    outcome: outcome(at[11]),
    streamed: flag(at[12]),
    firstByteMs: count(at[13]),
    durationMs: count(at[14]),
    serviceTier: text(at[15]),
    source: source(at[16]),
    test: (kinds(at[17]) & 1) !== 0,
    batch: (kinds(at[17]) & 2) !== 0,
    usage: usageIn(at),
    spend: at.length > FIELDS ? spendIn(at[FIELDS]) : null,
  };
}

function usageIn(at: readonly unknown[]): Usage {
  return {
    input: count(at[18]),
    cachedInput: count(at[19]),
    cacheWrite: count(at[20]),
    output: count(at[21]),
    reasoning: count(at[22]),
    audioInput: count(at[23]),
    audioOutput: count(at[24]),
    imageInput: count(at[25]),
    imageOutput: count(at[26]),
    images: count(at[27]),
    audioMs: count(at[28]),
    characters: count(at[29]),
    searches: count(at[30]),
  };
}

function spendIn(value: unknown): EventSpend {
  if (!Array.isArray(value) || (value.length !== 5 && value.length !== 6)) throw new Misfit();
  const [cost, unpriced, priceVersion, lease, endUser, groups]: readonly unknown[] = value;
  return {
    cost: count(cost),
    unpriced: flag(unpriced),
    priceVersion: text(priceVersion),
    lease: text(lease),
    endUser: endUser === null ? null : text(endUser),
    ...(groups === undefined ? {} : { groups: text(groups).split(' ') }),
  };
}

class Misfit extends Error {
  constructor() {
    super('usage segment has a line that is not of its format');
  }
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new Misfit();
  return value;
}

function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new Misfit();
  return value;
}

function flag(value: unknown): boolean {
  if (value !== 0 && value !== 1) throw new Misfit();
  return value === 1;
}

/** 1: a test key's call; 2: a line of a batch. */
function kinds(value: unknown): number {
  const number = count(value);
  if (number > 3) throw new Misfit();
  return number;
}

function outcome(value: unknown): Outcome {
  switch (value) {
    case 'ok':
    case 'provider_error':
    case 'client_closed':
    case 'provider_cut':
    case 'budget_stop':
    case 'timeout':
      return value;
    default:
      throw new Misfit();
  }
}

function source(value: unknown): UsageSource {
  switch (value) {
    case 'provider':
    case 'counted':
    case 'none':
      return value;
    default:
      throw new Misfit();
  }
}
