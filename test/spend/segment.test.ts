// Usage segments: what is written comes back, whatever the names are, by both ways of reading; what earlier versions
// wrote is read; and what is not of the layout is refused.

import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Journal } from '../../src/spend/journal.ts';
import { KINDS } from '../../src/spend/rollup/model.ts';
import { COUNTS, type What, type Who } from '../../src/spend/segment/layout.ts';
import { readSegment } from '../../src/spend/segment/read.ts';
import { scanSegment } from '../../src/spend/segment/scan.ts';
import { writeSegment } from '../../src/spend/segment/write.ts';
import type { UsageEvent } from '../../src/spend/usage.ts';
import type { NewSegment } from '../../src/store/store.ts';
import { event } from './rollup-events.ts';
import { segmentOf } from './rollup-store.ts';
import { busyEvent, oddEvents, olderSegment } from './segment-events.ts';

type Scanned = Omit<UsageEvent, 'requestId' | 'firstByteMs' | 'durationMs'>;

/** What folding sees of a segment. */
function scanned(segment: NewSegment): Scanned[] {
  const events: Scanned[] = [];
  scanSegment<Who, What>(segment, {
    who: (who) => who,
    what: (what) => what,
    add: (who, what, at, usage, spend) => {
      events.push({ ...who, ...what, at, usage: { ...usage }, spend });
    },
  });
  return events;
}

function withoutCall({
  requestId: _id,
  firstByteMs: _first,
  durationMs: _all,
  ...rest
}: UsageEvent): Scanned {
  return rest;
}

/** The same bytes in memory that threads share, as the store and the roll-up's thread have them. */
function shared(segment: NewSegment): NewSegment {
  const payload = new Uint8Array(new SharedArrayBuffer(segment.payload.byteLength));
  payload.set(segment.payload);
  return { ...segment, payload };
}

function withPayload(segment: NewSegment, text: string): NewSegment {
  const payload = Buffer.from(text);
  return { ...segment, crc: crc32(payload), payload };
}

/** The segment as values: its lines, the last of which holds the lists. */
function linesOf(segment: NewSegment): unknown[] {
  const lines = Buffer.from(segment.payload).toString().trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line));
}

function textOf(lines: readonly unknown[]): string {
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

const outcome = (read: () => readonly unknown[]) => {
  try {
    return read().length;
  } catch {
    return 'refused';
  }
};

describe('a usage segment', () => {
  it('gives back every event as it was, whatever its names and numbers', () => {
    fc.assert(
      fc.property(fc.array(oddEvents, { minLength: 1, maxLength: 30 }), (events) => {
        const segment = writeSegment('node', events);
        expect(readSegment(segment)).toEqual(events);
        expect(scanned(shared(segment))).toEqual(events.map(withoutCall));
        expect([segment.first_at, segment.last_at]).toEqual([
          Math.min(...events.map(({ at }) => at)),
          Math.max(...events.map(({ at }) => at)),
        ]);
      }),
      { numRuns: 300 },
    );
  });

  it('stands alone: what a segment before it held as well is in it again', async () => {
    const groups = fc.array(fc.array(oddEvents, { minLength: 1, maxLength: 10 }), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(groups, async (all) => {
        const read: UsageEvent[][] = [];
        const store = { appendSegment: async (segment: NewSegment) => void read.push(readSegment(segment)) };
        const journal = new Journal(store, 'node', 1000, (error) => {
          throw error;
        });
        for (const group of all) {
          for (const one of group) journal.append(one);
          await journal.flush();
        }
        expect(read).toEqual(all);
      }),
      { numRuns: 100 },
    );
  });

  it('holds more different names than are remembered', () => {
    const events = Array.from({ length: 10_000 }, (_, at) => busyEvent(at, { keyId: `key_${at % 5000}` }));
    expect(readSegment(writeSegment('node', events))).toEqual(events);
  });

  it('takes less than 120 bytes an event on a busy road, also where a budget applies', async () => {
    const groups = ['group_a', 'group_b'];
    const spendOf = (at: number) => ({
      cost: 123_456 + at,
      unpriced: false,
      priceVersion: 'abcdef012345',
      lease: 'lease_0123456789ab0123456789abcdef0123',
      endUser: `user-${at % 16}`,
      groups,
    });
    const plain = await segmentOf(Array.from({ length: 400 }, (_, at) => busyEvent(at)));
    const charged = await segmentOf(
      Array.from({ length: 400 }, (_, at) => busyEvent(at, { spend: spendOf(at) })),
    );
    expect(plain.payload.length / 400).toBeLessThan(100);
    expect(charged.payload.length / 400).toBeLessThan(120);
  });

  it('names a call and a lease in its bytes, so that others are passed over unread', () => {
    const spend = { cost: 1, unpriced: false, priceVersion: 'v', lease: 'lease_1', endUser: null };
    const bytes = Buffer.from(writeSegment('node', [busyEvent(7, { spend })]).payload);
    expect(bytes.includes(busyEvent(7).requestId)).toBe(true);
    expect(bytes.includes('lease_1')).toBe(true);
  });

  it('lists counts in the order of the roll-ups’ columns', () => {
    expect(COUNTS).toEqual(KINDS);
  });

  it('of an older format is read as it was written', () => {
    const spend = { cost: 123, unpriced: true, priceVersion: 'abc', lease: 'lease_1', endUser: 'a "b"' };
    const events = [
      event({}),
      event({ modelAsked: 'é\n"', batch: true }),
      event({ spend }),
      event({ outcome: 'budget_stop', spend: { ...spend, endUser: null, groups: ['group_a', 'group_b'] } }),
    ];
    for (const format of [1, 2, 3] as const) {
      const segment = olderSegment(format, events);
      expect(readSegment(segment)).toEqual(events);
      expect(scanned(shared(segment))).toEqual(events.map(withoutCall));
    }
  });

  it('that was damaged, or is of a newer version, is refused', () => {
    const segment = writeSegment('node', [event({}), event({})]);
    for (const read of [readSegment, scanned]) {
      expect(() => read({ ...segment, format: 5 })).toThrow('unknown format 5');
      expect(() => read({ ...segment, crc: crc32('else') })).toThrow('damaged');
      expect(() => read({ ...segment, events: 3 })).toThrow('damaged');
    }
  });
});

const OTHERS: readonly unknown[] = [null, -1, 1.5, 'x', [], {}, true, 2 ** 53, 7];

/** A segment, and what of each of its values a damaged one might have instead, by both readings. */
function refusals(segment: NewSegment): number {
  const lines = linesOf(segment);
  let refused = 0;
  const tryAll = (value: unknown, put: (other: unknown) => unknown[], path: string): void => {
    for (const other of OTHERS) {
      const changed = withPayload(segment, textOf(put(other)));
      const one = outcome(() => readSegment(changed));
      expect(
        outcome(() => scanned(changed)),
        `${path}: ${JSON.stringify(other)}`,
      ).toBe(one);
      if (one === 'refused') refused++;
    }
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      const with_ = (other: unknown) =>
        Array.isArray(value)
          ? value.map((each, at) => (String(at) === key ? other : each))
          : { ...value, [key]: other };
      tryAll(inner, (other) => put(with_(other)), `${path}.${key}`);
    }
    // One value more, and one less.
    if (!Array.isArray(value)) return;
    for (const other of [[...value, 0], value.slice(0, -1)]) {
      const changed = withPayload(segment, textOf(put(other)));
      const one = outcome(() => readSegment(changed));
      expect(
        outcome(() => scanned(changed)),
        `${path}: length`,
      ).toBe(one);
      if (one === 'refused') refused++;
    }
  };
  for (const [at, line] of lines.entries())
    tryAll(line, (other) => lines.map((each, index) => (index === at ? other : each)), `line ${at}`);
  return refused;
}

describe('both ways of reading a segment', () => {
  const spend = { cost: 1, unpriced: false, priceVersion: 'a', lease: 'b', endUser: 'c', groups: ['d'] };

  it('refuse the same, whichever value is not of the layout', () => {
    expect(refusals(writeSegment('node', [event({ spend }), event({ at: 5 })]))).toBeGreaterThan(300);
  });

  it('refuse the same of an older format', () => {
    expect(refusals(olderSegment(3, [event({ spend })]))).toBeGreaterThan(200);
  });

  it('refuse lists that are longer than there are events, and numbers beyond the lists', () => {
    const segment = writeSegment('node', [event({}), event({})]);
    const [one, other, lists] = linesOf(segment);
    const { who, ...rest } = lists as { who: unknown[] };
    const long = withPayload(
      segment,
      textOf([one, other, { at: 0, who: [who[0], who[0], who[0]], ...rest }]),
    );
    for (const read of [readSegment, scanned]) expect(() => read(long)).toThrow();
    const beyond = Buffer.from(segment.payload).toString().replace(',0,0,', ',0,1,');
    for (const read of [readSegment, scanned]) expect(() => read(withPayload(segment, beyond))).toThrow();
  });

  it('refuse numbers that JSON does not have', () => {
    const segment = writeSegment('node', [event({ at: 5, usage: { ...event({}).usage, input: 12 } })]);
    const text = Buffer.from(segment.payload).toString();
    for (const number of ['012', '00', '+1', '', '1e2x', '0x1', '99999999999999999999']) {
      const changed = withPayload(segment, text.replace('[12]', `[${number}]`));
      for (const read of [readSegment, scanned])
        if (number !== '') expect(() => read(changed), number).toThrow();
        else expect(read(changed)).toHaveLength(1);
    }
  });
});
