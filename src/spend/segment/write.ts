// Writes the payload of a usage segment (layout.ts). It runs on the road's thread at the end of every call, so an event
// goes into the buffer byte by byte: no string is made of it, and no object.

import { crc32 } from 'node:zlib';
import type { NewSegment } from '../../store/store.ts';
import type { Usage, UsageEvent } from '../usage.ts';
import { BACKSLASH, CLOSE, COMMA, MINUS, NEWLINE, OPEN, QUOTE, SPACE, ZERO } from './ascii.ts';
import { Dictionary, type Entries } from './dictionary.ts';
import { COUNTS, FORMAT, type Spent, type What, type Who } from './layout.ts';

/** Numbers of up to 31 bits are written here; few are larger. */
const SMALL = 0x7fffffff;
/** Most bytes of an event's line beside its id: no number is longer than 24. */
const LINE_BYTES = 24 * (COUNTS.length + 8) + 16;
/** Most bytes of JSON for a UTF-16 unit: an escape. */
const UNIT_BYTES = 6;

const WHO: Entries<Who> = {
  name: ({ keyId }) => keyId,
  isSame: (one, other) =>
    one.keyId === other.keyId &&
    one.ownerId === other.ownerId &&
    one.projectId === other.projectId &&
    one.organizationId === other.organizationId,
  copy: ({ organizationId, projectId, keyId, ownerId }) => ({ organizationId, projectId, keyId, ownerId }),
  fields: ({ organizationId, projectId, keyId, ownerId }) => [organizationId, projectId, keyId, ownerId],
};

const WHAT: Entries<What> = {
  name: ({ modelAsked }) => modelAsked,
  isSame: (one, other) =>
    one.status === other.status &&
    one.streamed === other.streamed &&
    one.test === other.test &&
    one.batch === other.batch &&
    one.outcome === other.outcome &&
    one.source === other.source &&
    one.operation === other.operation &&
    one.provider === other.provider &&
    one.serviceTier === other.serviceTier &&
    one.modelServed === other.modelServed &&
    one.modelAsked === other.modelAsked,
  copy: (what) => ({
    operation: what.operation,
    modelAsked: what.modelAsked,
    modelServed: what.modelServed,
    provider: what.provider,
    serviceTier: what.serviceTier,
    source: what.source,
    outcome: what.outcome,
    status: what.status,
    streamed: what.streamed,
    test: what.test,
    batch: what.batch,
  }),
  fields: (what) => [
    what.operation,
    what.modelAsked,
    what.modelServed,
    what.provider,
    what.serviceTier,
    what.source,
    what.outcome,
    what.status,
    what.streamed ? 1 : 0,
    (what.test ? 1 : 0) + (what.batch ? 2 : 0),
  ],
};

const SPENT: Entries<Spent> = {
  name: ({ endUser, lease }) => endUser ?? lease,
  isSame: (one, other) =>
    one.endUser === other.endUser &&
    one.lease === other.lease &&
    one.priceVersion === other.priceVersion &&
    one.unpriced === other.unpriced &&
    areSame(one.groups, other.groups),
  copy: ({ unpriced, priceVersion, lease, endUser, groups }) => ({
    unpriced,
    priceVersion,
    lease,
    endUser,
    ...(groups === undefined ? {} : { groups }),
  }),
  fields: ({ unpriced, priceVersion, lease, endUser, groups }) => [
    unpriced ? 1 : 0,
    priceVersion,
    lease,
    endUser,
    ...(groups === undefined ? [] : [groups]),
  ],
};

function areSame(one: readonly string[] | undefined, other: readonly string[] | undefined): boolean {
  if (one === other) return true;
  if (one === undefined || other === undefined || one.length !== other.length) return false;
  return one.every((group, at) => group === other[at]);
}

/** What events have in common, remembered from one segment to the next. Of one writer at a time. */
export class Recurring {
  readonly who = new Dictionary(WHO);
  readonly what = new Dictionary(WHAT);
  readonly spent = new Dictionary(SPENT);
}

export class SegmentWriter {
  /** Of the segment so far. */
  events = 0;
  readonly #recurring: Recurring;
  readonly #makeBuffer: (bytes: number) => Buffer;
  readonly #firstBytes: number;
  readonly #counts: number[] = COUNTS.map(() => 0);
  #buffer: Buffer;
  #end = 0;
  /** The first event's time, from which the others are counted. */
  #at = 0;
  #firstAt = 0;
  #lastAt = 0;

  /** @param firstBytes the buffer's size at first; it grows as it must */
  constructor(
    recurring: Recurring,
    firstBytes: number,
    makeBuffer: (bytes: number) => Buffer = Buffer.alloc,
  ) {
    this.#recurring = recurring;
    this.#firstBytes = firstBytes;
    this.#makeBuffer = makeBuffer;
    this.#buffer = makeBuffer(firstBytes);
  }

  add(event: UsageEvent): void {
    if (this.events === 0) this.#begin(event.at);
    else if (event.at < this.#firstAt) this.#firstAt = event.at;
    else if (event.at > this.#lastAt) this.#lastAt = event.at;
    const { requestId, usage, spend } = event;
    const { who, what, spent } = this.#recurring;
    const buffer = this.#room(LINE_BYTES + requestId.length * UNIT_BYTES);
    let end = this.#end;
    buffer[end++] = OPEN;
    end = putText(buffer, end, requestId);
    buffer[end++] = COMMA;
    end = putNumber(buffer, end, event.at - this.#at);
    buffer[end++] = COMMA;
    end = putNumber(buffer, end, who.numberOf(event));
    buffer[end++] = COMMA;
    end = putNumber(buffer, end, what.numberOf(event));
    buffer[end++] = COMMA;
    end = putNumber(buffer, end, event.firstByteMs);
    buffer[end++] = COMMA;
    end = putNumber(buffer, end, event.durationMs);
    buffer[end++] = COMMA;
    buffer[end++] = OPEN;
    end = putCounts(buffer, end, this.#counts, usage);
    buffer[end++] = CLOSE;
    if (spend !== null) {
      buffer[end++] = COMMA;
      buffer[end++] = OPEN;
      end = putNumber(buffer, end, spent.numberOf(spend));
      buffer[end++] = COMMA;
      end = putNumber(buffer, end, spend.cost);
      buffer[end++] = CLOSE;
    }
    buffer[end++] = CLOSE;
    buffer[end++] = NEWLINE;
    this.#end = end;
    this.events++;
  }

  /** The segment of the events so far, at least one, in the writer's own memory: until `clear` it must not write on. */
  finish(node: string): NewSegment {
    const { who, what, spent } = this.#recurring;
    const lists = `"who":${who.json()},"what":${what.json()},"spent":${spent.json()}`;
    const last = `{"at":${this.#at},${lists}}\n`;
    // A UTF-16 unit is at most three bytes of UTF-8.
    const buffer = this.#room(last.length * 3);
    this.#end += buffer.write(last, this.#end, 'utf8');
    const payload = buffer.subarray(0, this.#end);
    return {
      node,
      first_at: this.#firstAt,
      last_at: this.#lastAt,
      events: this.events,
      format: FORMAT,
      crc: crc32(payload),
      payload,
    };
  }

  /** Begins anew. A buffer that grew beyond `keptBytes` is let go. */
  clear(keptBytes: number): void {
    this.events = 0;
    this.#end = 0;
    if (this.#buffer.length > keptBytes) this.#buffer = this.#makeBuffer(this.#firstBytes);
  }

  #begin(at: number): void {
    this.#at = at;
    this.#firstAt = at;
    this.#lastAt = at;
    const { who, what, spent } = this.#recurring;
    who.begin();
    what.begin();
    spent.begin();
  }

  #room(bytes: number): Buffer {
    if (this.#buffer.length - this.#end < bytes) {
      const larger = this.#makeBuffer(this.#buffer.length * 2 + bytes);
      this.#buffer.copy(larger, 0, 0, this.#end);
      this.#buffer = larger;
    }
    return this.#buffer;
  }
}

/** A segment of these events, for who writes it in a transaction of its own. At least one event. */
export function writeSegment(node: string, events: readonly UsageEvent[]): NewSegment {
  const writer = new SegmentWriter(new Recurring(), events.length * 128);
  for (const event of events) writer.add(event);
  const segment = writer.finish(node);
  // The payload alone: with a view of it, the rest of its memory would cross to the store's thread too.
  return { ...segment, payload: new Uint8Array(segment.payload) };
}

/** A JSON string. Ids are keygate's own and need no escaping; what does is left to JSON.stringify. */
function putText(buffer: Buffer, at: number, text: string): number {
  let end = at;
  buffer[end++] = QUOTE;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < SPACE || unit > 0x7e || unit === QUOTE || unit === BACKSLASH)
      return at + buffer.write(JSON.stringify(text), at, 'utf8');
    buffer[end++] = unit;
  }
  buffer[end++] = QUOTE;
  return end;
}

function putNumber(buffer: Buffer, at: number, value: number): number {
  if (value < 0 && value >= -SMALL) {
    buffer[at] = MINUS;
    return putNumber(buffer, at + 1, -value);
  }
  if (!(value >= 0 && value <= SMALL) || !Number.isInteger(value))
    return at + buffer.write(String(value), at, 'latin1');
  const end = at + digitsOf(value);
  let left = value;
  for (let place = end - 1; place >= at; place--) {
    const tenth = (left / 10) | 0;
    buffer[place] = ZERO + left - tenth * 10;
    left = tenth;
  }
  return end;
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let bound = 10; digits < 10 && value >= bound; bound *= 10) digits++;
  return digits;
}

/** @param counts to work in */
function putCounts(buffer: Buffer, at: number, counts: number[], usage: Usage): number {
  counts[0] = usage.input;
  counts[1] = usage.cachedInput;
  counts[2] = usage.cacheWrite;
  counts[3] = usage.output;
  counts[4] = usage.reasoning;
  counts[5] = usage.audioInput;
  counts[6] = usage.audioOutput;
  counts[7] = usage.imageInput;
  counts[8] = usage.imageOutput;
  counts[9] = usage.images;
  counts[10] = usage.audioMs;
  counts[11] = usage.characters;
  counts[12] = usage.searches;
  let used = counts.length;
  while (used > 0 && counts[used - 1] === 0) used--;
  let end = at;
  for (let i = 0; i < used; i++) {
    if (i > 0) buffer[end++] = COMMA;
    end = putNumber(buffer, end, counts[i] ?? 0);
  }
  return end;
}
