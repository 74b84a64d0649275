// Replays recorded usage against a proposed table of limits: what would have been refused, by project and by model.
//
// Pure: the same events and the same table give the same result; a day takes as long as its events take to read. Each
// event is a call that arrived at `at` and used the tokens, images and audio that were recorded. What differs from
// what would really have happened, and is stated with the result:
// - A call is charged what it used, at once, not its reservation: the recorded call does not know its max_tokens.
// - A refused call is not tried again, and the calls that followed from its answer are still there.
// - Limits of end users are not replayed: events do not hold who the end user was.

import { ManualClock } from '../platform/clock.ts';
import type { UsageEvent } from '../spend/usage.ts';
import { type Caller, drawnPools, longContextAbove, type TierOf } from './draw.ts';
import { MemoryLimiter } from './memory.ts';
import type { Cover, Dimension, Scope } from './model.ts';
import { Plans } from './plans.ts';
import type { LimitTables } from './tables.ts';

/** The part of a usage event that limits look at. */
export type ReplayedEvent = Pick<
  UsageEvent,
  'requestId' | 'at' | 'organizationId' | 'projectId' | 'keyId' | 'ownerId' | 'modelAsked'
> & { readonly usage: Pick<UsageEvent['usage'], 'input' | 'output' | 'images' | 'audioMs'> };

export interface Simulation {
  readonly calls: number;
  readonly refused: number;
  /** Tokens of all calls, and of those refused. */
  readonly tokens: number;
  readonly refusedTokens: number;
  /** Events that were older than the one before them; they count as made at the same instant. */
  readonly outOfOrder: number;
  /** The instants of the first and the last event, milliseconds since the epoch; null without events. */
  readonly from: number | null;
  readonly to: number | null;
  readonly byProject: readonly SimulatedShare[];
  readonly byModel: readonly SimulatedShare[];
  /** The limits that refused, the most frequent first. */
  readonly byLimit: readonly SimulatedLimit[];
  /** The first calls that would have been refused. */
  readonly examples: readonly SimulatedRefusal[];
}

export interface SimulatedShare {
  readonly name: string;
  readonly calls: number;
  readonly refused: number;
  readonly tokens: number;
  readonly refusedTokens: number;
}

export interface SimulatedLimit {
  readonly scope: Scope;
  readonly subject: string;
  readonly cover: Cover;
  readonly name: string;
  readonly dimension: Dimension;
  readonly limit: number;
  readonly refused: number;
}

export interface SimulatedRefusal {
  readonly requestId: string;
  readonly at: number;
  readonly message: string;
}

const EXAMPLES = 20;

class Share {
  calls = 0;
  refused = 0;
  tokens = 0;
  refusedTokens = 0;
}

/**
 * Replays `events`, oldest first, against `tables`.
 * @param tierOf the tier of each organization, as it is today; without it every organization sits in the lowest
 */
export async function simulate(
  tables: LimitTables,
  events: Iterable<ReplayedEvent> | AsyncIterable<ReplayedEvent>,
  tierOf?: TierOf,
): Promise<Simulation> {
  const clock = new ManualClock();
  const limiter = new MemoryLimiter({ clock });
  const plans = new Plans(50_000);
  const total = new Share();
  const byProject = new Map<string, Share>();
  const byModel = new Map<string, Share>();
  const byLimit = new Map<string, { -readonly [K in keyof SimulatedLimit]: SimulatedLimit[K] }>();
  const examples: SimulatedRefusal[] = [];
  let outOfOrder = 0;
  let from: number | null = null;
  let to: number | null = null;

  for await (const event of events) {
    from ??= event.at;
    if (to !== null && event.at < to) outOfOrder++;
    else {
      clock.advance(event.at - (to ?? event.at));
      to = event.at;
    }
    const tokens = event.usage.input + event.usage.output;
    const verdict = limiter.admit({
      requestId: event.requestId,
      organizationId: event.organizationId,
      model: modelOf(event),
      pools: poolsOf(tables, event, plans, tierOf),
      amounts: [1, tokens, event.usage.images, Math.ceil(event.usage.audioMs / 1000), 0],
    });
    const shares = [total, share(byProject, event.projectId), share(byModel, event.modelAsked)];
    for (const each of shares) {
      each.calls++;
      each.tokens += tokens;
      if (!verdict.admitted) {
        each.refused++;
        each.refusedTokens += tokens;
      }
    }
    if (verdict.admitted || verdict.pool === null) continue;
    const { subject, line, rate } = verdict.pool;
    const key = `${line.id}:${rate.id}:${subject.id}`;
    const limit = byLimit.get(key);
    if (limit !== undefined) limit.refused++;
    else {
      const { scope, cover, name, dimension } = line;
      byLimit.set(key, {
        scope,
        subject: subject.id,
        cover,
        name,
        dimension,
        limit: rate.amount,
        refused: 1,
      });
    }
    if (examples.length < EXAMPLES) {
      examples.push({ requestId: event.requestId, at: event.at, message: verdict.error().message });
    }
  }

  return {
    ...total,
    outOfOrder,
    from,
    to,
    byProject: sorted(byProject),
    byModel: sorted(byModel),
    byLimit: [...byLimit.values()].sort((a, b) => b.refused - a.refused),
    examples,
  };
}

function modelOf(event: ReplayedEvent): string | null {
  return event.modelAsked === '' ? null : event.modelAsked;
}

function poolsOf(tables: LimitTables, event: ReplayedEvent, plans: Plans, tierOf: TierOf | undefined) {
  const model = modelOf(event);
  const known = plans.get(event.keyId, model);
  const above = known?.above ?? longContextAbove(tables, model);
  const long = event.usage.input > above;
  if (known !== undefined) return long ? known.longPools : known.pools;
  const caller: Caller = {
    organizationId: event.organizationId,
    projectId: event.projectId,
    keyId: event.keyId,
    ownerType: event.ownerId.startsWith('svc_acct_') ? 'service_account' : 'user',
    ownerId: event.ownerId,
    endUser: null,
    model,
  };
  const pools = drawnPools(tables, caller, false, tierOf, plans.make);
  const longPools =
    above === Number.POSITIVE_INFINITY ? [] : drawnPools(tables, caller, true, tierOf, plans.make);
  plans.add({
    keyId: event.keyId,
    model,
    pools,
    endUser: [],
    above,
    longPools,
    longEndUser: [],
    usualReply: 0,
    next: null,
    following: 0,
  });
  return long ? longPools : pools;
}

function share(shares: Map<string, Share>, name: string): Share {
  let known = shares.get(name);
  if (known === undefined) {
    known = new Share();
    shares.set(name, known);
  }
  return known;
}

/** The most refused first, then the most used. */
function sorted(shares: ReadonlyMap<string, Share>): SimulatedShare[] {
  return [...shares]
    .map(([name, each]) => ({ name, ...each }))
    .sort((a, b) => b.refused - a.refused || b.calls - a.calls || (a.name < b.name ? -1 : 1));
}
