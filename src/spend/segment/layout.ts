// What a usage segment holds, and how format 4 lays it out; write.ts writes it, read.ts reads it and every older one.
//
//   ["req_…",12,3,5,240,900,[500,0,0,700],[2,123456]]       an event a line
//   {"at":1764086400000,"who":[…],"what":[…],"spent":[…]}   the last line
//
// An event is its id, its time as milliseconds from `at`, the numbers of its `who` and its `what`, the time to the first
// byte and to the end, and what it used, in the order of COUNTS and without trailing zeros. Where a budget applied, the
// number of its `spent` and the nano-dollars follow. The lists of the last line hold what recurs; none is longer than
// there are events. Some 75 bytes an event and 10 where a budget applied, and a hundred to two hundred for each entry of
// a list; format 3, which wrote all of it with every event, took 350 and 80. Ids and names are those of the events; a
// prompt or a reply is never in it.

import type { EventSpend, Usage, UsageEvent } from '../usage.ts';

export const FORMAT = 4;

/** Whose call it was. */
export type Who = Pick<UsageEvent, 'organizationId' | 'projectId' | 'keyId' | 'ownerId'>;

/** What it asked for, and what came of it. */
export type What = Pick<
  UsageEvent,
  | 'operation'
  | 'modelAsked'
  | 'modelServed'
  | 'provider'
  | 'serviceTier'
  | 'source'
  | 'outcome'
  | 'status'
  | 'streamed'
  | 'test'
  | 'batch'
>;

/** To what it was charged. */
export type Spent = Omit<EventSpend, 'cost'>;

/** The order in which counts are written. */
export const COUNTS = [
  'input',
  'cachedInput',
  'cacheWrite',
  'output',
  'reasoning',
  'audioInput',
  'audioOutput',
  'imageInput',
  'imageOutput',
  'images',
  'audioMs',
  'characters',
  'searches',
] as const satisfies readonly (keyof Usage)[];
