// What the road calls: rate limits of a table, kept by a limiter.
//
//     const verdict = limits.admit(call, later);   // at once, or by `later` when it is undefined
//     if (!verdict.admitted) → verdict.error()     // 429 or 503, with its headers
//     headers: rateLimitHeaders(verdict.standing)
//     limits.settle(verdict, { tokens });          // after the reply; or limits.release(verdict) if none was asked for
//
// The pools of a caller and a model are found once and kept until the table changes, at most `plans` of them.
//
// The exact count of a prompt is asked for in two cases only: the guess leaves open on which side of a long-context
// threshold the call lies, or the guess is refused where the lowest it may be would pass.

import type { Clock } from '../platform/clock.ts';
import {
  type Caller,
  drawnPools,
  endUserLines,
  endUserSubject,
  longContextAbove,
  type TierOf,
} from './draw.ts';
import { charged } from './estimate.ts';
import { Decisions, type Explanation } from './explain.ts';
import type { Admission, Levels, Limiter, Used, Verdict } from './limiter.ts';
import { BATCH_TOKENS, type Demand, type LimitedCall, Pool, TOKENS } from './model.ts';
import { type Plan, Plans } from './plans.ts';
import { type LimitTables, usualReply } from './tables.ts';

export interface RateLimitsOptions {
  readonly tables: LimitTables;
  readonly limiter: Limiter;
  readonly clock: Clock;
  /** The tier that an organization sits in; without it, or undefined: the lowest, unless the table pins another. */
  readonly tierOf?: TierOf;
  /** Verdicts kept for `explain`. Default 8,192. */
  readonly decisions?: number;
  /** Callers and models whose pools are kept. Default 50,000. */
  readonly plans?: number;
}

/** A batch in the queue: whose it is, for which model, and the prompt tokens of its requests together. */
export interface QueuedBatch {
  readonly requestId: string;
  readonly caller: Caller;
  readonly tokens: number;
}

export class RateLimits {
  private tables: LimitTables;
  private readonly limiter: Limiter;
  private readonly decisions: Decisions;
  private readonly tierOf: TierOf | undefined;
  private readonly plans: Plans;

  constructor(options: RateLimitsOptions) {
    this.tables = options.tables;
    this.limiter = options.limiter;
    this.decisions = new Decisions(options.clock, options.decisions);
    this.tierOf = options.tierOf;
    this.plans = new Plans(options.plans ?? 50_000);
  }

  /**
   * Whether the call may go on. Takes from all of its limits, or from none. Returns the verdict if it is known at once;
   * otherwise undefined, and `done` is called exactly once, later. If the call has ended by then, release the admission.
   */
  admit(call: LimitedCall, done: (verdict: Verdict) => void): Verdict | undefined {
    const plan = this.plans.get(call.keyId, call.model) ?? this.plan(call);
    const { prompt, countPrompt } = call;
    if (countPrompt !== undefined && prompt.low <= plan.above && prompt.high > plan.above) {
      return this.count(call, plan, countPrompt, done);
    }
    const verdict = this.limiter.admit(this.demandOf(call, plan, prompt.likely), (later) => {
      const final = this.weigh(call, plan, later, done);
      if (final !== undefined) done(final);
    });
    return verdict === undefined ? undefined : this.weigh(call, plan, verdict, done);
  }

  /**
   * Whether a batch of `tokens` prompt tokens fits into the queue; it is held until it is released, or settled down with
   * `batchTokens`. Returns as `admit` does.
   */
  admitBatch(batch: QueuedBatch, done: (verdict: Verdict) => void): Verdict | undefined {
    const demand: Demand = {
      requestId: batch.requestId,
      organizationId: batch.caller.organizationId,
      model: batch.caller.model,
      pools: this.queuePools(batch.caller),
      amounts: [0, 0, 0, 0, batch.tokens],
    };
    const verdict = this.limiter.admit(demand, (later) => {
      this.decisions.record(later);
      done(later);
    });
    if (verdict !== undefined) this.decisions.record(verdict);
    return verdict;
  }

  /** Sets what the queue's pools hold to the sum of these batches: at a start, from the store, which knows the truth. */
  holdBatches(batches: Iterable<QueuedBatch>): void {
    const held = new Map<string, { pool: Pool; tokens: number }>();
    for (const { caller, tokens } of batches) {
      for (const pool of this.queuePools(caller)) {
        const key = `${pool.line.id}:${pool.subject.id}`;
        const sum = held.get(key);
        if (sum === undefined) held.set(key, { pool, tokens });
        else sum.tokens += tokens;
      }
    }
    this.limiter.hold([...held.values()]);
  }

  private queuePools(caller: Caller): readonly Pool[] {
    return this.poolsOf(caller).filter((pool) => pool.quantity === BATCH_TOKENS);
  }

  /** What the call really used. `tokens`: prompt and reply together. Counts once; see Limiter.settle. */
  settle(admission: Admission, used: Used): void {
    admission.by.settle(admission, used);
  }

  /** Gives everything back: the call was not sent to a provider. */
  release(admission: Admission): void {
    admission.by.release(admission);
  }

  /** A new table, or an organization in another tier: from now on its limits hold, with the levels as they are. */
  change(tables: LimitTables = this.tables): void {
    this.tables = tables;
    this.plans.clear();
  }

  /** The verdict on a recent call, pool by pool; undefined when it is no longer kept. */
  explain(requestId: string): Explanation | undefined {
    return this.decisions.explain(requestId);
  }

  /** The pools that a caller's calls draw on. */
  poolsOf(caller: Caller, long = false): readonly Pool[] {
    return drawnPools(this.tables, caller, long, this.tierOf);
  }

  /** The levels of pools, in order; by return or by `done`, as `admit`. */
  levels(pools: readonly Pool[], done: (levels: Levels) => void): Levels | undefined {
    return this.limiter.levels(pools, done);
  }

  /** Fills the buckets of pools: an administrator's act. */
  refill(pools: readonly Pool[]): void {
    this.limiter.refill(pools);
  }

  /** Sends what is still to be settled, and lets go of the limiter. */
  close(): Promise<void> {
    return this.limiter.close();
  }

  private count(
    call: LimitedCall,
    plan: Plan,
    countPrompt: NonNullable<LimitedCall['countPrompt']>,
    done: (verdict: Verdict) => void,
  ): Verdict | undefined {
    let waiting = false;
    let known: Verdict | undefined;
    const decided = (verdict: Verdict): void => {
      this.decisions.record(verdict);
      if (waiting) done(verdict);
      else known = verdict;
    };
    countPrompt((tokens) => {
      const verdict = this.limiter.admit(this.demandOf(call, plan, wholeTokens(tokens)), decided);
      if (verdict !== undefined) decided(verdict);
    });
    waiting = true;
    return known;
  }

  /** Settles on a verdict, unless an exact count could turn it. */
  private weigh(
    call: LimitedCall,
    plan: Plan,
    verdict: Verdict,
    done: (verdict: Verdict) => void,
  ): Verdict | undefined {
    if (!verdict.admitted && call.countPrompt !== undefined && verdict.refusedBy.length > 0) {
      const least = this.chargeOf(call, plan, call.prompt.low);
      const open = verdict.refusedBy.every(
        ({ pool, remaining }) => pool.quantity === TOKENS && least <= remaining,
      );
      if (open && call.prompt.low < call.prompt.likely) return this.count(call, plan, call.countPrompt, done);
    }
    this.decisions.record(verdict);
    return verdict;
  }

  private demandOf(call: LimitedCall, plan: Plan, prompt: number): Demand {
    const long = prompt > plan.above;
    let pools = long ? plan.longPools : plan.pools;
    const endUser = long ? plan.longEndUser : plan.endUser;
    if (call.endUser !== null && endUser.length > 0) {
      const subject = endUserSubject(call, call.endUser);
      pools = pools.concat(endUser.map(({ line, rate }) => new Pool(subject, line, rate)));
    }
    return {
      requestId: call.requestId,
      organizationId: call.organizationId,
      model: call.model,
      pools,
      amounts: [1, this.chargeOf(call, plan, prompt), call.images, call.audioSeconds, 0],
    };
  }

  private chargeOf(call: LimitedCall, plan: Plan, prompt: number): number {
    return charged(this.tables, prompt, (call.replyTokens ?? plan.usualReply) * call.choices);
  }

  private plan(call: LimitedCall): Plan {
    const { tables, tierOf } = this;
    const above = longContextAbove(tables, call.model);
    const nobody: Caller = { ...call, endUser: null };
    const has = above !== Number.POSITIVE_INFINITY;
    const { make } = this.plans;
    const plan: Plan = {
      keyId: call.keyId,
      model: call.model,
      pools: drawnPools(tables, nobody, false, tierOf, make),
      endUser: endUserLines(tables, nobody, false),
      above,
      longPools: has ? drawnPools(tables, nobody, true, tierOf, make) : [],
      longEndUser: has ? endUserLines(tables, nobody, true) : [],
      usualReply: call.model === null ? 0 : usualReply(tables, call.model),
      next: null,
      following: 0,
    };
    this.plans.add(plan);
    return plan;
  }
}

function wholeTokens(tokens: number): number {
  return tokens > 0 ? Math.ceil(tokens) : 0;
}
