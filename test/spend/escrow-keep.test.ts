// The keeper: turns to the store off the road, failures, the end. And three nodes on a real database, killed at random.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ManualClock, systemClock } from '../../src/platform/clock.ts';
import { newId } from '../../src/platform/ids.ts';
import type { Budget } from '../../src/spend/budgets/model.ts';
import { insertBudget } from '../../src/spend/budgets/store.ts';
import { windowAt } from '../../src/spend/budgets/window.ts';
import type { Hold, Refusal, Unavailable } from '../../src/spend/escrow/answers.ts';
import { Escrow } from '../../src/spend/escrow/escrow.ts';
import { EscrowKeeper } from '../../src/spend/escrow/keep.ts';
import {
  type EscrowBudget,
  type EscrowStore,
  LEASE_MS,
  type TurnReply,
  type TurnRequest,
} from '../../src/spend/escrow/protocol.ts';
import { SqlEscrowStore } from '../../src/spend/escrow/store.ts';
import { ModelStore, type SimBudget } from '../simulation/model-store.ts';
import { stores } from '../store/stores.ts';

const WAIT_MS = 8000;

/** A store of which a test decides when and how it answers. */
class Sluice implements EscrowStore {
  readonly model = new ModelStore('none');
  mode: 'answer' | 'fail' | 'hang' = 'answer';
  turns: TurnRequest[] = [];
  hanging: (() => void)[] = [];
  fenced = 0;
  private readonly clock: ManualClock;

  constructor(clock: ManualClock) {
    this.clock = clock;
  }

  async turn(request: TurnRequest): Promise<TurnReply> {
    this.turns.push(request);
    if (this.mode === 'fail') throw new Error('the database is away');
    const reply = this.model.turn(request, this.clock.now());
    if (this.mode === 'hang') await new Promise<void>((resolve) => this.hanging.push(resolve));
    return reply;
  }

  async fence() {
    this.fenced++;
    return this.fenced === 1 ? [{ lease: 'l', node: 'dead', fencedAt: 1 }] : [];
  }

  async reconcile() {}
}

describe('the keeper', () => {
  let clock: ManualClock;
  let store: Sluice;
  let errors: unknown[];
  let fenced: string[];
  let escrow: Escrow<SimBudget>;
  let keeper: EscrowKeeper<SimBudget>;
  const budget: SimBudget = { id: 'b', period: 'day', enforcement: 'hard', limit: 1000n };

  beforeEach(() => {
    vi.useFakeTimers({
      toFake: [
        'setTimeout',
        'clearTimeout',
        'setInterval',
        'clearInterval',
        'setImmediate',
        'clearImmediate',
      ],
    });
    clock = new ManualClock(Date.UTC(2026, 10, 23, 12));
    store = new Sluice(clock);
    store.model.budgets.set('b', budget);
    errors = [];
    fenced = [];
    escrow = new Escrow<SimBudget>('node', () => 'lease');
    keeper = new EscrowKeeper(escrow, store, {
      clock,
      onError: (error) => errors.push(error),
      onFenced: async ({ node }) => void fenced.push(node),
    });
  });
  afterEach(() => void vi.useRealTimers());

  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 10) {
      clock.advance(Math.min(10, left));
      await vi.advanceTimersByTimeAsync(Math.min(10, left));
    }
  };
  const ask = (worst: number): (Hold | Refusal<SimBudget> | Unavailable)[] => {
    const answers: (Hold | Refusal<SimBudget> | Unavailable)[] = [];
    escrow.wait([escrow.purse(budget)], worst, clock.now(), clock.monotonic(), WAIT_MS, (answer) =>
      answers.push(answer),
    );
    return answers;
  };

  test('asks at once when a call waits', async () => {
    const answers = ask(10);
    await vi.advanceTimersByTimeAsync(0);
    expect(answers).toMatchObject([{ kind: 'held' }]);
  });

  test('asks again while the store fails, and says what is wrong', async () => {
    store.mode = 'fail';
    const answers = ask(10);
    await pass(3000);
    expect(answers).toEqual([]);
    expect(errors.length).toBeGreaterThan(3);
    expect(errors.length).toBeLessThan(12);
    store.mode = 'answer';
    await pass(1000);
    expect(answers).toMatchObject([{ kind: 'held' }]);
  });

  test('gives a turn up that is not answered, and ignores its answer when it comes late', async () => {
    store.mode = 'hang';
    const answers = ask(10);
    await pass(100);
    store.mode = 'answer';
    await pass(4800);
    expect(answers).toEqual([]);
    await pass(500);
    expect(answers).toMatchObject([{ kind: 'held' }]);
    const [account] = escrow.accounts();
    const before = account?.amount;
    for (const resolve of store.hanging) resolve();
    await pass(100);
    expect(account?.amount).toBe(before);
    expect(new Set(store.turns.map(({ seq }) => seq)).size).toBe(store.turns.length);
  });

  test('lets a call go that waited long enough', async () => {
    store.mode = 'fail';
    const answers = ask(10);
    await pass(WAIT_MS + 500);
    expect(answers).toEqual([{ kind: 'unavailable', reason: 'timeout' }]);
  });

  test('fences the leases of nodes that are gone and tells whose they were', async () => {
    await pass(LEASE_MS * 2);
    expect(store.fenced).toBe(2);
    expect(fenced).toEqual(['dead']);
  });

  test('stops when the calls under way are settled, or when it waited long enough', async () => {
    const asked = [ask(10), ask(20)];
    await pass(50);
    const holds = asked.map(([answer]) => answer).filter((answer) => answer?.kind === 'held');
    let stopped: boolean | undefined;
    void keeper.stop(30_000).then((value) => {
      stopped = value;
    });
    await pass(20_000);
    expect(stopped).toBeUndefined();
    for (const hold of holds.slice(1)) escrow.settle(hold, 7);
    await pass(5000);
    expect(stopped).toBeUndefined();
    expect([...store.model.accounts.values()]).toMatchObject([{ committed: 17n, settled: 7n }]);
    await pass(5000);
    expect(stopped).toBe(false);
  });

  test('stops at once when nothing is under way', async () => {
    const answers = ask(10);
    await pass(50);
    const [answer] = answers;
    if (answer?.kind !== 'held') throw new Error('no hold');
    escrow.settle(answer, 7);
    const stopping = keeper.stop(60_000);
    await pass(100);
    expect(await stopping).toBe(true);
    expect([...store.model.accounts.values()]).toMatchObject([{ committed: 7n, settled: 7n }]);
  });
});

describe.each(stores)('three nodes on $kind, of which one is killed every 300 ms', ({ kind, fresh }) => {
  test('spend what four levels of budgets allow, and not a nano-dollar more', {
    timeout: 120_000,
  }, async () => {
    const CALLS = 1200;
    const COST = 1_000_000;
    const place = await fresh();
    const first = await place.open();
    const organization = newId('org-');
    await first.write((tx) =>
      tx.insertInto('organizations').values({ id: organization, name: 'o', created_at: 1 }).execute(),
    );
    const levels = [CALLS, CALLS + 50, CALLS + 100, CALLS * 2].map(
      (calls, level): Budget => ({
        id: newId('budget_'),
        organizationId: organization,
        projectId: null,
        scope: level === 0 ? 'organization' : 'api_key',
        scopeId: `owner-${level}`,
        period: 'month',
        limit: BigInt(calls * COST),
        enforcement: 'hard',
        alerts: [BigInt((calls * COST) / 2)],
        createdAt: 1,
      }),
    );
    for (const budget of levels) await first.write((tx) => insertBudget(first, tx, budget));
    const errors: unknown[] = [];
    const start = async () => {
      const store = kind === 'postgres' && nodes.length > 0 ? await place.open() : first;
      return new Node(new SqlEscrowStore(store, kind === 'postgres' ? null : systemClock), levels, errors);
    };
    const nodes: Node[] = [];
    for (let i = 0; i < 3; i++) nodes.push(await start());
    let billed = 0;
    let refused = 0;
    let crashes = 0;
    const client = async () => {
      while (refused < 200) {
        const node = nodes[Math.floor(Math.random() * nodes.length)] as Node;
        const answer = await node.ask(COST);
        if (answer === 'dead') continue;
        if (answer.kind !== 'held') {
          refused++;
          await new Promise((resolve) => setTimeout(resolve, 20));
          continue;
        }
        // The provider bills whether or not the node is there in the end.
        await new Promise((resolve) => setTimeout(resolve, 5 + Math.random() * 20));
        billed += COST;
        node.end(answer, COST);
      }
    };
    let over = false;
    const killer = async () => {
      while (crashes < 12) {
        await new Promise((resolve) => setTimeout(resolve, 300));
        if (over) break;
        const at = Math.floor(Math.random() * nodes.length);
        nodes[at]?.kill();
        crashes++;
        nodes[at] = await start();
      }
    };
    const killing = killer();
    await Promise.all(Array.from({ length: 32 }, client));
    over = true;
    await killing;
    for (const node of nodes) await node.keeper.stop(5000);
    const tightest = levels[0] as Budget;
    const account = await new SqlEscrowStore(first, systemClock).account({
      budgetId: tightest.id,
      subject: '',
      windowStart: windowAt('month', Date.now()).start,
    });
    const alerts = await first.db
      .selectFrom('budget_alerts')
      .selectAll()
      .where('budget_id', '=', tightest.id)
      .execute();
    await place.remove();
    expect(errors).toEqual([]);
    expect(crashes).toBeGreaterThan(0);
    expect(alerts.length).toBeLessThanOrEqual(1);
    expect(BigInt(billed)).toBeLessThanOrEqual(tightest.limit);
    expect(account?.committed).toBeLessThanOrEqual(tightest.limit);
    expect(account?.committed).toBeGreaterThanOrEqual(BigInt(billed));
    expect(account?.overrun).toBe(0n);
    expect(billed / COST).toBeGreaterThan(CALLS * 0.85);
  });
});

/** A node that can be killed: what it had in memory is gone, and nothing it says arrives. */
class Node {
  readonly escrow = new Escrow<EscrowBudget>('node', () => newId('lease_'));
  readonly keeper: EscrowKeeper<EscrowBudget>;
  private readonly purses;
  private alive = true;
  private onDeath: (() => void)[] = [];

  constructor(store: EscrowStore, budgets: readonly Budget[], errors: unknown[]) {
    this.purses = budgets.map((budget) => this.escrow.purse(budget));
    const mortal: EscrowStore = {
      turn: async (request) => {
        if (!this.alive) return await new Promise(() => {});
        const reply = await store.turn(request);
        return this.alive ? reply : await new Promise(() => {});
      },
      fence: () => store.fence(),
      reconcile: (lease, spent) => store.reconcile(lease, spent),
    };
    this.keeper = new EscrowKeeper(this.escrow, mortal, {
      clock: systemClock,
      onError: (error) => this.alive && errors.push(error),
    });
  }

  ask(worst: number): Promise<Hold | Refusal | Unavailable | 'dead'> {
    if (!this.alive) return Promise.resolve('dead');
    const [wall, mono] = [Date.now(), performance.now()];
    const answer = this.escrow.reserve(this.purses, worst, wall, mono);
    if (answer !== 'later') return Promise.resolve(answer);
    return new Promise((resolve) => {
      this.onDeath.push(() => resolve('dead'));
      this.escrow.wait(this.purses, worst, wall, mono, WAIT_MS, (result) => {
        if (this.alive) resolve(result);
      });
    });
  }

  end(hold: Hold, cost: number): void {
    if (this.alive) this.escrow.settle(hold, cost);
  }

  kill(): void {
    this.alive = false;
    for (const tell of this.onDeath) tell();
    // Its timers would go on in this process; a real death takes them along.
    void this.keeper.stop(0);
  }
}
