// What the road may rely on: reserve and settle, refusals, waiting, windows, leases. The store is the simulation's model;
// turns happen when a test says so.

import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../src/platform/clock.ts';
import type { Purse } from '../../src/spend/escrow/account.ts';
import type { Hold, Refusal, Unavailable } from '../../src/spend/escrow/answers.ts';
import { Escrow } from '../../src/spend/escrow/escrow.ts';
import { LEASE_MS, VALID_MS } from '../../src/spend/escrow/protocol.ts';
import { keyOf, ModelStore, type SimBudget } from '../simulation/model-store.ts';

type Answer = Hold | Refusal<SimBudget> | Unavailable;

const NOON = Date.UTC(2026, 10, 23, 12);
const DAY_MS = 86_400_000;

class Rig {
  readonly clock = new ManualClock(NOON);
  readonly store = new ModelStore('none');
  turns = 0;
  private made = 0;

  node(): Escrow<SimBudget> {
    return new Escrow<SimBudget>('node', () => `lease-${++this.made}`);
  }

  budget(id: string, limit: number, change: Partial<SimBudget> = {}): SimBudget {
    const budget: SimBudget = { id, period: 'day', enforcement: 'hard', limit: BigInt(limit), ...change };
    this.store.budgets.set(id, budget);
    return budget;
  }

  /** Turns until the node has nothing more to say. */
  pump(escrow: Escrow<SimBudget>): void {
    for (
      let turn = escrow.next(this.mono, this.clock.now());
      turn !== null;
      turn = escrow.next(this.mono, this.clock.now())
    ) {
      this.turns++;
      escrow.answered(turn, this.store.turn(turn.request, this.clock.now()), this.mono);
    }
  }

  get mono(): number {
    return this.clock.monotonic();
  }

  reserve(escrow: Escrow<SimBudget>, purses: Purse<SimBudget>[], worst: number): Answer | 'later' {
    return escrow.reserve(purses, worst, this.clock.now(), this.mono);
  }

  wait(escrow: Escrow<SimBudget>, purses: Purse<SimBudget>[], worst: number, waitMs = 1000): Answer[] {
    const answers: Answer[] = [];
    escrow.wait(purses, worst, this.clock.now(), this.mono, waitMs, (answer) => answers.push(answer));
    return answers;
  }

  /** Reserves, waiting for a turn if it must. */
  take(escrow: Escrow<SimBudget>, purses: Purse<SimBudget>[], worst: number): Answer {
    const now = this.reserve(escrow, purses, worst);
    if (now !== 'later') return now;
    const answers = this.wait(escrow, purses, worst);
    this.pump(escrow);
    const [answer] = answers;
    if (answer === undefined) throw new Error('no answer after the turns');
    return answer;
  }

  held(escrow: Escrow<SimBudget>, purses: Purse<SimBudget>[], worst: number): Hold {
    const answer = this.take(escrow, purses, worst);
    if (answer.kind !== 'held') throw new Error(`expected a hold, got ${answer.kind}`);
    return answer;
  }

  /** Time passes with the node's ticks in it. */
  pass(escrow: Escrow<SimBudget>, ms: number): void {
    for (let left = ms; left > 0; left -= 250) {
      this.clock.advance(Math.min(250, left));
      escrow.tick(this.mono);
      this.pump(escrow);
    }
  }

  account(budget: SimBudget, windowStart = Date.UTC(2026, 10, 23), subject = '') {
    const {
      committed = 0n,
      settled = 0n,
      overrun = 0n,
    } = this.store.accounts.get(keyOf({ budgetId: budget.id, subject, windowStart })) ?? {};
    return { committed: Number(committed), settled: Number(settled), overrun: Number(overrun) };
  }
}

describe('a call', () => {
  test('waits for a slice once, and then the road neither waits nor writes', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 1_000_000));
    expect(rig.reserve(node, [purse], 10)).toBe('later');
    const hold = rig.held(node, [purse], 10);
    // Traffic makes the node hold a little ahead.
    node.settle(hold, 10);
    for (let i = 0; i < 40; i++) {
      rig.pass(node, 50);
      const next = rig.held(node, [purse], 10);
      node.settle(next, 8);
    }
    const before = rig.turns;
    for (let i = 0; i < 8; i++) {
      const answer = rig.reserve(node, [purse], 10);
      if (answer === 'later' || answer.kind !== 'held') throw new Error('had to wait');
      node.settle(answer, 8);
    }
    expect(rig.turns).toBe(before);
  });

  test('reserves in all its budgets or in none', () => {
    const rig = new Rig();
    const node = rig.node();
    const wide = rig.budget('wide', 1000);
    const narrow = rig.budget('narrow', 50);
    const both = [node.purse(wide), node.purse(narrow)];
    const first = rig.held(node, both, 40);
    expect(rig.take(node, both, 20)).toMatchObject({ kind: 'refused', budget: { id: 'narrow' } });
    for (const account of node.accounts()) expect(account.held).toBe(40);
    node.settle(first, 5);
    rig.pass(node, 5000);
    expect(rig.account(wide)).toMatchObject({ committed: 5, settled: 5 });
    expect(rig.account(narrow)).toMatchObject({ committed: 5, settled: 5 });
  });

  test('can use a budget to its last nano-dollar, and then is told when it begins anew', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 100));
    node.settle(rig.held(node, [purse], 99), 99);
    expect(rig.take(node, [purse], 2)).toEqual({
      kind: 'refused',
      budget: purse.budget,
      subject: '',
      resetsAt: Date.UTC(2026, 10, 24),
      retryable: false,
    });
    node.settle(rig.held(node, [purse], 1), 1);
    rig.pass(node, 2000);
    expect(rig.account(purse.budget)).toMatchObject({ committed: 100, settled: 100 });
  });

  test('that is refused while others are under way is told that trying again may help, and it does', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 100));
    const hold = rig.held(node, [purse], 80);
    expect(rig.take(node, [purse], 40)).toMatchObject({ kind: 'refused', retryable: true });
    node.settle(hold, 10);
    expect(rig.reserve(node, [purse], 40)).toMatchObject({ kind: 'held' });
  });

  test('that is refused does not ask the store again for a moment, unless the limit was raised since', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 100));
    node.settle(rig.held(node, [purse], 100), 100);
    expect(rig.take(node, [purse], 10)).toMatchObject({ kind: 'refused' });
    for (let i = 0; i < 100; i++) expect(rig.reserve(node, [purse], 10)).toMatchObject({ kind: 'refused' });
    purse.budget.limit = 200n;
    rig.clock.advance(500);
    expect(rig.take(node, [purse], 10)).toMatchObject({ kind: 'held' });
  });

  test('is settled once', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 100));
    const hold = rig.held(node, [purse], 10);
    node.release(hold);
    expect(() => node.settle(hold, 5)).toThrow(/once/);
    expect(() => node.extend(hold, 5, rig.clock.now(), rig.mono)).toThrow(/over/);
    expect(() => rig.reserve(node, [purse], 0.5)).toThrow(RangeError);
    expect(() => rig.reserve(node, [purse], -1)).toThrow(RangeError);
  });

  test('that costs nothing needs no slice', () => {
    const rig = new Rig();
    const node = rig.node();
    rig.held(node, [node.purse(rig.budget('empty', 0))], 0);
    expect(rig.take(node, [node.purse(rig.budget('empty', 0))], 1)).toMatchObject({ kind: 'refused' });
  });

  test('counts for each subject by itself where each has the limit', () => {
    const rig = new Rig();
    const node = rig.node();
    const each = rig.budget('each', 100);
    rig.held(node, [node.purse(each, 'ann')], 90);
    expect(rig.take(node, [node.purse(each, 'ann')], 20)).toMatchObject({ kind: 'refused', subject: 'ann' });
    rig.held(node, [node.purse(each, 'bob')], 90);
  });

  test('is only counted against a soft budget, never refused or kept waiting', () => {
    const rig = new Rig();
    const node = rig.node();
    const soft = rig.budget('soft', 10, { enforcement: 'soft' });
    for (let i = 0; i < 5; i++) {
      const answer = rig.reserve(node, [node.purse(soft)], 100);
      if (answer === 'later' || answer.kind !== 'held') throw new Error('a soft budget refused');
      node.settle(answer, 70);
    }
    rig.pass(node, 2000);
    expect(rig.account(soft)).toMatchObject({ settled: 350, overrun: 0 });
  });
});

describe('calls that wait', () => {
  test('are served together by one turn, in their order', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 100));
    const answers = [40, 40, 40, 20].map((worst) => rig.wait(node, [purse], worst));
    rig.pump(node);
    expect(answers.map(([answer]) => answer?.kind)).toEqual(['held', 'held', 'refused', 'held']);
    expect(rig.turns).toBeLessThanOrEqual(2);
  });

  test('are not overtaken by calls that come later', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 100));
    const hold = rig.held(node, [purse], 60);
    const waiting = rig.wait(node, [purse], 50);
    node.settle(hold, 0);
    expect(rig.reserve(node, [purse], 10)).toBe('later');
    rig.pump(node);
    expect(waiting[0]?.kind).toBe('held');
  });

  test('are let go when the store does not answer in time', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 100));
    const answers = rig.wait(node, [purse], 10, 700);
    const turn = node.next(rig.mono, rig.clock.now());
    if (turn === null) throw new Error('nothing was asked');
    node.failed(turn);
    rig.clock.advance(699);
    node.tick(rig.mono);
    expect(answers).toEqual([]);
    rig.clock.advance(1);
    node.tick(rig.mono);
    expect(answers).toEqual([{ kind: 'unavailable', reason: 'timeout' }]);
    rig.pass(node, 10_000);
    expect(rig.account(purse.budget)).toMatchObject({ committed: 0 });
  });

  test('are bounded in number', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 1_000_000));
    const answers = Array.from({ length: 10_001 }, () => rig.wait(node, [purse], 1));
    expect(answers.at(-1)).toEqual([{ kind: 'unavailable', reason: 'busy' }]);
    rig.pump(node);
    expect(answers.filter(([answer]) => answer?.kind === 'held')).toHaveLength(10_000);
  });
});

describe('a call that is billed beyond its bound', () => {
  test('is counted whole and told, and paid by what is left of the budget', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 100));
    expect(node.settle(rig.held(node, [purse], 10), 35)).toBe(25);
    expect(node.excess).toBe(25);
    rig.pass(node, 2000);
    expect(rig.account(purse.budget)).toEqual({ committed: 35, settled: 35, overrun: 0 });
    expect(rig.take(node, [purse], 66)).toMatchObject({ kind: 'refused' });
  });

  test('beyond what is left is entered as an overrun, and nothing more is granted', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 100));
    const other = rig.held(node, [purse], 30);
    node.settle(rig.held(node, [purse], 60), 90);
    expect(rig.reserve(node, [purse], 1)).not.toMatchObject({ kind: 'held' });
    rig.pump(node);
    expect(rig.account(purse.budget)).toEqual({ committed: 120, settled: 90, overrun: 20 });
    node.settle(other, 5);
    rig.pass(node, 5000);
    expect(rig.account(purse.budget)).toEqual({ committed: 95, settled: 95, overrun: 20 });
    node.settle(rig.held(node, [purse], 5), 5);
  });
});

describe('a stream without a bound', () => {
  test('asks ahead bit by bit, and is told to stop where a budget ends', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 35));
    const hold = rig.held(node, [purse], 10);
    const steps: string[] = [];
    for (let i = 0; i < 4; i++) {
      let step = node.extend(hold, 10, rig.clock.now(), rig.mono);
      if (step === 'later') {
        rig.pump(node);
        step = node.extend(hold, 10, rig.clock.now(), rig.mono);
      }
      steps.push(step);
    }
    expect(steps).toEqual(['held', 'held', 'refused', 'refused']);
    expect(hold.worst).toBe(30);
    node.settle(hold, 29);
    rig.pass(node, 5000);
    expect(rig.account(purse.budget)).toMatchObject({ committed: 29, settled: 29 });
  });
});

describe('windows', () => {
  test('a call is settled in the window in which it arrived, and the next window is fresh', () => {
    const rig = new Rig();
    const node = rig.node();
    const budget = rig.budget('b', 100);
    const purse = node.purse(budget);
    rig.clock.advance(12 * 3_600_000 - 1000);
    const hold = rig.held(node, [purse], 100);
    rig.clock.advance(1000);
    const next = rig.held(node, [purse], 100);
    node.settle(hold, 60);
    node.settle(next, 70);
    rig.pass(node, 5000);
    expect(rig.account(budget)).toMatchObject({ committed: 60, settled: 60 });
    expect(rig.account(budget, Date.UTC(2026, 10, 24))).toMatchObject({ committed: 70, settled: 70 });
  });

  test('a node with a wrong clock is told so, not that the budget is used up', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 100));
    const answers: Answer[] = [];
    node.wait([purse], 10, NOON + DAY_MS, rig.mono, 1000, (answer) => answers.push(answer));
    rig.pump(node);
    expect(answers).toEqual([{ kind: 'unavailable', reason: 'clock' }]);
  });
});

describe('what a node holds', () => {
  test('is given back when its calls are over for a while', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 10_000_000));
    for (let i = 0; i < 30; i++) {
      node.settle(rig.held(node, [purse], 1000), 700);
      rig.pass(node, 100);
    }
    expect(rig.account(purse.budget).committed).toBeGreaterThan(rig.account(purse.budget).settled);
    rig.pass(node, 15_000);
    expect(rig.account(purse.budget)).toMatchObject({ committed: 21_000, settled: 21_000 });
    expect([...node.accounts()]).toEqual([]);
    // And it goes on from there.
    node.settle(rig.held(node, [purse], 1000), 700);
    rig.pass(node, 15_000);
    expect(rig.account(purse.budget)).toMatchObject({ committed: 21_700, settled: 21_700 });
  });

  test('ahead of need is at most 1/512 of what is left, and nothing near the limit', () => {
    const rig = new Rig();
    const node = rig.node();
    const limit = 10_000_000;
    const purse = node.purse(rig.budget('b', limit));
    for (let i = 0; i < 400; i++) {
      const hold = rig.take(node, [purse], 30_000);
      if (hold.kind !== 'held') break;
      node.settle(hold, 30_000);
      rig.pass(node, 25);
      const { committed, settled } = rig.account(purse.budget);
      const unreported = [...node.accounts()].reduce((sum, account) => sum + account.spent, 0) - settled;
      expect(committed - settled - unreported).toBeLessThanOrEqual((limit - settled) / 512 + 1);
    }
    expect(rig.account(purse.budget).settled).toBeGreaterThan(limit - 30_000);
  });

  test('is given back to another node that needs it', () => {
    const rig = new Rig();
    const [a, b] = [rig.node(), rig.node()];
    const budget = rig.budget('b', 1_000_000);
    for (let i = 0; i < 40; i++) {
      a.settle(rig.held(a, [a.purse(budget)], 500), 400);
      rig.pass(a, 20);
    }
    const { committed, settled } = rig.account(budget);
    expect(committed).toBeGreaterThan(settled);
    const wanted = 1_000_000 - 40 * 400;
    expect(rig.take(b, [b.purse(budget)], wanted)).toMatchObject({ kind: 'refused', retryable: true });
    rig.pass(a, 1500);
    rig.clock.advance(500);
    expect(rig.take(b, [b.purse(budget)], wanted)).toMatchObject({ kind: 'held' });
  });

  test('is not used when the lease could not be renewed, and all is well after the store is back', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 1_000_000));
    for (let i = 0; i < 30; i++) {
      node.settle(rig.held(node, [purse], 500), 400);
      rig.pass(node, 50);
    }
    expect(rig.reserve(node, [purse], 500)).toMatchObject({ kind: 'held' });
    rig.clock.advance(VALID_MS);
    expect(rig.reserve(node, [purse], 500)).toBe('later');
    rig.held(node, [purse], 500);
  });

  test('under a fenced lease is reported to the last, and calls go on under a new one', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 10_000));
    const hold = rig.held(node, [purse], 4000);
    rig.clock.advance(LEASE_MS);
    expect(rig.store.fence(rig.clock.now())).toHaveLength(1);
    const next = rig.held(node, [purse], 5000);
    expect(rig.account(purse.budget)).toMatchObject({ committed: 9000 });
    expect(node.extend(hold, 10, rig.clock.now(), rig.mono)).toBe('refused');
    node.settle(hold, 1000);
    node.settle(next, 2000);
    rig.pass(node, 5000);
    expect(rig.account(purse.budget)).toMatchObject({ committed: 3000, settled: 3000 });
    expect(
      rig.store.unresolved(keyOf({ budgetId: 'b', subject: '', windowStart: Date.UTC(2026, 10, 23) })),
    ).toBe(0n);
  });

  test('is all given back at a stop, after the calls under way', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 10_000));
    const hold = rig.held(node, [purse], 4000);
    node.stop();
    rig.pump(node);
    expect(node.stopped).toBe(false);
    expect(rig.wait(node, [purse], 10)).toEqual([{ kind: 'unavailable', reason: 'busy' }]);
    node.settle(hold, 100);
    rig.pump(node);
    expect(node.stopped).toBe(true);
    expect(rig.account(purse.budget)).toMatchObject({ committed: 100, settled: 100 });
    expect([...rig.store.leases.values()].every(({ state }) => state.closed)).toBe(true);
  });

  test('is one account, by whichever purse it is reached and however long that was kept unused', () => {
    const rig = new Rig();
    const node = rig.node();
    const budget = rig.budget('b', 10_000);
    const kept = node.purse(budget, 'ann');
    // A call under way elsewhere keeps the lease good.
    rig.held(node, [node.purse(rig.budget('c', 100))], 10);
    node.settle(rig.held(node, [kept], 4000), 300);
    // Long enough for the account to be put away and the purse to be forgotten.
    rig.pass(node, 60_000);
    const later = node.purse(budget, 'ann');
    expect(later).not.toBe(kept);
    for (const purse of [later, kept]) node.settle(rig.held(node, [purse], 4000), 300);
    rig.pass(node, 60_000);
    // What costs nothing needs no slice: it must not be counted in an account that was put away.
    for (const purse of [later, kept]) {
      const free = rig.held(node, [purse], 0);
      expect([...node.accounts()]).toContain(free.accounts[0]);
      node.settle(free, 0);
    }
    const holds = [later, kept, later].map((purse) => rig.held(node, [purse], 3000));
    expect(rig.take(node, [kept], 3000)).toMatchObject({ kind: 'refused' });
    for (const hold of holds) node.settle(hold, 1000);
    rig.pass(node, 60_000);
    expect(rig.account(budget, undefined, 'ann')).toMatchObject({ committed: 3900, settled: 3900 });
  });

  test('is void, and said to be lost, when the store does not know the lease any more', () => {
    const rig = new Rig();
    const node = rig.node();
    const purse = node.purse(rig.budget('b', 10_000));
    node.settle(rig.held(node, [purse], 4000), 300);
    rig.store.leases.clear();
    rig.store.accounts.clear();
    rig.pass(node, 2000);
    expect(node.lost).toBe(300);
    expect(rig.take(node, [purse], 4000)).toMatchObject({ kind: 'held' });
  });
});
