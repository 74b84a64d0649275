// The simulated world: a clock that jumps from event to event, randomness from a seed, nodes with their own clocks, a
// network that delays, loses and reorders, and providers that bill whether or not the node lives to hear of it. What
// really happened is kept beside it (`truth`), and compared with the limits after every event.

import { charge, endDue, type Grant, limitOf, revoke } from '../../src/spend/credits/ledger.ts';
import type { Purse } from '../../src/spend/escrow/account.ts';
import type { Hold, Refusal, Unavailable } from '../../src/spend/escrow/answers.ts';
import type { Turn } from '../../src/spend/escrow/book.ts';
import { Escrow } from '../../src/spend/escrow/escrow.ts';
import type { AccountKey } from '../../src/spend/escrow/protocol.ts';
import { keyOf, ModelStore, type Mutant, type SimBudget } from './model-store.ts';

/** mulberry32: the same seed, the same numbers. */
export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = seed >>> 0;
  }
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }
  int(below: number): number {
    return Math.floor(this.next() * below);
  }
  between(low: number, high: number): number {
    return low + this.int(high - low + 1);
  }
  chance(p: number): boolean {
    return this.next() < p;
  }
  pick<T>(list: readonly T[]): T {
    const item = list[this.int(list.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Events by time, and in the order in which they were made where times are equal. */
class Agenda {
  private readonly heap: Event[] = [];
  private made = 0;

  add(at: number, run: () => void): void {
    const event = { at, order: this.made++, run };
    const { heap } = this;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!earlier(event, heap[parent] as Event)) break;
      heap[i] = heap[parent] as Event;
      i = parent;
    }
    heap[i] = event;
  }

  peek(): Event | undefined {
    return this.heap[0];
  }

  take(): Event | undefined {
    const { heap } = this;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && earlier(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!earlier(heap[child] as Event, last)) break;
      heap[i] = heap[child] as Event;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

function earlier(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

export interface Weather {
  /** Chances of a message of a turn: the request lost, the answer lost, late by seconds. */
  readonly lost: number;
  readonly late: number;
  /** Milliseconds a message takes at most, when it is not late. */
  readonly delay: number;
}

export interface SimNode {
  readonly name: string;
  escrow: Escrow<SimBudget>;
  alive: boolean;
  /** Counts lives: what belongs to an earlier one is ignored. */
  life: number;
  /** Wall clock minus true time. */
  skew: number;
  /** Rate of the monotonic clock. */
  drift: number;
  pumping: boolean;
  /** Cut off from the store. */
  cut: boolean;
  leases: string[];
}

export interface Call {
  readonly budgets: readonly { readonly budget: SimBudget; readonly subject: string }[];
  readonly worst: number;
  readonly actual: number;
  readonly duration: number;
  readonly waitMs: number;
  /** The provider never got it: released, not settled. */
  readonly unsent?: boolean;
  /** Broken off before anything of its answer was seen: all that was reserved is charged, whatever is billed. */
  readonly unseen?: boolean;
  /** Asked for on the way, bit by bit; `actual` is then what it costs if all of it is granted. */
  readonly extensions?: readonly number[];
}

/** What really happened in one account. */
interface Truth {
  billed: bigint;
  /** Worst cases of the calls that a provider has and did not bill yet. */
  possible: bigint;
  excess: bigint;
  /** What was charged beyond the bill, at most: of calls that were cut before anything was seen of their answer. */
  over: bigint;
  /** The most that may be spent: the limit, or what was already committed when it was lowered. */
  allowed: bigint;
  hard: boolean;
}

export class Violation extends Error {}

const TURN_TIMEOUT_MS = 5_000;
const LOG_MS = 30;

export class World {
  now = Date.UTC(2026, 10, 23, 12);
  readonly random: Random;
  readonly store: ModelStore;
  readonly nodes: SimNode[] = [];
  readonly truth = new Map<string, Truth>();
  /** The durable usage log: nano-dollars by lease and account. */
  readonly log = new Map<string, Map<string, number>>();
  /** What each lease's calls were really billed, by account. */
  readonly billedBy = new Map<string, Map<string, number>>();
  readonly counts = { held: 0, later: 0, refused: 0, unavailable: 0, crashes: 0, events: 0 };
  weather: Weather = { lost: 0, late: 0, delay: 3 };
  onAnswer: (call: Call, node: SimNode, answer: Hold | Refusal<SimBudget> | Unavailable) => void = () => {};
  onEnd: (call: Call) => void = () => {};
  /** The longest that a call takes, in milliseconds. */
  longest = 30_000;
  /** Whether providers' bills come in while the nodes still run. */
  resolves = false;
  private readonly agenda = new Agenda();
  private readonly mutant: Mutant;
  private made = 0;

  constructor(seed: number, mutant: Mutant = 'none') {
    this.random = new Random(seed);
    this.mutant = mutant;
    this.store = new ModelStore(mutant);
  }

  at(ms: number, run: () => void): void {
    this.agenda.add(this.now + ms, run);
  }

  /** Runs events until nothing is left before `ms` from now. */
  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const event = this.agenda.peek();
      if (event === undefined || event.at > end) break;
      this.agenda.take();
      this.now = event.at;
      this.store.now = event.at;
      event.run();
      this.counts.events++;
    }
    this.now = end;
    this.store.now = end;
  }

  wall(node: SimNode): number {
    return Math.floor(this.now + node.skew);
  }

  mono(node: SimNode): number {
    return (this.now - Date.UTC(2026, 10, 23)) * node.drift;
  }

  addNode(): SimNode {
    const node: SimNode = {
      name: `node-${this.nodes.length}`,
      escrow: new Escrow<SimBudget>('', () => ''),
      alive: false,
      life: 0,
      skew: 0,
      drift: 1,
      pumping: false,
      cut: false,
      leases: [],
    };
    this.nodes.push(node);
    this.start(node);
    return node;
  }

  start(node: SimNode): void {
    if (node.alive) return;
    node.alive = true;
    node.pumping = false;
    const life = ++node.life;
    node.escrow = new Escrow<SimBudget>(node.name, () => {
      const lease = `lease-${++this.made}`;
      node.leases.push(lease);
      return lease;
    });
    node.escrow.onWanted = () => this.pumpSoon(node);
    const tick = () => {
      if (node.life !== life || !node.alive) return;
      node.escrow.tick(this.mono(node));
      this.at(250, tick);
    };
    this.at(this.random.int(250), tick);
  }

  /** kill -9: what it had in memory is gone; what providers are doing for it goes on. */
  crash(node: SimNode): void {
    if (!node.alive) return;
    node.alive = false;
    node.life++;
    this.counts.crashes++;
  }

  private pumpSoon(node: SimNode): void {
    if (node.pumping || !node.alive) return;
    node.pumping = true;
    const { life } = node;
    this.at(this.random.int(2), () => {
      if (node.life !== life) return;
      node.pumping = false;
      this.pump(node);
    });
  }

  private pump(node: SimNode): void {
    const before = this.mutant === 'node uses what it offered back' ? amounts(node.escrow) : null;
    const turn = node.escrow.next(this.mono(node), this.wall(node));
    if (turn === null) return;
    for (const account of turn.accounts) {
      const amount = before?.get(account);
      if (amount !== undefined) account.amount = amount;
    }
    this.send(node, turn);
  }

  private send(node: SimNode, turn: Turn): void {
    const { random, weather } = this;
    const { life } = node;
    const travel = () =>
      random.chance(weather.late) ? random.between(1000, 20_000) : random.int(weather.delay + 1);
    let settled = false;
    this.at(TURN_TIMEOUT_MS / node.drift, () => {
      if (settled || node.life !== life) return;
      settled = true;
      node.escrow.failed(turn);
      this.pumpSoon(node);
    });
    if (node.cut || random.chance(weather.lost)) return;
    this.at(travel(), () => {
      const reply = this.store.turn(turn.request, this.now);
      this.check(turn.request.entries.map(keyOf));
      if (node.cut || random.chance(weather.lost)) return;
      this.at(travel(), () => {
        if (node.life !== life) return;
        if (settled && this.mutant === 'node believes a late answer' && reply.kind === 'done') {
          for (const [i, account] of turn.accounts.entries())
            account.amount = Math.max(account.amount, reply.granted[i]?.amount ?? 0);
          return;
        }
        settled = true;
        node.escrow.answered(turn, reply, this.mono(node));
        this.pumpSoon(node);
      });
    });
  }

  call(node: SimNode, call: Call): void {
    if (!node.alive) return;
    const purses = call.budgets.map(({ budget, subject }) => node.escrow.purse(budget, subject));
    const wall = this.wall(node);
    const mono = this.mono(node);
    const answer = node.escrow.reserve(purses, call.worst, wall, mono);
    if (answer !== 'later') {
      this.begin(node, call, purses, answer);
      return;
    }
    this.counts.later++;
    const { life } = node;
    node.escrow.wait(purses, call.worst, wall, mono, call.waitMs, (result) => {
      if (node.life === life) this.begin(node, call, purses, result);
    });
  }

  private begin(
    node: SimNode,
    call: Call,
    purses: readonly Purse<SimBudget>[],
    answer: Hold | Refusal<SimBudget> | Unavailable,
  ): void {
    this.onAnswer(call, node, answer);
    if (answer.kind !== 'held') {
      this.counts[answer.kind]++;
      this.onEnd(call);
      return;
    }
    this.counts.held++;
    const keys = answer.accounts.map((account, i) => ({
      key: keyOf({
        budgetId: purses[i]?.budget.id ?? '',
        subject: account.purse.subject,
        windowStart: account.windowStart,
      }),
      lease: account.book.lease,
    }));
    for (const { key } of keys) this.truthOf(key).possible += BigInt(call.worst);
    this.check(keys.map(({ key }) => key));
    const { life } = node;
    let reserved = call.worst;
    for (const [i, more] of (call.extensions ?? []).entries()) {
      this.at((call.duration * (i + 1)) / ((call.extensions?.length ?? 0) + 1), () => {
        if (node.life !== life) return;
        if (node.escrow.extend(answer, more, this.wall(node), this.mono(node)) !== 'held') return;
        reserved += more;
        for (const { key } of keys) this.truthOf(key).possible += BigInt(more);
        this.check(keys.map(({ key }) => key));
      });
    }
    this.at(call.duration, () => {
      // What was not granted is not streamed.
      const within = call.extensions ? Math.min(call.actual, reserved) : call.actual;
      const cost = call.unsent ? 0 : within;
      const excess = BigInt(Math.max(0, cost - reserved));
      for (const { key, lease } of keys) {
        const truth = this.truthOf(key);
        truth.possible -= BigInt(reserved);
        truth.billed += BigInt(cost);
        truth.excess += excess;
        if (call.unseen) truth.over += BigInt(Math.max(0, reserved - cost));
        add(this.billedBy, lease, key, cost);
      }
      if (node.life === life) {
        const charged = call.unseen ? Math.max(reserved, cost) : cost;
        const told = this.mutant === 'call is settled at half its cost' ? Math.floor(charged / 2) : charged;
        if (call.unsent) node.escrow.release(answer);
        else node.escrow.settle(answer, told);
        // The usage event becomes durable a moment later, if the node lives that long.
        this.at(this.random.int(LOG_MS), () => {
          if (node.life === life) for (const { key, lease } of keys) add(this.log, lease, key, told);
        });
      }
      this.check(keys.map(({ key }) => key));
      this.onEnd(call);
    });
  }

  truthOf(key: string): Truth {
    let truth = this.truth.get(key);
    if (truth === undefined) {
      const budget = this.store.budgets.get(key.split('|')[0] ?? '');
      if (budget === undefined) throw new Error(`no budget for ${key}`);
      truth = {
        billed: 0n,
        possible: 0n,
        excess: 0n,
        over: 0n,
        allowed: budget.limit,
        hard: budget.enforcement === 'hard',
      };
      this.truth.set(key, truth);
    }
    return truth;
  }

  /** A grant of credits; `lifeMs` null: it does not expire. */
  grant(budget: SimBudget, amount: bigint, lifeMs: number | null): void {
    const expiresAt = lifeMs === null ? null : this.now + lifeMs;
    const made: Grant = {
      id: `grant-${++this.made}`,
      amount,
      used: 0n,
      taken: 0n,
      honours: 0n,
      status: 'active',
      createdAt: this.now,
      expiresAt,
      endedAt: null,
    };
    this.store.endDue(budget.id);
    this.store.moveCredits(budget, (ledger, settled) => {
      const charged = charge(ledger, settled, this.now);
      return { ...charged, grants: [...charged.grants, made] };
    });
    this.allow(budget, budget.limit);
    // Whether or not anybody notices: from that moment on, what is left of it may not be spent.
    if (lifeMs !== null)
      this.at(lifeMs, () => {
        const { settled = 0n, committed = 0n } = this.store.accounts.get(`${budget.id}||0`) ?? {};
        const ledger = budget.credits;
        if (ledger) this.allow(budget, limitOf(endDue(ledger, settled, committed, this.now)));
      });
  }

  revoke(budget: SimBudget, id: string): void {
    this.store.endDue(budget.id);
    this.store.moveCredits(budget, (ledger, settled, committed) =>
      revoke(ledger, id, settled, committed, this.now),
    );
    this.allow(budget, budget.limit);
  }

  setLimit(budget: SimBudget, limit: bigint): void {
    budget.limit = limit;
    this.allow(budget, limit);
  }

  private allow(budget: SimBudget, limit: bigint): void {
    for (const [key, { committed }] of this.store.accounts) {
      if (!key.startsWith(`${budget.id}|`)) continue;
      this.truthOf(key).allowed = limit > committed ? limit : committed;
    }
    for (const [key, truth] of this.truth) {
      if (key.startsWith(`${budget.id}|`) && !this.store.accounts.has(key)) truth.allowed = limit;
    }
  }

  /** What must hold at every instant, of the accounts in which something has just changed. */
  check(keys: Iterable<string>): void {
    for (const key of keys) {
      const truth = this.truth.get(key);
      if (!truth?.hard) continue;
      const real = truth.billed + truth.possible;
      if (real > truth.allowed + truth.excess) {
        throw new Violation(`${key}: ${real} spent and possible, ${truth.allowed} allowed, at ${this.now}`);
      }
      const committed = this.store.committed(key);
      if (real > committed + truth.excess) {
        throw new Violation(`${key}: ${real} spent and possible, but ${committed} committed, at ${this.now}`);
      }
    }
  }

  /**
   * The reconciler: fences what has run out, enters what the usage log shows, and, where no call of a dead lease can
   * be under way any more, what providers say that they billed.
   */
  sweep(): void {
    for (const { lease } of this.store.fence(this.now)) {
      for (const [key, spent] of this.log.get(lease) ?? []) this.store.evidence(lease, key, spent, false);
    }
    const patience = this.mutant === 'bills are believed while calls may be under way' ? 0 : this.longest;
    for (const [lease, { state, slices }] of this.store.leases) {
      if (state.fencedAt === null || this.now < state.fencedAt + patience || !this.resolves) continue;
      for (const key of slices.keys())
        this.store.evidence(lease, key, this.billedBy.get(lease)?.get(key) ?? 0, true);
    }
    this.check(this.truth.keys());
  }
}

function amounts(escrow: Escrow<SimBudget>): Map<unknown, number> {
  return new Map([...escrow.accounts()].map((account) => [account, account.amount]));
}

function add(sums: Map<string, Map<string, number>>, lease: string, key: string, amount: number): void {
  let keys = sums.get(lease);
  if (keys === undefined) {
    keys = new Map();
    sums.set(lease, keys);
  }
  keys.set(key, (keys.get(key) ?? 0) + amount);
}

export function accountKey(budget: SimBudget, subject: string, windowStart: number): AccountKey {
  return { budgetId: budget.id, subject, windowStart };
}
