// What a dead node had settled is entered from the usage log, by whoever comes next, as often as one likes.

import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/platform/clock.ts';
import { newId, newLeaseId, type ProjectId } from '../../src/platform/ids.ts';
import { BudgetDirectory } from '../../src/spend/budgets/directory.ts';
import type { Budget } from '../../src/spend/budgets/model.ts';
import { insertBudget } from '../../src/spend/budgets/store.ts';
import { windowAt } from '../../src/spend/budgets/window.ts';
import { LEASE_MS } from '../../src/spend/escrow/protocol.ts';
import { SqlEscrowStore } from '../../src/spend/escrow/store.ts';
import { Journal } from '../../src/spend/journal.ts';
import { reconcileAll, reconcileLease } from '../../src/spend/reconcile.ts';
import { noUsage, type UsageEvent } from '../../src/spend/usage.ts';
import { stores } from '../store/stores.ts';

const NOW = Date.UTC(2026, 10, 23, 12);

describe.each(stores)('a dead node on $kind', ({ fresh }) => {
  it('leaves counted as possibly spent only what its usage log does not show', async () => {
    const place = await fresh();
    const clock = new ManualClock(NOW);
    const store = await place.open({ clock });
    const organizationId = newId('org-');
    const projectId: ProjectId = newId('proj_');
    const budget: Budget = {
      id: newId('budget_'),
      organizationId,
      projectId: null,
      scope: 'organization',
      scopeId: organizationId,
      period: 'day',
      limit: 10_000n,
      enforcement: 'hard',
      alerts: [],
      createdAt: NOW - 1000,
    };
    const each: Budget = { ...budget, id: newId('budget_'), projectId, scope: 'end_user', scopeId: '*' };
    const younger: Budget = { ...budget, id: newId('budget_'), createdAt: NOW + 1000 };
    await store.write(async (tx) => {
      await tx.insertInto('organizations').values({ id: organizationId, name: 'o', created_at: 1 }).execute();
      const project = { id: projectId, organization_id: organizationId, name: 'p', created_at: 1 };
      await tx
        .insertInto('projects')
        .values({ ...project, status: 'active', environment: 'production', is_default: 1, archived_at: null })
        .execute();
      for (const one of [budget, each, younger]) await insertBudget(store, tx, one);
    });
    const budgets = new BudgetDirectory();
    for (const one of [budget, each, younger]) budgets.set(one);
    const escrow = new SqlEscrowStore(store, clock);
    const lease = newLeaseId(clock.now());
    const { start } = windowAt('day', NOW);
    const accounts = [
      { budgetId: budget.id, subject: '', windowStart: start },
      { budgetId: each.id, subject: 'ann', windowStart: start },
      { budgetId: younger.id, subject: '', windowStart: start },
    ];
    // It took slices and reported little of what it spent before it died.
    await escrow.turn({
      lease,
      node: 'dead',
      seq: 1,
      entries: accounts.map((account) => ({ ...account, spent: 100, held: 400, want: 1000, need: 500 })),
      opened: false,
      close: false,
    });
    const event = (cost: number, of: string, endUser: string | null): UsageEvent => ({
      requestId: `req_${cost}`,
      at: NOW,
      organizationId,
      projectId,
      keyId: 'key_1',
      ownerId: 'user-1',
      operation: 'chat.completions.create',
      modelAsked: 'm',
      modelServed: 'm',
      provider: 'mock',
      status: 200,
      outcome: 'ok',
      streamed: false,
      firstByteMs: 1,
      durationMs: 2,
      serviceTier: '',
      source: 'provider',
      usage: noUsage(),
      test: false,
      batch: false,
      spend: { cost, unpriced: false, priceVersion: 'v', lease: of, endUser },
    });
    for (const [node, events] of [
      ['dead', [event(100, lease, 'ann'), event(200, lease, 'bob'), event(50, lease, 'ann')]],
      ['dead', [event(9_000, newLeaseId(NOW), 'ann'), { ...event(1, lease, null), spend: null }]],
      ['other', [event(7_000, newLeaseId(NOW), null)]],
    ] as const) {
      const journal = new Journal(store, node, 100, () => {});
      for (const one of events) {
        journal.take();
        journal.append(one);
      }
      await journal.close();
    }
    const deps = { store, escrow, budgets };
    await reconcileAll(deps);
    expect((await escrow.account(accounts[0] as (typeof accounts)[0]))?.settled).toBe(100n);
    clock.advance(LEASE_MS);
    const [fenced] = await escrow.fence();
    expect(fenced).toMatchObject({ lease, node: 'dead' });
    for (let times = 0; times < 2; times++) {
      if (fenced) await reconcileLease(deps, fenced);
      await reconcileAll(deps);
    }
    const left = (await escrow.unresolved()).map(({ budgetId, subject, amount, spent }) => [
      budgetId,
      subject,
      amount,
      spent,
    ]);
    // Bob's part has no slice: nothing was reserved for him under this lease. What is younger did not count.
    expect(left).toHaveLength(3);
    expect(left).toEqual(
      expect.arrayContaining([
        [budget.id, '', 1000, 350],
        [each.id, 'ann', 1000, 150],
        [younger.id, '', 1000, 100],
      ]),
    );
    expect(await escrow.account(accounts[0] as (typeof accounts)[0])).toMatchObject({
      committed: 1000n,
      settled: 350n,
    });
    await place.remove();
  });
});
