// Recent verdicts, kept for `limits explain`: which pools a call touched, what it asked of each, and which refused it.
// A ring of fixed size: the newest verdict takes the place of the oldest. It holds ids and counts, no prompt.

import type { Clock } from '../platform/clock.ts';
import type { Verdict } from './limiter.ts';
import type { Cover, Dimension, Pool, Scope } from './model.ts';

export interface Explanation {
  readonly requestId: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly organizationId: string;
  readonly model: string | null;
  readonly outcome: 'admitted' | 'limit' | 'too_large' | 'unavailable';
  /** Milliseconds that a refused call was told to wait; null when waiting does not help. */
  readonly waitMs: number | null;
  readonly pools: readonly ExplainedPool[];
}

export interface ExplainedPool {
  readonly scope: Scope;
  readonly subject: string;
  readonly cover: Cover;
  readonly name: string;
  readonly dimension: Dimension;
  readonly limit: number;
  /** Tokens, requests, … that were reserved or asked for; 0: the pool was only looked at. */
  readonly requested: number;
  /** Whether this pool had no room. */
  readonly refused: boolean;
  /** What was used before, of a pool that refused; null of the others. */
  readonly used: number | null;
}

export class Decisions {
  private readonly clock: Clock;
  private readonly verdicts: (Verdict | undefined)[];
  private readonly times: Float64Array;
  private next = 0;

  /** @param capacity verdicts kept, about 300 bytes each */
  constructor(clock: Clock, capacity = 8_192) {
    this.clock = clock;
    this.verdicts = new Array<Verdict | undefined>(Math.max(1, capacity)).fill(undefined);
    this.times = new Float64Array(this.verdicts.length);
  }

  record(verdict: Verdict): void {
    this.verdicts[this.next] = verdict;
    this.times[this.next] = this.clock.now();
    this.next = this.next + 1 === this.verdicts.length ? 0 : this.next + 1;
  }

  /** The latest verdict on the call with this request id; undefined when it is not, or no longer, kept. */
  explain(requestId: string): Explanation | undefined {
    const { length } = this.verdicts;
    for (let back = 1; back <= length; back++) {
      const index = (this.next - back + length) % length;
      const verdict = this.verdicts[index];
      if (verdict?.demand.requestId === requestId) return explanation(verdict, this.times[index] ?? 0);
    }
    return undefined;
  }
}

function explanation(verdict: Verdict, at: number): Explanation {
  const { demand } = verdict;
  const refusedBy = verdict.admitted ? [] : verdict.refusedBy;
  return {
    requestId: demand.requestId,
    at,
    organizationId: demand.organizationId,
    model: demand.model,
    outcome: verdict.admitted ? 'admitted' : verdict.reason,
    waitMs: verdict.admitted || !Number.isFinite(verdict.waitMs) ? null : verdict.waitMs,
    pools: demand.pools.map((pool) => {
      const refusal = refusedBy.find((level) => sameBucket(level.pool, pool));
      return {
        scope: pool.subject.scope,
        subject: pool.subject.id,
        cover: pool.line.cover,
        name: pool.line.name,
        dimension: pool.line.dimension,
        limit: pool.rate.amount,
        requested: demand.amounts[pool.line.facts.quantity],
        refused: refusal !== undefined,
        used: refusal?.used ?? null,
      };
    }),
  };
}

function sameBucket(a: Pool, b: Pool): boolean {
  return a.line === b.line && a.subject.id === b.subject.id;
}
