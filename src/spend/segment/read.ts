// Reads a usage segment of any format, checked as what comes from outside: for whoever needs single calls again. Folding
// reads the same without this module's library (scan.ts).
//
// Formats 1 to 3 are a JSON array a line, with every name in it. Format 1 had no spend; format 2 had no groups in it and
// did not tell lines of batches.

import { z } from 'zod';
import type { UsageSegmentTable } from '../../store/schema.ts';
import { type EventSpend, noUsage, type Usage, type UsageEvent } from '../usage.ts';
import { checkedPayload, chosen, Misfit } from './check.ts';
import { COUNTS, FORMAT, type Spent, type What, type Who } from './layout.ts';

const Text = z.string();
const Count = z.number().int().nonnegative();
const Flag = z.union([z.literal(0), z.literal(1)]);
const Outcomes = z.enum(['ok', 'provider_error', 'client_closed', 'provider_cut', 'timeout', 'budget_stop']);
const Sources = z.enum(['provider', 'counted', 'none']);
/** 1: a test key's call; 2: a line of a batch. */
const Kinds = z.int().min(0).max(3);

const WhoFields = z.tuple([Text, Text, Text, Text]);
const WhatFields = z.tuple([Text, Text, Text, Text, Text, Sources, Outcomes, Count, Flag, Kinds]);
const SpentFields = z.tuple([Flag, Text, Text, Text.nullable(), z.array(Text).optional()]);
const Lists = z.strictObject({
  at: Count,
  who: z.array(WhoFields),
  what: z.array(WhatFields),
  spent: z.array(SpentFields),
});
const Line = z.tuple([
  Text,
  z.int(),
  Count,
  Count,
  Count,
  Count,
  z.array(Count).max(COUNTS.length),
  z.tuple([Count, Count]).optional(),
]);

const OlderSpend = z.tuple([Count, Flag, Text, Text, Text.nullable(), Text.optional()]);
// biome-ignore format: one row a group of fields
const OlderLine = z.tuple([
  Text, Count, Text, Text, Text, Text, Text, Text, Text, Text,
  Count, Outcomes, Flag, Count, Count, Text, Sources, Kinds,
  Count, Count, Count, Count, Count, Count, Count, Count, Count, Count, Count, Count, Count,
  OlderSpend.optional(),
]);

/** The events of a segment. Throws when its checksum or its form is wrong: it was damaged. */
export function readSegment(segment: Omit<UsageSegmentTable, 'seq'>): UsageEvent[] {
  const lines = checkedPayload(segment).toString('utf8').trimEnd().split('\n');
  const events = segment.format === FORMAT ? eventsIn(lines, segment.events) : lines.map(olderEvent);
  if (events.length !== segment.events) throw new Error('usage segment is damaged: events are missing');
  return events;
}

function eventsIn(lines: readonly string[], count: number): UsageEvent[] {
  const lists = Lists.parse(JSON.parse(lines.at(-1) ?? ''));
  if (Math.max(lists.who.length, lists.what.length, lists.spent.length) > count) throw new Misfit();
  const who = lists.who.map(whoIn);
  const what = lists.what.map(whatIn);
  const spent = lists.spent.map(spentIn);
  return lines.slice(0, -1).map((line) => {
    const [requestId, after, whoAt, whatAt, firstByteMs, durationMs, counts, charge] = Line.parse(
      JSON.parse(line),
    );
    const at = lists.at + after;
    if (at < 0) throw new Misfit();
    return {
      requestId,
      at,
      ...chosen(who, whoAt),
      ...chosen(what, whatAt),
      firstByteMs,
      durationMs,
      usage: usageIn(counts),
      spend: charge === undefined ? null : { ...chosen(spent, charge[0]), cost: charge[1] },
    };
  });
}

function whoIn([organizationId, projectId, keyId, ownerId]: z.infer<typeof WhoFields>): Who {
  return { organizationId, projectId, keyId, ownerId };
}

function whatIn(fields: z.infer<typeof WhatFields>): What {
  const [
    operation,
    modelAsked,
    modelServed,
    provider,
    serviceTier,
    source,
    outcome,
    status,
    streamed,
    kinds,
  ] = fields;
  return {
    operation,
    modelAsked,
    modelServed,
    provider,
    serviceTier,
    source,
    outcome,
    status,
    streamed: streamed === 1,
    test: (kinds & 1) !== 0,
    batch: (kinds & 2) !== 0,
  };
}

function spentIn([unpriced, priceVersion, lease, endUser, groups]: z.infer<typeof SpentFields>): Spent {
  return {
    unpriced: unpriced === 1,
    priceVersion,
    lease,
    endUser,
    ...(groups === undefined ? {} : { groups }),
  };
}

function usageIn(counts: readonly number[]): Usage {
  const usage = noUsage();
  for (const [at, kind] of COUNTS.entries()) usage[kind] = counts[at] ?? 0;
  return usage;
}

function olderEvent(text: string): UsageEvent {
  const f = OlderLine.parse(JSON.parse(text));
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
    usage: olderUsage(f),
    spend: olderSpend(f[31]),
  };
}

function olderUsage(f: z.infer<typeof OlderLine>): Usage {
  return {
    input: f[18],
    cachedInput: f[19],
    cacheWrite: f[20],
    output: f[21],
    reasoning: f[22],
    audioInput: f[23],
    audioOutput: f[24],
    imageInput: f[25],
    imageOutput: f[26],
    images: f[27],
    audioMs: f[28],
    characters: f[29],
    searches: f[30],
  };
}

function olderSpend(fields: z.infer<typeof OlderSpend> | undefined): EventSpend | null {
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
