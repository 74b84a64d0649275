// Scans a segment of format 1, 2 or 3, which wrote every name with every event (read.ts).

import type { EventSpend, Usage } from '../usage.ts';
import { NEWLINE } from './ascii.ts';
import { count, flag, kinds, list, outcome, source, text } from './check.ts';
import type { EventSink } from './scan.ts';

const FIELDS = 31;

/** How many events there are. */
export function scanOlder<W, T>(bytes: Buffer, sink: EventSink<W, T>): number {
  let events = 0;
  for (let at = 0; at < bytes.length; events++) {
    const next = bytes.indexOf(NEWLINE, at);
    const end = next < 0 ? bytes.length : next;
    addLine(bytes.toString('utf8', at, end), sink);
    at = end + 1;
  }
  return events;
}

function addLine<W, T>(line: string, sink: EventSink<W, T>): void {
  const at = list(JSON.parse(line), FIELDS, FIELDS + 1);
  const who = {
    organizationId: text(at[2]),
    projectId: text(at[3]),
    keyId: text(at[4]),
    ownerId: text(at[5]),
  };
  const what = {
    operation: text(at[6]),
    modelAsked: text(at[7]),
    modelServed: text(at[8]),
    provider: text(at[9]),
    status: count(at[10]),
    outcome: outcome(at[11]),
    streamed: flag(at[12]),
    serviceTier: text(at[15]),
    source: source(at[16]),
    ...kinds(at[17]),
  };
  // The call's id and times are checked as all is, though nobody asks for them here.
  text(at[0]);
  count(at[13]);
  count(at[14]);
  sink.add(sink.who(who), sink.what(what), count(at[1]), usageIn(at), spendIn(at[FIELDS]));
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

function spendIn(value: unknown): EventSpend | null {
  if (value === undefined) return null;
  const [cost, unpriced, priceVersion, lease, endUser, groups] = list(value, 5, 6);
  return {
    cost: count(cost),
    unpriced: flag(unpriced),
    priceVersion: text(priceVersion),
    lease: text(lease),
    endUser: endUser === null ? null : text(endUser),
    ...(groups === undefined ? {} : { groups: text(groups).split(' ') }),
  };
}
