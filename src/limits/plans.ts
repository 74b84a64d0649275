// The pools of recent callers, so that a table is read once for each key and model and not at each call. A key has one
// organization, project and owner for good, so its id stands for them.
//
// Two generations: what is asked for moves into the young one; when that is full it becomes the old one, and the old
// one is let go. So memory is bounded and what is in use stays. Equal pools of one generation are one object: the
// organization's pools are then the same few objects for all of its keys, and stay in the processor's cache.

import type { Rate } from './bucket.ts';
import type { EndUserLine } from './draw.ts';
import { type Line, Pool, type Subject } from './model.ts';

/** The pools of one key and one model. */
export interface Plan {
  readonly keyId: string;
  readonly model: string | null;
  readonly pools: readonly Pool[];
  readonly endUser: readonly EndUserLine[];
  /** Above so many prompt tokens the call draws on these instead. */
  readonly above: number;
  readonly longPools: readonly Pool[];
  readonly longEndUser: readonly EndUserLine[];
  /** Tokens of a reply whose call states no bound. */
  readonly usualReply: number;
  /** The same key's plan for another model, and how many follow. */
  next: Plan | null;
  following: number;
}

/** Models kept for one key: a key that names ever new ones only loses its own. */
const MOST_MODELS = 64;

export class Plans {
  private readonly most: number;
  private young = new Map<string, Plan>();
  private old = new Map<string, Plan>();
  private count = 0;
  private pools = new Map<string, Pool>();

  /** @param most plans kept, in both generations together */
  constructor(most: number) {
    this.most = Math.max(1, Math.floor(most / 2));
  }

  get(keyId: string, model: string | null): Plan | undefined {
    for (let plan = this.young.get(keyId) ?? null; plan !== null; plan = plan.next) {
      if (plan.model === model) return plan;
    }
    for (let plan = this.old.get(keyId) ?? null; plan !== null; plan = plan.next) {
      if (plan.model !== model) continue;
      const young = { ...plan };
      this.add(young);
      return young;
    }
    return undefined;
  }

  add(plan: Plan): void {
    if (this.count >= this.most) {
      this.old = this.young;
      this.young = new Map();
      this.pools = new Map();
      this.count = 0;
    }
    const next = this.young.get(plan.keyId) ?? null;
    plan.next = next === null || next.following + 1 >= MOST_MODELS ? null : next;
    plan.following = plan.next === null ? 0 : plan.next.following + 1;
    this.young.set(plan.keyId, plan);
    this.count++;
  }

  clear(): void {
    this.young = new Map();
    this.old = new Map();
    this.pools = new Map();
    this.count = 0;
  }

  readonly make = (subject: Subject, line: Line, rate: Rate): Pool => {
    const name = `${line.id}:${rate.id}:${subject.id}`;
    let pool = this.pools.get(name);
    if (pool === undefined) {
      pool = new Pool(subject, line, rate);
      this.pools.set(name, pool);
    }
    return pool;
  };
}
