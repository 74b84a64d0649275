// Usage events with odd names and numbers, and segments as earlier versions wrote them.

import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { COUNTS } from '../../src/spend/segment/layout.ts';
import type { EventSpend, Usage, UsageEvent } from '../../src/spend/usage.ts';
import type { NewSegment } from '../../src/store/store.ts';
import { event } from './rollup-events.ts';

/** Any text at all; some of it likely to trip a reader or a writer up. */
const texts = fc.oneof(
  fc.constantFrom(
    '',
    '"',
    '\\',
    '\\"',
    '\n',
    '\0',
    '\u2028',
    '\ud800',
    '\udc00x',
    '],[',
    'é',
    '\u{1f600}',
    'a b',
  ),
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
);
/** So that events meet in the lists. */
const names = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('a', 'b', 'c') },
  { weight: 1, arbitrary: texts },
);
const counts = fc.oneof(
  { weight: 4, arbitrary: fc.constant(0) },
  { weight: 4, arbitrary: fc.nat({ max: 20_000 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(9, 10, 99, 100, 2 ** 31 - 1, 2 ** 31, 10 ** 10, Number.MAX_SAFE_INTEGER),
  },
);

const usages: fc.Arbitrary<Usage> = fc.record({
  input: counts,
  cachedInput: counts,
  cacheWrite: counts,
  output: counts,
  reasoning: counts,
  audioInput: counts,
  audioOutput: counts,
  imageInput: counts,
  imageOutput: counts,
  images: counts,
  audioMs: counts,
  characters: counts,
  searches: counts,
});

const spends: fc.Arbitrary<EventSpend | null> = fc.option(
  fc
    .record({
      cost: fc.maxSafeNat(),
      unpriced: fc.boolean(),
      priceVersion: names,
      lease: names,
      endUser: fc.option(names),
      groups: fc.option(fc.array(names, { maxLength: 3 })),
    })
    .map(({ groups, ...spend }) => (groups === null ? spend : { ...spend, groups })),
);

/** Of every form that the types allow. */
export const oddEvents: fc.Arbitrary<UsageEvent> = fc.record({
  requestId: texts,
  at: fc.oneof(fc.nat({ max: 1000 }), fc.maxSafeNat()),
  organizationId: names,
  projectId: names,
  keyId: names,
  ownerId: names,
  operation: names,
  modelAsked: names,
  modelServed: names,
  provider: names,
  status: fc.constantFrom(200, 429, 499),
  outcome: fc.constantFrom('ok', 'provider_error', 'client_closed', 'provider_cut', 'timeout', 'budget_stop'),
  streamed: fc.boolean(),
  firstByteMs: counts,
  durationMs: counts,
  serviceTier: names,
  source: fc.constantFrom('provider', 'counted', 'none'),
  usage: usages,
  test: fc.boolean(),
  batch: fc.boolean(),
  spend: spends,
});

/** As it looks on a busy road: ids of full length, 64 keys of one organization. */
export function busyEvent(number: number, fields: Partial<UsageEvent> = {}): UsageEvent {
  const key = number % 64;
  const id = (prefix: string, of: number) => prefix + String(of).padStart(24, 'x');
  return event({
    requestId: `req_019abc${number.toString(16).padStart(26, '0')}`,
    at: 1_764_086_400_000 + (number >> 3),
    organizationId: id('org-', 0),
    projectId: id('proj_', key % 4),
    keyId: id('key_', key),
    ownerId: id('user-', key % 16),
    modelAsked: `gpt-5-mini-${number % 8}`,
    modelServed: `gpt-5-mini-${number % 8}-2026-08-07`,
    firstByteMs: 300 + (number % 100),
    durationMs: 1500 + (number % 500),
    usage: {
      ...event({}).usage,
      input: 500 + (number % 1000),
      cachedInput: number % 300,
      output: number % 700,
    },
    ...fields,
  });
}

/** What a version before format 4 wrote. */
export function olderSegment(format: 1 | 2 | 3, events: readonly UsageEvent[]): NewSegment {
  const lines = events.map((one) => `${JSON.stringify(olderFields(one))}\n`);
  const payload = Buffer.from(lines.join(''));
  const times = events.map(({ at }) => at);
  const span = { first_at: Math.min(...times), last_at: Math.max(...times), events: events.length };
  return { node: 'node', ...span, format, crc: crc32(payload), payload };
}

function olderFields(one: UsageEvent): readonly unknown[] {
  return [
    one.requestId,
    one.at,
    one.organizationId,
    one.projectId,
    one.keyId,
    one.ownerId,
    one.operation,
    one.modelAsked,
    one.modelServed,
    one.provider,
    one.status,
    one.outcome,
    one.streamed ? 1 : 0,
    one.firstByteMs,
    one.durationMs,
    one.serviceTier,
    one.source,
    (one.test ? 1 : 0) + (one.batch ? 2 : 0),
    ...COUNTS.map((kind) => one.usage[kind]),
    ...(one.spend === null ? [] : [olderSpend(one.spend)]),
  ];
}

function olderSpend({
  cost,
  unpriced,
  priceVersion,
  lease,
  endUser,
  groups,
}: EventSpend): readonly unknown[] {
  const fields = [cost, unpriced ? 1 : 0, priceVersion, lease, endUser];
  return groups === undefined ? fields : [...fields, groups.join(' ')];
}
