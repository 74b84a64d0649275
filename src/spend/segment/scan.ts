// Reads a usage segment for folding: what `readSegment` (read.ts) reads but for the ids and times of single calls; without
// its schema library, whose memory (15 MB a thread) a thread would hold only to check keygate's own bytes behind a
// checksum; and without an object an event. What is not of the layout still throws. Tested against `readSegment`.

import { type EventSpend, noUsage, type Usage } from '../usage.ts';
import { BACKSLASH, CLOSE, COMMA, MINUS, NEWLINE, OPEN, QUOTE, SPACE, ZERO } from './ascii.ts';
import {
  checkedPayload,
  chosen,
  count,
  flag,
  kinds,
  list,
  Misfit,
  outcome,
  type RawSegment,
  source,
  text,
} from './check.ts';
import { COUNTS, FORMAT, type Spent, type What, type Who } from './layout.ts';
import { scanOlder } from './scan-older.ts';

/** Takes the events of a segment. What it makes of a `who` and a `what` comes back with each event of theirs. */
export interface EventSink<W, T> {
  who(who: Who): W;
  what(what: What): T;
  /** @param usage to be read before this returns: the next event's is put into the same object */
  add(who: W, what: T, atMs: number, usage: Readonly<Usage>, spend: EventSpend | null): void;
}

/**
 * Throws when the segment was damaged or is of a newer version; the sink may have a part of its events by then.
 * @param breathe called every few microseconds
 */
export function scanSegment<W, T>(
  segment: RawSegment,
  sink: EventSink<W, T>,
  breathe: () => void = () => {},
): void {
  const { format, events } = segment;
  const bytes = checkedPayload(segment);
  const found = format === FORMAT ? scan(bytes, events, sink, breathe) : scanOlder(bytes, sink);
  if (found !== events) throw new Error('usage segment is damaged: events are missing');
}

/** Why a segment could not be read, without the values that it was about. */
export function reasonOf(error: unknown): string {
  if (error instanceof Error && error.message.startsWith('usage segment')) return error.message;
  return 'its lines are not of this format';
}

function scan<W, T>(bytes: Buffer, most: number, sink: EventSink<W, T>, breathe: () => void): number {
  const lastLine = bytes.lastIndexOf(NEWLINE, bytes.length - 2) + 1;
  const lists = listsIn(bytes.toString('utf8', lastLine), most);
  const who = lists.who.map((each) => sink.who(each));
  const what = lists.what.map((each) => sink.what(each));
  const line = new LineScanner(bytes);
  const usage = noUsage();
  let events = 0;
  for (; line.at < lastLine; events++) {
    if (events % 8 === 7) breathe();
    line.open();
    line.skipText();
    const atMs = lists.at + line.nextDifference();
    if (atMs < 0) throw new Misfit();
    const whose = chosen(who, line.nextCount());
    const kind = chosen(what, line.nextCount());
    // To the first byte, and to the end.
    line.nextCount();
    line.nextCount();
    line.nextUsage(usage);
    const charge = line.nextCharge();
    const spend = charge === null ? null : { ...chosen(lists.spent, charge.spent), cost: charge.cost };
    line.end();
    sink.add(whose, kind, atMs, usage, spend);
  }
  return events;
}

interface Lists {
  readonly at: number;
  readonly who: readonly Who[];
  readonly what: readonly What[];
  readonly spent: readonly Spent[];
}

function listsIn(json: string, most: number): Lists {
  const value: unknown = JSON.parse(json);
  if (typeof value !== 'object' || value === null || Object.keys(value).join() !== 'at,who,what,spent')
    throw new Misfit();
  const { at, who, what, spent }: { at?: unknown; who?: unknown; what?: unknown; spent?: unknown } = value;
  return {
    at: count(at),
    who: list(who, 0, most).map(whoIn),
    what: list(what, 0, most).map(whatIn),
    spent: list(spent, 0, most).map(spentIn),
  };
}

function whoIn(value: unknown): Who {
  const [organizationId, projectId, keyId, ownerId] = list(value, 4, 4);
  return {
    organizationId: text(organizationId),
    projectId: text(projectId),
    keyId: text(keyId),
    ownerId: text(ownerId),
  };
}

function whatIn(value: unknown): What {
  const at = list(value, 10, 10);
  return {
    operation: text(at[0]),
    modelAsked: text(at[1]),
    modelServed: text(at[2]),
    provider: text(at[3]),
    serviceTier: text(at[4]),
    source: source(at[5]),
    outcome: outcome(at[6]),
    status: count(at[7]),
    streamed: flag(at[8]),
    ...kinds(at[9]),
  };
}

function spentIn(value: unknown): Spent {
  const [unpriced, priceVersion, lease, endUser, groups] = list(value, 4, 5);
  return {
    unpriced: flag(unpriced),
    priceVersion: text(priceVersion),
    lease: text(lease),
    endUser: endUser === null ? null : text(endUser),
    ...(groups === undefined ? {} : { groups: list(groups, 0, Number.POSITIVE_INFINITY).map(text) }),
  };
}

/** Goes through the bytes of lines, value by value. */
class LineScanner {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #counts: number[] = COUNTS.map(() => 0);

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  open(): void {
    this.#take(OPEN);
  }

  end(): void {
    this.#take(CLOSE);
    this.#take(NEWLINE);
  }

  skipText(): void {
    this.#take(QUOTE);
    for (;;) {
      const byte = this.#bytes[this.at++];
      if (byte === QUOTE) return;
      if (byte === undefined || byte < SPACE) throw new Misfit();
      if (byte === BACKSLASH) this.at++;
    }
  }

  nextCount(): number {
    this.#take(COMMA);
    return this.#count();
  }

  nextDifference(): number {
    this.#take(COMMA);
    if (this.#bytes[this.at] !== MINUS) return this.#count();
    this.at++;
    return -this.#count();
  }

  nextUsage(usage: Usage): void {
    this.#take(COMMA);
    this.#take(OPEN);
    const counts = this.#counts;
    counts.fill(0);
    if (this.#bytes[this.at] !== CLOSE) {
      counts[0] = this.#count();
      for (let i = 1; this.#bytes[this.at] === COMMA; i++) {
        if (i >= counts.length) throw new Misfit();
        counts[i] = this.nextCount();
      }
    }
    this.#take(CLOSE);
    setUsage(usage, counts);
  }

  nextCharge(): { readonly spent: number; readonly cost: number } | null {
    if (this.#bytes[this.at] !== COMMA) return null;
    this.at++;
    this.#take(OPEN);
    const spent = this.#count();
    const cost = this.nextCount();
    this.#take(CLOSE);
    return { spent, cost };
  }

  #take(byte: number): void {
    if (this.#bytes[this.at++] !== byte) throw new Misfit();
  }

  /** As JSON has whole numbers: without a zero in front. */
  #count(): number {
    const bytes = this.#bytes;
    const start = this.at;
    let at = start;
    let value = 0;
    for (;;) {
      const digit = (bytes[at] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      at++;
    }
    if (at === start || (bytes[start] === ZERO && at > start + 1) || value > Number.MAX_SAFE_INTEGER)
      throw new Misfit();
    this.at = at;
    return value;
  }
}

/** One by one, in the order of COUNTS: by computed names it would take as long as all the rest. */
function setUsage(usage: Usage, counts: readonly number[]): void {
  usage.input = counts[0] ?? 0;
  usage.cachedInput = counts[1] ?? 0;
  usage.cacheWrite = counts[2] ?? 0;
  usage.output = counts[3] ?? 0;
  usage.reasoning = counts[4] ?? 0;
  usage.audioInput = counts[5] ?? 0;
  usage.audioOutput = counts[6] ?? 0;
  usage.imageInput = counts[7] ?? 0;
  usage.imageOutput = counts[8] ?? 0;
  usage.images = counts[9] ?? 0;
  usage.audioMs = counts[10] ?? 0;
  usage.characters = counts[11] ?? 0;
  usage.searches = counts[12] ?? 0;
}
