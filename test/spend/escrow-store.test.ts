// The escrow store on both databases: that it does what the model store of the simulation does, that turns of many
// nodes at once never commit more than the limit, and the evidence that comes in after a crash.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ManualClock } from '../../src/platform/clock.ts';
import { newId } from '../../src/platform/ids.ts';
import type { Budget } from '../../src/spend/budgets/model.ts';
import {
  allBudgets,
  changeBudget,
  deleteBudget,
  getBudget,
  insertBudget,
  readBudgets,
} from '../../src/spend/budgets/store.ts';
import {
  LEASE_MS,
  type TurnEntry,
  type TurnReply,
  type TurnRequest,
} from '../../src/spend/escrow/protocol.ts';
import { SqlEscrowStore } from '../../src/spend/escrow/store.ts';
import type { Store } from '../../src/store/store.ts';
import { keyOf, ModelStore } from '../simulation/model-store.ts';
import { Random } from '../simulation/world.ts';
import { type StorePlace, stores } from '../store/stores.ts';

const START = Date.UTC(2026, 10, 23, 12);
const DAY = Date.UTC(2026, 10, 23);

function budgetOf(organizationId: string, change: Partial<Budget> = {}): Budget {
  return {
    id: newId('budget_'),
    organizationId,
    projectId: null,
    scope: 'organization',
    scopeId: organizationId,
    period: 'day',
    limit: 1000n,
    enforcement: 'hard',
    alerts: [],
    createdAt: START,
    ...change,
  };
}

function entryOf(budgetId: string, change: Partial<TurnEntry>): TurnEntry {
  const { spent = 0, held = 0 } = change;
  return {
    budgetId,
    subject: '',
    windowStart: DAY,
    spent,
    held,
    want: spent + held,
    need: spent + held,
    ...change,
  };
}

function turnOf(
  lease: string,
  seq: number,
  entries: readonly TurnEntry[],
  change: Partial<TurnRequest> = {},
): TurnRequest {
  return { lease, node: 'n', seq, entries, opened: seq > 1, close: false, ...change };
}

describe.each(stores)('escrow in $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  const organization = newId('org-');

  beforeAll(async () => {
    place = await fresh();
    store = await place.open();
    await store.write(async (tx) => {
      await tx
        .insertInto('organizations')
        .values({ id: organization, name: 'o', created_at: START })
        .execute();
    });
  });
  afterAll(() => place.remove());

  const add = async (change: Partial<Budget> = {}): Promise<Budget> => {
    const budget = budgetOf(organization, change);
    await store.write((tx) => insertBudget(store, tx, budget));
    return budget;
  };

  test('does what the model does, turn for turn, lost, late and repeated ones included', async () => {
    const clock = new ManualClock(START);
    const real = new SqlEscrowStore(store, clock);
    const model = new ModelStore('none');
    const random = new Random(7);
    const budgets = await Promise.all([
      add({ limit: 5000n, alerts: [200n, 700n, 10_000n] }),
      add({ limit: 3000n, period: 'total' }),
      add({ enforcement: 'soft', limit: 10n, period: 'month', alerts: [5n] }),
    ]);
    for (const { id, limit, period, enforcement } of budgets)
      model.budgets.set(id, { id, limit, period, enforcement });
    const starts = { day: DAY, total: 0, month: Date.UTC(2026, 10), week: DAY };
    const leases = ['a', 'b', 'c'].map((name) => ({
      id: `lease_${name}`,
      seq: 0,
      spent: new Map<string, number>(),
      opened: false,
    }));
    const old: TurnRequest[] = [];
    for (let i = 0; i < 150; i++) {
      clock.advance(random.pick([10, 500, 4000]));
      if (random.chance(0.06)) {
        const fenced = await real.fence();
        expect(fenced.map(({ lease }) => lease).sort()).toEqual(
          model
            .fence(clock.now())
            .map(({ lease }) => lease)
            .sort(),
        );
      }
      const lease = random.pick(leases);
      const entries = budgets
        .filter(() => random.chance(0.6))
        .map((budget): TurnEntry => {
          const subject = random.pick(['', 'u1']);
          const key = `${budget.id}${subject}`;
          const spent = (lease.spent.get(key) ?? 0) + random.int(50);
          lease.spent.set(key, spent);
          const held = random.int(60);
          const want = spent + held + random.int(400);
          return {
            budgetId: budget.id,
            subject,
            windowStart: starts[budget.period],
            spent,
            held,
            want,
            need: want,
          };
        });
      const late = old.length > 0 && random.chance(0.15);
      const close = !late && random.chance(0.03);
      const request = late
        ? random.pick(old)
        : turnOf(lease.id, ++lease.seq, close ? [] : entries, { opened: lease.opened, close });
      old.push(request);
      const expected = model.turn(request, clock.now());
      expect(await real.turn(request)).toEqual(expected);
      lease.opened ||= !late;
      if (close) Object.assign(lease, { id: `${lease.id}'`, seq: 0, spent: new Map(), opened: false });
      for (const entry of request.entries) {
        const account = await real.account(entry);
        expect(account ?? { committed: 0n, settled: 0n, overrun: 0n, pressedUntil: 0 }).toEqual(
          model.accounts.get(keyOf(entry)) ?? { committed: 0n, settled: 0n, overrun: 0n, pressedUntil: 0 },
        );
      }
    }
    const [first] = budgets;
    if (first === undefined) throw new Error('no budget');
    const alerts = await store.db
      .selectFrom('budget_alerts')
      .select(['threshold', 'settled'])
      .where('budget_id', '=', first.id)
      .where('subject', '=', '')
      .orderBy('threshold')
      .execute();
    // Each that was passed, once, with the spend that passed it.
    const { settled = 0n } = (await real.account(entryOf(first.id, {}))) ?? {};
    expect(alerts.map(({ threshold }) => BigInt(threshold))).toEqual(
      first.alerts.filter((each) => each <= settled),
    );
    expect(alerts.length).toBeGreaterThan(0);
    expect(alerts.every(({ threshold, settled }) => BigInt(settled) >= BigInt(threshold))).toBe(true);
  });

  test('commits no more than the limit when many nodes take at once', async () => {
    const budgets = await Promise.all([add({ limit: 10_000n }), add({ limit: 7_000n })]);
    const ids = budgets.map(({ id }) => id);
    const real = new SqlEscrowStore(store, new ManualClock(START));
    const granted = new Map<string, number>();
    await Promise.all(
      Array.from({ length: 12 }, async (_, node) => {
        for (let seq = 1; seq <= 6; seq++) {
          // Each names the accounts in its own order: the store must not care.
          const entries = (node % 2 ? ids : [...ids].reverse()).map((id) =>
            entryOf(id, { want: seq * 300, need: seq * 300 }),
          );
          const reply = await real.turn(turnOf(`lease_many_${node}`, seq, entries));
          for (const [at, entry] of entries.entries()) {
            granted.set(`${node} ${entry.budgetId}`, amountIn(reply, at));
          }
        }
      }),
    );
    for (const { id, limit } of budgets) {
      const sum = [...granted]
        .filter(([key]) => key.endsWith(id))
        .reduce((all, [, amount]) => all + amount, 0);
      expect(BigInt(sum)).toBe(limit);
      expect(await real.account(entryOf(id, {}))).toMatchObject({
        committed: limit,
        settled: 0n,
        overrun: 0n,
      });
    }
  });

  test('lets a dead node’s slice count until its log is read, and returns the rest on evidence only', async () => {
    const clock = new ManualClock(START);
    const real = new SqlEscrowStore(store, clock);
    const { id } = await add();
    const key = entryOf(id, {});
    await real.turn(turnOf('lease_dead', 1, [entryOf(id, { want: 600, need: 600 })]));
    await real.turn(turnOf('lease_dead', 2, [entryOf(id, { spent: 100, held: 50, want: 600 })]));
    expect(await real.resolve('lease_dead', key, 100, 0)).toBe(false); // it may be alive
    clock.advance(LEASE_MS);
    expect(await real.fence()).toContainEqual({ lease: 'lease_dead', node: 'n', fencedAt: clock.now() });
    expect(await real.fence()).toEqual([]);
    await real.reconcile('lease_dead', [{ ...key, spent: 130 }]);
    expect(await real.account(key)).toMatchObject({ committed: 600n, settled: 130n });
    expect((await real.unresolved()).filter(({ lease }) => lease === 'lease_dead')).toMatchObject([
      { lease: 'lease_dead', node: 'n', budgetId: id, amount: 600, spent: 130 },
    ]);
    // Another node can have what is left, and no more.
    const other = await real.turn(turnOf('lease_other', 1, [entryOf(id, { want: 900, need: 900 })]));
    expect(amountIn(other, 0)).toBe(400);
    expect(await real.resolve('lease_dead', key, 180, 60_000)).toBe(false); // too early for calls under way
    clock.advance(60_000);
    expect(await real.resolve('lease_dead', key, 180, 60_000)).toBe(true);
    expect(await real.account(key)).toMatchObject({ committed: 580n, settled: 180n });
    expect((await real.unresolved()).filter(({ lease }) => lease === 'lease_dead')).toEqual([]);
  });

  test('gives nothing to a node that was only cut off, but takes its report', async () => {
    const clock = new ManualClock(START);
    const real = new SqlEscrowStore(store, clock);
    const { id } = await add();
    await real.turn(turnOf('lease_cut', 1, [entryOf(id, { want: 600, need: 600 })]));
    clock.advance(LEASE_MS);
    await real.fence();
    const reply = await real.turn(
      turnOf('lease_cut', 2, [entryOf(id, { spent: 250, held: 30, want: 800, need: 800 })]),
    );
    expect(reply).toMatchObject({ kind: 'done', fenced: true, granted: [{ amount: 600 }] });
    await real.turn(turnOf('lease_cut', 3, [entryOf(id, { spent: 280 })]));
    expect(await real.account(entryOf(id, {}))).toMatchObject({ committed: 280n, settled: 280n });
    await real.turn(turnOf('lease_cut', 4, [], { close: true }));
    // A late turn of a lease that ended opens nothing.
    expect(await real.turn(turnOf('lease_cut', 1, [entryOf(id, { want: 600 })], { opened: false }))).toEqual({
      kind: 'stale',
    });
    expect(await real.account(entryOf(id, {}))).toMatchObject({ committed: 280n });
  });

  test('holds a lowered limit for every turn after it, and sees a raised one at once', async () => {
    const real = new SqlEscrowStore(store, new ManualClock(START));
    const { id } = await add();
    const ask = async (seq: number, want: number) =>
      amountIn(await real.turn(turnOf('lease_limit', seq, [entryOf(id, { want, need: want })])), 0);
    const limit = (to: bigint) =>
      store.write((tx) => changeBudget(store, tx, organization, id, { limit: to }, START));
    expect(await ask(1, 500)).toBe(500);
    await limit(300n);
    expect(await ask(2, 501)).toBe(500); // what is out cannot be called back, but does not grow
    expect(await ask(3, 200)).toBe(200);
    expect(await ask(4, 400)).toBe(300);
    await limit(2000n);
    expect(await ask(5, 1999)).toBe(1999);
  });

  test('enters what was billed beyond the reservation as an overrun, and then grants nothing', async () => {
    const real = new SqlEscrowStore(store, new ManualClock(START));
    const { id } = await add();
    await real.turn(turnOf('lease_over', 1, [entryOf(id, { want: 1000, need: 1000 })]));
    const reply = await real.turn(
      turnOf('lease_over', 2, [entryOf(id, { spent: 1030, held: 20, want: 1200, need: 1200 })]),
    );
    expect(reply).toMatchObject({ granted: [{ amount: 1050, left: 0 }] });
    expect(await real.account(entryOf(id, {}))).toEqual({
      committed: 1050n,
      settled: 1030n,
      overrun: 50n,
      pressedUntil: START + 5000,
    });
  });

  test('keeps sums that no double holds', async () => {
    const real = new SqlEscrowStore(store, new ManualClock(START));
    const { id } = await add({ limit: 2n ** 62n });
    for (let node = 0; node < 6; node++) {
      await real.turn(turnOf(`lease_big_${node}`, 1, [entryOf(id, { spent: 2 ** 51 - 1 })]));
    }
    expect(await real.account(entryOf(id, {}))).toMatchObject({
      committed: 6n * (2n ** 51n - 1n),
      settled: 6n * (2n ** 51n - 1n),
    });
  });

  test('finds nothing in the way of a budget that was deleted', async () => {
    const real = new SqlEscrowStore(store, new ManualClock(START));
    const budget = await add();
    expect(await store.write((tx) => deleteBudget(store, tx, organization, budget.id, START))).toBe(true);
    expect(await store.write((tx) => deleteBudget(store, tx, organization, budget.id, START))).toBe(false);
    const reply = await real.turn(turnOf('lease_gone', 1, [entryOf(budget.id, { want: 5000, need: 5000 })]));
    expect(amountIn(reply, 0)).toBe(5000);
  });

  test('knows a lease that it should know and does not, after a backup was put back', async () => {
    const real = new SqlEscrowStore(store, new ManualClock(START));
    expect(await real.turn(turnOf('lease_restored', 9, [], { opened: true }))).toEqual({ kind: 'unknown' });
  });

  test('uses the database’s own time, or the clock it is given', async () => {
    const { id } = await add({ period: 'total' });
    const real = new SqlEscrowStore(store, store.kind === 'postgres' ? null : new ManualClock(Date.now()));
    const reply = await real.turn(
      turnOf('lease_time', 1, [entryOf(id, { windowStart: 0, want: 10, need: 10 })]),
    );
    expect(reply).toMatchObject({ kind: 'done', granted: [{ amount: 10, closed: false }] });
    const lease = await store.db
      .selectFrom('escrow_leases')
      .selectAll()
      .where('id', '=', 'lease_time')
      .executeTakeFirstOrThrow();
    expect(Math.abs(lease.expires_at - LEASE_MS - Date.now())).toBeLessThan(60_000);
  });

  test('forgets leases that are over after a day, and never one that holds something unresolved', async () => {
    const clock = new ManualClock(START);
    const real = new SqlEscrowStore(store, clock);
    const { id } = await add({ period: 'total' });
    const entry = (want: number) => entryOf(id, { windowStart: 0, want, need: want });
    await real.turn(turnOf('lease_closed', 1, [entry(0)], { close: true }));
    await real.turn(turnOf('lease_settled', 1, [entry(0)]));
    await real.turn(turnOf('lease_open', 1, [entry(100)]));
    clock.advance(LEASE_MS);
    await real.fence();
    clock.advance(86_400_001);
    await real.fence();
    const left = await store.db
      .selectFrom('escrow_leases')
      .select('id')
      .where('id', 'in', ['lease_closed', 'lease_settled', 'lease_open'])
      .execute();
    expect(left).toEqual([{ id: 'lease_open' }]);
  });

  test('keeps budgets by organization and id, and announces their changes', async () => {
    const before = await store.lastChange();
    const budget = await add({ limit: 9_000_000_000_000_000_001n, alerts: [7n, 3n, 7n] });
    expect(await getBudget(store.db, organization, budget.id)).toEqual({ ...budget, alerts: [3n, 7n] });
    expect(await getBudget(store.db, newId('org-'), budget.id)).toBeUndefined();
    expect(
      await store.write((tx) => changeBudget(store, tx, newId('org-'), budget.id, { limit: 1n }, START)),
    ).toBeUndefined();
    await store.write((tx) =>
      changeBudget(store, tx, organization, budget.id, { enforcement: 'soft' }, START),
    );
    expect(await readBudgets(store.db, [budget.id])).toMatchObject([
      { enforcement: 'soft', limit: 9_000_000_000_000_000_001n },
    ]);
    expect(await store.lastChange()).toBe(before + 2);
    const all: Budget[] = [];
    for await (const page of allBudgets(store.db, 2)) all.push(...page);
    expect(all.map(({ id }) => id)).toContain(budget.id);
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
    for (const wrong of [{ limit: -1n }, { limit: 2n ** 63n }, { alerts: [0n] }]) {
      await expect(add(wrong)).rejects.toThrow(RangeError);
    }
  });
});

function amountIn(reply: TurnReply, at: number): number {
  const granted = reply.kind === 'done' ? reply.granted[at] : undefined;
  if (granted === undefined) throw new Error(`no amount in ${JSON.stringify(reply)}`);
  return granted.amount;
}
