import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readSegment } from '../../src/spend/journal.ts';
import { segmentEvents } from '../../src/spend/rollup/segment.ts';
import { event, events } from './rollup-events.ts';
import { segmentOf } from './rollup-store.ts';

/** The same bytes in memory that threads share. */
function shared(payload: Uint8Array): Uint8Array<SharedArrayBuffer> {
  const copy = new Uint8Array(new SharedArrayBuffer(payload.byteLength));
  copy.set(payload);
  return copy;
}

const spends = fc.option(
  fc.record({
    cost: fc.maxSafeNat(),
    unpriced: fc.boolean(),
    priceVersion: fc.constantFrom('', 'abc'),
    lease: fc.constantFrom('', 'lease_1'),
    endUser: fc.option(fc.string({ unit: 'grapheme' })),
  }),
);
const names = fc.string({ unit: 'grapheme' });

describe('the roll-up’s reading of a segment', () => {
  it('gives the events that the journal’s own reading gives', async () => {
    const drawn = fc
      .tuple(events, spends, names, names)
      .map(([one, spend, modelAsked, modelServed]) => ({ ...one, spend, modelAsked, modelServed }));
    await fc.assert(
      fc.asyncProperty(fc.array(drawn, { minLength: 1, maxLength: 20 }), async (all) => {
        const segment = await segmentOf(all);
        const read = [...segmentEvents({ ...segment, payload: shared(segment.payload) })];
        expect(read).toEqual(readSegment(segment));
        expect(read).toEqual(all);
      }),
      { numRuns: 100 },
    );
  });

  it('refuses a line of another layout as the journal’s does, whichever field it is', async () => {
    const segment = await segmentOf([
      event({ spend: { cost: 1, unpriced: false, priceVersion: 'a', lease: 'b', endUser: 'c' } }),
    ]);
    const fields: unknown[] = JSON.parse(Buffer.from(segment.payload).toString());
    const others: unknown[] = [null, -1, 1.5, 'x', [], {}, true, 2 ** 53];
    let refused = 0;
    for (const [at] of fields.entries()) {
      for (const other of others) {
        const payload = Buffer.from(
          `${JSON.stringify(fields.map((field, index) => (index === at ? other : field)))}\n`,
        );
        const changed = { ...segment, crc: crc32(payload), payload };
        const result = (read: () => unknown) => {
          try {
            return read();
          } catch {
            return 'refused';
          }
        };
        const ours = result(() => [...segmentEvents({ ...changed, payload: shared(payload) })]);
        expect(ours, `field ${at}: ${JSON.stringify(other)}`).toEqual(result(() => readSegment(changed)));
        if (ours === 'refused') refused++;
      }
    }
    expect(refused).toBeGreaterThan(150);
  });
});
