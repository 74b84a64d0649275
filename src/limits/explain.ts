// Recent verdicts, kept for `limits explain`: which pools a call touched, what it asked of each, and which refused it.
// A ring of fixed size: the newest verdict takes the place of the oldest. It holds ids and counts, no prompt.

import type { Clock } from '../platform/clock.ts';
import type { Refusal, Verdict } from './limiter.ts';
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

/** Kept of every call beside its pools: five amounts, in the order of `Amounts`. */
const AMOUNTS = 5;
const ID_BYTES = 16;

/**
 * The ring. Of an admitted call, which is nearly every one, only numbers are kept, and references to what lives on
 * anyway: an object kept for some seconds would be copied into the old generation by the collector, and so would all
 * that it refers to, at a cost to the road beyond that of the limits themselves (measured).
 */
export class Decisions {
  private readonly clock: Clock;
  private readonly capacity: number;
  /** Request ids are `req_` and 32 hexadecimal digits: here as bytes. Others are not kept. */
  private readonly ids: Buffer;
  private readonly times: Float64Array;
  private readonly amounts: Float64Array;
  /** The pools of a caller and a model, made once and shared by its calls. */
  private readonly pools: (readonly Pool[] | undefined)[];
  private readonly models: (string | null)[];
  private readonly organizations: string[];
  private readonly refusals: (Refusal | undefined)[];
  private next = 0;

  /** @param capacity verdicts kept, about 120 bytes each */
  constructor(clock: Clock, capacity = 8_192) {
    this.clock = clock;
    this.capacity = Math.max(1, capacity);
    this.ids = Buffer.alloc(this.capacity * ID_BYTES);
    this.times = new Float64Array(this.capacity);
    this.amounts = new Float64Array(this.capacity * AMOUNTS);
    this.pools = new Array<readonly Pool[] | undefined>(this.capacity).fill(undefined);
    this.models = new Array<string | null>(this.capacity).fill(null);
    this.organizations = new Array<string>(this.capacity).fill('');
    this.refusals = new Array<Refusal | undefined>(this.capacity).fill(undefined);
  }

  record(verdict: Verdict): void {
    const { demand } = verdict;
    const at = this.next;
    if (this.ids.write(demand.requestId.slice(ID_PREFIX), at * ID_BYTES, 'hex') !== ID_BYTES) return;
    this.times[at] = this.clock.now();
    for (let i = 0; i < AMOUNTS; i++) this.amounts[at * AMOUNTS + i] = demand.amounts[i] ?? 0;
    this.pools[at] = demand.pools;
    // An equal text that is old already is kept in place of the call's own.
    if (this.models[at] !== demand.model) this.models[at] = demand.model;
    if (this.organizations[at] !== demand.organizationId) this.organizations[at] = demand.organizationId;
    if (!verdict.admitted || this.refusals[at] !== undefined) {
      this.refusals[at] = verdict.admitted ? undefined : verdict;
    }
    this.next = at + 1 === this.capacity ? 0 : at + 1;
  }

  /** The latest verdict on the call with this request id; undefined when it is not, or no longer, kept. */
  explain(requestId: string): Explanation | undefined {
    const wanted = Buffer.from(requestId.slice(ID_PREFIX), 'hex');
    if (wanted.length !== ID_BYTES) return undefined;
    for (let back = 1; back <= this.capacity; back++) {
      const at = (this.next - back + this.capacity) % this.capacity;
      const pools = this.pools[at];
      if (pools === undefined) return undefined;
      if (this.ids.compare(wanted, 0, ID_BYTES, at * ID_BYTES, (at + 1) * ID_BYTES) === 0) {
        return this.explanation(requestId, at, pools);
      }
    }
    return undefined;
  }

  private explanation(requestId: string, at: number, pools: readonly Pool[]): Explanation {
    const refusal = this.refusals[at];
    return {
      requestId,
      at: this.times[at] ?? 0,
      organizationId: this.organizations[at] ?? '',
      model: this.models[at] ?? null,
      outcome: refusal === undefined ? 'admitted' : refusal.reason,
      waitMs: refusal === undefined || !Number.isFinite(refusal.waitMs) ? null : refusal.waitMs,
      pools: pools.map((pool) => {
        const refused = refusal?.refusedBy.find((level) => sameBucket(level.pool, pool));
        return {
          scope: pool.subject.scope,
          subject: pool.subject.id,
          cover: pool.line.cover,
          name: pool.line.name,
          dimension: pool.line.dimension,
          limit: pool.rate.amount,
          requested: this.amounts[at * AMOUNTS + pool.quantity] ?? 0,
          refused: refused !== undefined,
          used: refused?.used ?? null,
        };
      }),
    };
  }
}

const ID_PREFIX = 'req_'.length;

function sameBucket(a: Pool, b: Pool): boolean {
  return a.line === b.line && a.subject.id === b.subject.id;
}
