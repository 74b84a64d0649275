// Usage segments: what is written now, and what an earlier version wrote.

import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { Journal, readSegment } from '../../src/spend/journal.ts';
import { noUsage, type UsageEvent } from '../../src/spend/usage.ts';
import type { NewSegment } from '../../src/store/store.ts';

const EVENT: UsageEvent = {
  requestId: 'req_1',
  at: 5,
  organizationId: 'org-1',
  projectId: 'proj_1',
  keyId: 'key_1',
  ownerId: 'user-1',
  operation: 'chat.completions.create',
  modelAsked: 'm"',
  modelServed: 'm',
  provider: 'mock',
  status: 200,
  outcome: 'ok',
  streamed: false,
  firstByteMs: 1,
  durationMs: 2,
  serviceTier: '',
  source: 'provider',
  usage: { ...noUsage(), input: 3 },
  test: false,
  batch: false,
  spend: null,
};

async function segmentOf(events: readonly UsageEvent[]): Promise<NewSegment> {
  const kept: NewSegment[] = [];
  const store = {
    appendSegment: async (segment: NewSegment) => {
      kept.push({ ...segment, payload: Buffer.from(segment.payload) });
    },
  };
  const journal = new Journal(store, 'node', 100, () => {});
  for (const event of events) {
    journal.take();
    journal.append(event);
  }
  await journal.close();
  const [segment] = kept;
  if (segment === undefined) throw new Error('nothing was written');
  return segment;
}

describe('a usage segment', () => {
  it('keeps what a call cost, under which prices and lease, and for which end user', async () => {
    const spend = { cost: 123, unpriced: true, priceVersion: 'abc', lease: 'lease_1', endUser: 'a "b"' };
    const events = [
      EVENT,
      { ...EVENT, spend },
      { ...EVENT, batch: true },
      { ...EVENT, batch: true, test: true },
      { ...EVENT, spend: { ...spend, unpriced: false, endUser: null } },
      { ...EVENT, outcome: 'budget_stop' as const, spend: { ...spend, groups: ['group_a', 'group_b'] } },
    ];
    expect(readSegment(await segmentOf(events))).toEqual(events);
  });

  it('of the first format is read, with no spend', async () => {
    const segment = await segmentOf([EVENT]);
    expect(segment.format).toBe(3);
    for (const format of [1, 2]) expect(readSegment({ ...segment, format })).toEqual([EVENT]);
    expect(() => readSegment({ ...segment, format: 4 })).toThrow('unknown format 4');
    expect(() => readSegment({ ...segment, crc: crc32('else') })).toThrow('damaged');
  });
});
