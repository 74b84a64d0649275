// The limiter of many processes: buckets in Valkey or Redis, one round trip for a verdict.
//
// Guarantees: all pools of a call or none, by one script on the server's clock (redis-scripts.ts), so any number of
// nodes together admit what the limits say. What is settled in one turn of the event loop goes out in one script for
// each organization, and nobody waits for it.
//
// When the server is away. A verdict never takes longer than `timeoutMs`; after three failures, or when the connection
// is lost, it takes no time at all until the server answers again (redis-link.ts). Meanwhile the configured choice holds:
// - `closed`: no call passes. 503, which says so.
// - `open`: this node keeps its share of each limit in memory, the limit divided by the nodes last known. The shares
//   begin full, so at the moment of the failure all nodes together can admit up to one more bucket than the limit.
// What was to be given back during a failure is lost: those buckets are as full as time makes them. A verdict that comes
// after its time-out is given back.

import { createHash } from 'node:crypto';
import type { Clock } from '../platform/clock.ts';
import { shareOf } from './bucket.ts';
import {
  Admission,
  type Held,
  isShown,
  type Level,
  type Levels,
  type Limiter,
  levelOf,
  Standing,
  type Used,
  type Verdict,
} from './limiter.ts';
import { MemoryLimiter } from './memory.ts';
import { AUDIO_SECONDS, BATCH_TOKENS, type Demand, IMAGES, Pool, TOKENS } from './model.ts';
import { type LinkState, RedisLink } from './redis-link.ts';
import { ADMIT, PUT, type Script, SETTLE } from './redis-scripts.ts';
import { LimitRefusal, UnavailableRefusal } from './refusal.ts';

export interface RedisLimiterOptions {
  /** `redis://` or `rediss://`, with its credentials. */
  readonly url: string;
  /** What happens to calls while the server is away. */
  readonly whenAway: 'closed' | 'open';
  /** This node's name: each node has its own. */
  readonly node: string;
  readonly clock: Clock;
  /** Begins every key. Default `keygate:limits:`. */
  readonly prefix?: string;
  /** Nodes to divide by while no server has said how many there are. Default 1. */
  readonly nodes?: number;
  /** The longest wait for a verdict. Default 250. */
  readonly timeoutMs?: number;
  /** After how long a server that is away is asked again, at first. Default 250. */
  readonly retryMs?: number;
  /** How often this node announces itself; after five silent times it does not count. Default 2,000. */
  readonly heartbeatMs?: number;
  /** Told when the server goes away and when it is back. */
  readonly onChange?: (state: LinkState) => void;
  /** For tests only: milliseconds instead of the server's clock. */
  readonly testNow?: () => number;
}

/** Since the process began. */
export interface RedisCounters {
  admitted: number;
  refused: number;
  /** Calls answered 503 because the server was away. */
  unavailable: number;
  /** Calls decided by this node's share. */
  local: number;
  /** Scripts that settle, whose effect was lost. */
  settlesLost: number;
  /** Reservations given back because their verdict came too late. */
  lateReturned: number;
}

interface Change {
  units: number;
  readonly perMs: number;
  readonly key: string;
}

export class RedisLimiter implements Limiter {
  readonly counters: RedisCounters = {
    admitted: 0,
    refused: 0,
    unavailable: 0,
    local: 0,
    settlesLost: 0,
    lateReturned: 0,
  };
  readonly link: RedisLink;
  private readonly options: RedisLimiterOptions;
  private readonly prefix: string;
  private readonly local: MemoryLimiter;
  private readonly keys = new WeakMap<Pool, string>();
  /** What is to be settled at the end of this turn: by organization, then by key and rate. */
  private settling = new Map<string, Map<string, Change>>();

  constructor(options: RedisLimiterOptions) {
    this.options = options;
    this.prefix = options.prefix ?? 'keygate:limits:';
    this.local = new MemoryLimiter({ clock: options.clock });
    this.link = new RedisLink({
      url: options.url,
      prefix: this.prefix,
      node: options.node,
      nodes: options.nodes ?? 1,
      timeoutMs: options.timeoutMs ?? 250,
      retryMs: options.retryMs ?? 250,
      heartbeatMs: options.heartbeatMs ?? 2_000,
      onChange: options.onChange ?? (() => {}),
    });
  }

  admit(demand: Demand, done: (verdict: Verdict) => void): Verdict | undefined {
    const pools = demand.pools.filter(({ quantity }) => demand.amounts[quantity] > 0 || isShown(quantity));
    if (pools.length === 0) return new Admission(demand, new Standing(), this);
    if (!this.link.up) return this.away(demand);
    const keys: string[] = [];
    const args = this.clockArgs();
    for (const pool of pools) {
      const amount = demand.amounts[pool.quantity];
      const fits = amount <= pool.rate.largest;
      keys.push(this.keyOf(pool));
      args.push(
        String(fits ? amount * pool.rate.unit : 1),
        String(fits ? pool.rate.room(amount) : -1),
        String(pool.rate.perMs),
      );
    }
    this.link.run(
      ADMIT,
      keys,
      args,
      (reply) => {
        const verdict = this.verdict(demand, pools, reply);
        done(verdict ?? this.away(demand));
      },
      (late) => this.giveBackLate(demand, pools, late),
    );
    return undefined;
  }

  settle(admission: Admission, used: Used): void {
    if (admission.settled) return;
    admission.settled = true;
    const { amounts, pools } = admission.demand;
    const deltas = [
      0,
      delta(used.tokens, amounts[TOKENS]),
      delta(used.images, amounts[IMAGES]),
      delta(used.audioSeconds, amounts[AUDIO_SECONDS]),
      delta(used.batchTokens, amounts[BATCH_TOKENS]),
    ];
    for (const pool of pools) this.change(pool, deltas[pool.quantity] ?? 0);
  }

  release(admission: Admission): void {
    if (admission.settled) return;
    admission.settled = true;
    const { amounts, pools } = admission.demand;
    for (const pool of pools) this.change(pool, -amounts[pool.quantity]);
  }

  hold(levels: readonly Held[]): void {
    this.put(levels.map(({ pool, tokens }) => ({ pool, units: tokens * pool.rate.unit })));
  }

  refill(pools: readonly Pool[]): void {
    this.put(pools.map((pool) => ({ pool, units: 0 })));
  }

  levels(pools: readonly Pool[], done: (levels: Levels) => void): Levels | undefined {
    if (pools.length === 0) return [];
    if (!this.link.up) return 'unknown';
    const found: (Level | undefined)[] = new Array<Level | undefined>(pools.length).fill(undefined);
    const groups = this.byOrganization(pools.map((pool, index) => ({ pool, index })));
    let left = groups.length;
    let failed = false;
    for (const group of groups) {
      const args = this.clockArgs();
      for (const { pool } of group) args.push('0', '0', String(pool.rate.perMs));
      this.run(ADMIT, group, args, (reply) => {
        const useds = numbers(reply, group.length + 1);
        if (useds === null) failed = true;
        else {
          group.forEach(({ pool, index }, i) => {
            found[index] = levelOf(pool, useds[i + 1] ?? 0);
          });
        }
        left--;
        if (left === 0) done(failed ? 'unknown' : found.filter((level) => level !== undefined));
      });
    }
    return undefined;
  }

  /** Sends what is still to be settled and lets go of the connection. */
  async close(): Promise<void> {
    this.flush();
    await this.link.close();
  }

  private verdict(demand: Demand, pools: readonly Pool[], reply: unknown): Verdict | null {
    const useds = numbers(reply, pools.length + 1);
    if (useds === null) return null;
    const standing = new Standing();
    const admitted = useds[0] === 1;
    const refusal = admitted ? null : new LimitRefusal(demand, standing);
    for (const [i, pool] of pools.entries()) {
      const used = useds[i + 1] ?? 0;
      const amount = demand.amounts[pool.quantity];
      standing.see(pool, used);
      if (amount > 0 && (amount > pool.rate.largest || used > pool.rate.room(amount)))
        refusal?.add(pool, used);
    }
    if (refusal !== null) {
      this.counters.refused++;
      return refusal;
    }
    this.counters.admitted++;
    return new Admission(demand, standing, this);
  }

  /** The verdict without the server. */
  private away(demand: Demand): Verdict {
    if (this.options.whenAway === 'closed') {
      this.counters.unavailable++;
      return new UnavailableRefusal(
        demand,
        'The rate limits cannot be checked at the moment, and no call passes unchecked. Please try again.',
        1_000,
      );
    }
    this.counters.local++;
    const { nodes } = this.link;
    const pools = demand.pools.map(
      ({ subject, line, rate }) => new Pool(subject, line, shareOf(rate, nodes)),
    );
    return this.local.admit({ ...demand, pools });
  }

  private giveBackLate(demand: Demand, pools: readonly Pool[], reply: unknown): void {
    if (numbers(reply, pools.length + 1)?.[0] !== 1) return;
    this.counters.lateReturned++;
    for (const pool of pools) this.change(pool, -demand.amounts[pool.quantity]);
  }

  /** `tokens` more (or fewer) of a pool, with the other changes of this turn. */
  private change(pool: Pool, tokens: number): void {
    if (tokens === 0) return;
    const { perMs, unit } = pool.rate;
    const { organizationId } = pool.subject;
    let changes = this.settling.get(organizationId);
    if (changes === undefined) {
      if (this.settling.size === 0) setImmediate(() => this.flush());
      changes = new Map();
      this.settling.set(organizationId, changes);
    }
    const key = this.keyOf(pool);
    const name = `${perMs}/${key}`;
    const change = changes.get(name);
    if (change === undefined) changes.set(name, { key, perMs, units: tokens * unit });
    else change.units += tokens * unit;
  }

  private flush(): void {
    const { settling } = this;
    this.settling = new Map();
    for (const changes of settling.values()) {
      const keys: string[] = [];
      const args = this.clockArgs();
      for (const { key, units, perMs } of changes.values()) {
        keys.push(key);
        args.push(String(units), String(perMs));
      }
      this.link.run(SETTLE, keys, args, (reply) => {
        if (reply !== 1) this.counters.settlesLost++;
      });
    }
  }

  private put(changes: readonly { readonly pool: Pool; readonly units: number }[]): void {
    for (const group of this.byOrganization(changes)) {
      const args = this.clockArgs();
      for (const { pool, units } of group) args.push(String(units), String(pool.rate.perMs));
      this.run(PUT, group, args, (reply) => {
        if (reply !== 1) this.counters.settlesLost++;
      });
    }
  }

  private run(
    script: Script,
    group: readonly { readonly pool: Pool }[],
    args: readonly string[],
    done: (reply: unknown) => void,
  ): void {
    this.link.run(
      script,
      group.map(({ pool }) => this.keyOf(pool)),
      args,
      done,
    );
  }

  /** A script's keys are of one organization, and at most 1,000. */
  private byOrganization<T extends { readonly pool: Pool }>(all: readonly T[]): T[][] {
    const groups: T[][] = [];
    const open = new Map<string, T[]>();
    for (const each of all) {
      const { organizationId } = each.pool.subject;
      let group = open.get(organizationId);
      if (group === undefined || group.length >= 1_000) {
        group = [];
        groups.push(group);
        open.set(organizationId, group);
      }
      group.push(each);
    }
    return groups;
  }

  private keyOf(pool: Pool): string {
    let key = this.keys.get(pool);
    if (key === undefined) {
      const { subject, line } = pool;
      // An end user's name may be an address: only its digest leaves the process.
      const id = subject.scope === 'end_user' ? digest(subject.id) : subject.id;
      key = `${this.prefix}{${subject.organizationId}}:${subject.scope}:${id}:${line.text}`;
      this.keys.set(pool, key);
    }
    return key;
  }

  private clockArgs(): string[] {
    const { testNow } = this.options;
    return testNow === undefined ? ['', '1'] : [String(Math.floor(testNow())), '600000'];
  }
}

function delta(used: number | undefined, reserved: number): number {
  return used === undefined ? 0 : used - reserved;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 24);
}

/** A script's reply of `count` whole numbers; null when it is a failure. */
function numbers(reply: unknown, count: number): readonly number[] | null {
  if (!Array.isArray(reply) || reply.length !== count) return null;
  return reply.every((each) => typeof each === 'number') ? reply : null;
}
