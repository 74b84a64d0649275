// The journal of usage events: from the road's memory to the store, in groups, off the road.
//
// Guarantee: once an event counts as `recorded` it is durable (fsync or commit) and survives kill -9. Between the
// end of a call and that moment it waits here, for LINGER_MS and one commit at the most while the store keeps up.
// How many wait is bounded and counted: a call takes a place before it is forwarded, and where no place is free it
// is refused with 503, because a call that cannot be metered must not be made.
//
// Failure: a group that the store refuses is kept and offered again, with a growing pause; nothing is dropped. On
// close the journal writes what it has before it lets go.
//
// Layout of a segment's payload, format 3: one JSON array a line, fields as in `line` below; about 250 bytes an
// event, and 90 more where a budget applied. Ids and names are those of the event; a prompt or a reply is never in it.
// Format 1, which had no spend, and format 2, which had no groups in it and did not tell lines of batches, are read too.

import { crc32 } from 'node:zlib';
import { z } from 'zod';
import type { UsageSegmentTable } from '../store/schema.ts';
import type { NewSegment, Store } from '../store/store.ts';
import { type EventSpend, noUsage, type UsageEvent } from './usage.ts';

const FORMAT = 3;
const FORMATS: readonly number[] = [1, 2, FORMAT];
const LINGER_MS = 50;
const GROUP_EVENTS = 4096;
const FIRST_BYTES = 256 * 1024;
const KEPT_BYTES = 4 * 1024 * 1024;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 5_000;

export class Journal {
  /** Events that are durable, since this process began. */
  recorded = 0;
  /** Groups that the store refused and that were offered again. */
  refusals = 0;

  readonly #store: Pick<Store, 'appendSegment'>;
  readonly #node: string;
  readonly #places: number;
  readonly #complain: (error: unknown) => void;
  #taken = 0;
  /** Events of the group that is being written. */
  #group = 0;
  /**
   * Lines that wait, as bytes: strings that live past a young collection would be copied by it again and again. Two
   * buffers take turns, one filled while the other is written, in memory that the store's thread can read where it
   * is: a new buffer a group would be garbage of megabytes a second on both threads.
   */
  #waiting: Buffer = shared(FIRST_BYTES);
  #other: Buffer = shared(FIRST_BYTES);
  #bytes = 0;
  #events = 0;
  #firstAt = 0;
  #lastAt = 0;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> | null = null;
  #closed = false;

  /** @param places how many events may be under way or waiting at once */
  constructor(
    store: Pick<Store, 'appendSegment'>,
    node: string,
    places: number,
    complain: (error: unknown) => void,
  ) {
    this.#store = store;
    this.#node = node;
    this.#places = places;
    this.#complain = complain;
  }

  /** Events that have a place and are not durable yet, calls under way included. */
  get pending(): number {
    return this.#taken;
  }

  /** Events that were handed over and are not durable yet. */
  get unwritten(): number {
    return this.#events + this.#group;
  }

  /** Takes a place for one event. False: none is free, and the call must be refused. */
  take(): boolean {
    if (this.#taken >= this.#places || this.#closed) return false;
    this.#taken++;
    return true;
  }

  /** Gives a place back that no event will come for. */
  release(): void {
    this.#taken--;
  }

  /** Hands an event over; its place is given back when it is durable. */
  append(event: UsageEvent): void {
    if (this.#events === 0) {
      this.#firstAt = event.at;
      this.#lastAt = event.at;
    } else if (event.at < this.#firstAt) this.#firstAt = event.at;
    else if (event.at > this.#lastAt) this.#lastAt = event.at;
    this.#put(line(event));
    this.#events++;
    if (this.#writing !== null) return;
    if (this.#events >= GROUP_EVENTS) this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), LINGER_MS);
  }

  #put(text: string): void {
    // A UTF-16 unit is at most three bytes of UTF-8.
    if (this.#waiting.length - this.#bytes < text.length * 3) {
      const larger = shared(this.#waiting.length * 2 + text.length * 3);
      this.#waiting.copy(larger, 0, 0, this.#bytes);
      this.#waiting = larger;
    }
    this.#bytes += this.#waiting.write(text, this.#bytes, 'utf8');
  }

  /** Resolves when everything handed over so far is durable. */
  async flush(): Promise<void> {
    while (this.#events > 0 || this.#writing !== null) {
      if (this.#writing === null) this.#write();
      await this.#writing;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
  }

  #write(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#events === 0 || this.#writing !== null) return;
    const events = this.#events;
    const written = this.#waiting;
    const payload = written.subarray(0, this.#bytes);
    const span = { firstAt: this.#firstAt, lastAt: this.#lastAt, events };
    const segment = segmentOf(this.#node, span, payload);
    this.#waiting = this.#other;
    this.#bytes = 0;
    this.#events = 0;
    this.#group = events;
    this.#writing = this.#persist(segment).finally(() => {
      this.#writing = null;
      this.#other = written.length > KEPT_BYTES ? shared(FIRST_BYTES) : written;
      this.#group = 0;
      this.recorded += events;
      this.#taken -= events;
      if (this.#events > 0) this.#timer ??= setTimeout(() => this.#write(), LINGER_MS);
    });
  }

  async #persist(segment: NewSegment): Promise<void> {
    for (let pause = FIRST_RETRY_MS; ; pause = Math.min(pause * 2, LAST_RETRY_MS)) {
      try {
        await this.#store.appendSegment(segment);
        return;
      } catch (error) {
        this.refusals++;
        this.#complain(error);
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }
}

function segmentOf(
  node: string,
  { firstAt, lastAt, events }: { firstAt: number; lastAt: number; events: number },
  payload: Uint8Array,
): NewSegment {
  return {
    node,
    first_at: firstAt,
    last_at: lastAt,
    events,
    format: FORMAT,
    crc: crc32(payload),
    payload,
  };
}

/** A segment of these events, for who writes it in a transaction of its own. At least one event. */
export function writeSegment(node: string, events: readonly UsageEvent[]): NewSegment {
  const times = events.map(({ at }) => at);
  const span = { firstAt: Math.min(...times), lastAt: Math.max(...times), events: events.length };
  return segmentOf(node, span, Buffer.from(events.map(line).join('')));
}

function shared(bytes: number): Buffer {
  return Buffer.from(new SharedArrayBuffer(bytes));
}

const quoted = new Map<string, string>();

/** JSON text of a string; names recur in every event, so they are kept, a bounded number of them. */
function quote(text: string): string {
  let json = quoted.get(text);
  if (json === undefined) {
    if (quoted.size > 4096) quoted.clear();
    json = JSON.stringify(text);
    quoted.set(text, json);
  }
  return json;
}

function line(event: UsageEvent): string {
  const u = event.usage;
  // Ids are keygate's own and need no escaping; names come from callers and providers and do.
  return (
    `["${event.requestId}",${event.at},"${event.organizationId}","${event.projectId}","${event.keyId}",` +
    `"${event.ownerId}","${event.operation}",${quote(event.modelAsked)},${quote(event.modelServed)},` +
    `${quote(event.provider)},${event.status},"${event.outcome}",${event.streamed ? 1 : 0},${event.firstByteMs},` +
    `${event.durationMs},${quote(event.serviceTier)},"${event.source}",${(event.test ? 1 : 0) + (event.batch ? 2 : 0)},${u.input},` +
    `${u.cachedInput},${u.cacheWrite},${u.output},${u.reasoning},${u.audioInput},${u.audioOutput},${u.imageInput},` +
    `${u.imageOutput},${u.images},${u.audioMs},${u.characters},${u.searches}${spendOf(event)}]\n`
  );
}

function spendOf({ spend }: UsageEvent): string {
  if (!spend) return '';
  const { cost, unpriced, priceVersion, lease, endUser, groups } = spend;
  const user = endUser === null ? 'null' : quote(endUser);
  const of = groups === undefined ? '' : `,${quote(groups.join(' '))}`;
  return `,[${cost},${unpriced ? 1 : 0},"${priceVersion}","${lease}",${user}${of}]`;
}

const Text = z.string();
const Count = z.number().int().nonnegative();
const Flag = z.union([z.literal(0), z.literal(1)]);
const Outcomes = z.enum(['ok', 'provider_error', 'client_closed', 'provider_cut', 'timeout', 'budget_stop']);
const Sources = z.enum(['provider', 'counted', 'none']);

/** 1: a test key's call; 2: a line of a batch. */
const Kinds = z.int().min(0).max(3);
const Spend = z.tuple([Count, Flag, Text, Text, Text.nullable(), Text.optional()]);

// biome-ignore format: one row a group of fields, in the order of `line`
const Line = z.tuple([
  Text, Count, Text, Text, Text, Text, Text, Text, Text, Text,
  Count, Outcomes, Flag, Count, Count, Text, Sources, Kinds,
  Count, Count, Count, Count, Count, Count, Count, Count, Count, Count, Count, Count, Count,
  Spend.optional(),
]);

/** The events of a segment. Throws when its checksum or its form is wrong: it was damaged. */
export function readSegment(segment: Omit<UsageSegmentTable, 'seq'>): UsageEvent[] {
  const payload = Buffer.from(segment.payload);
  if (!FORMATS.includes(segment.format)) throw new Error(`usage segment of unknown format ${segment.format}`);
  if (crc32(payload) !== segment.crc) throw new Error('usage segment is damaged: its checksum is wrong');
  const events = payload.toString('utf8').trimEnd().split('\n').map(readLine);
  if (events.length !== segment.events) throw new Error('usage segment is damaged: events are missing');
  return events;
}

function readLine(text: string): UsageEvent {
  const f = Line.parse(JSON.parse(text));
  const usage = noUsage();
  [usage.input, usage.cachedInput, usage.cacheWrite, usage.output, usage.reasoning] = [
    f[18],
    f[19],
    f[20],
    f[21],
    f[22],
  ];
  [usage.audioInput, usage.audioOutput, usage.imageInput, usage.imageOutput] = [f[23], f[24], f[25], f[26]];
  [usage.images, usage.audioMs, usage.characters, usage.searches] = [f[27], f[28], f[29], f[30]];
  return {
    requestId: f[0],
    at: f[1],
    organizationId: f[2],
    projectId: f[3],
    keyId: f[4],
    ownerId: f[5],
    operation: f[6],
    modelAsked: f[7],
    modelServed: f[8],
    provider: f[9],
    status: f[10],
    outcome: f[11],
    streamed: f[12] === 1,
    firstByteMs: f[13],
    durationMs: f[14],
    serviceTier: f[15],
    source: f[16],
    test: (f[17] & 1) !== 0,
    batch: (f[17] & 2) !== 0,
    usage,
    spend: spendIn(f[31]),
  };
}

function spendIn(fields: z.infer<typeof Spend> | undefined): EventSpend | null {
  if (fields === undefined) return null;
  const [cost, unpriced, priceVersion, lease, endUser, groups] = fields;
  return {
    cost,
    unpriced: unpriced === 1,
    priceVersion,
    lease,
    endUser,
    ...(groups === undefined ? {} : { groups: groups.split(' ') }),
  };
}
