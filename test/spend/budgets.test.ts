import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newId } from '../../src/platform/ids.ts';
import { BudgetDirectory } from '../../src/spend/budgets/directory.ts';
import { type Budget, crossed, EACH, nanoToCents, type Spender } from '../../src/spend/budgets/model.ts';
import { PERIODS, windowAt } from '../../src/spend/budgets/window.ts';

describe('the windows of a budget', () => {
  test.each([
    ['day', '2026-11-23T23:59:59.999Z', '2026-11-23T00:00:00.000Z', '2026-11-24T00:00:00.000Z'],
    ['day', '2026-11-24T00:00:00.000Z', '2026-11-24T00:00:00.000Z', '2026-11-25T00:00:00.000Z'],
    ['week', '2026-11-23T00:00:00.000Z', '2026-11-23T00:00:00.000Z', '2026-11-30T00:00:00.000Z'],
    ['week', '2026-11-29T23:59:59.999Z', '2026-11-23T00:00:00.000Z', '2026-11-30T00:00:00.000Z'],
    ['month', '2028-02-29T12:00:00.000Z', '2028-02-01T00:00:00.000Z', '2028-03-01T00:00:00.000Z'],
    ['month', '2026-12-31T23:59:59.999Z', '2026-12-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z'],
  ] as const)('of a %s at %s is [%s, %s), in UTC', (period, at, start, end) => {
    expect(windowAt(period, Date.parse(at))).toEqual({ start: Date.parse(start), end: Date.parse(end) });
  });

  test('hold the moment they are asked for, are named by their start, and follow each other without a gap', () => {
    const moments = fc.integer({ min: 0, max: Date.UTC(2200, 0) });
    fc.assert(
      fc.property(fc.constantFrom(...PERIODS), moments, (period, at) => {
        const { start, end } = windowAt(period, at);
        expect(start <= at && at < end).toBe(true);
        expect(windowAt(period, start)).toEqual({ start, end });
        if (end === Number.POSITIVE_INFINITY) return;
        expect(windowAt(period, end - 1)).toEqual({ start, end });
        expect(windowAt(period, end).start).toBe(end);
      }),
      { seed: 1, numRuns: 2000 },
    );
  });

  test('of all time never end', () => {
    expect(windowAt('total', 12345)).toEqual({ start: 0, end: Number.POSITIVE_INFINITY });
  });

  test('of something that is no time are refused', () => {
    for (const wrong of [Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY]) {
      expect(() => windowAt('day', wrong)).toThrow(RangeError);
    }
  });
});

describe('alerts', () => {
  test('are told for each threshold that is passed, once', () => {
    const alerts = [10n, 20n, 30n];
    expect(crossed(alerts, 0n, 9n)).toEqual([]);
    expect(crossed(alerts, 9n, 10n)).toEqual([10n]);
    expect(crossed(alerts, 10n, 30n)).toEqual([20n, 30n]);
    expect(crossed(alerts, 30n, 99n)).toEqual([]);
  });

  test('and sums are shown in cents, never as less than was spent', () => {
    expect(nanoToCents(0n)).toBe(0);
    expect(nanoToCents(1n)).toBe(1);
    expect(nanoToCents(10_000_000n)).toBe(1);
    expect(nanoToCents(10_000_001n)).toBe(2);
  });
});

describe('the budgets above a call', () => {
  const spender: Spender = {
    organizationId: 'org-1',
    projectId: 'proj_1',
    keyId: 'key_1',
    serviceAccountId: 'svc_1',
    groupIds: ['g1', 'g2'],
    endUser: 'ann',
  };
  const budget = (scope: Budget['scope'], scopeId: string, projectId: string | null = null): Budget => ({
    id: newId('budget_'),
    organizationId: 'org-1',
    projectId,
    scope,
    scopeId,
    period: 'month',
    limit: 1n,
    enforcement: 'hard',
    alerts: [],
    createdAt: 0,
  });
  const found = (directory: BudgetDirectory, call = spender) =>
    directory.applying(call).map(({ budget, subject }) => `${budget.scope}:${budget.scopeId}:${subject}`);

  test('are those of its organization, project, groups, owner, key and end user', () => {
    const directory = new BudgetDirectory();
    const mine = [
      budget('organization', 'org-1'),
      budget('project', 'proj_1'),
      budget('group', 'g1'),
      budget('group', 'g2'),
      budget('service_account', 'svc_1'),
      budget('api_key', 'key_1'),
      budget('end_user', 'ann', 'proj_1'),
    ];
    const others = [
      budget('organization', 'org-2'),
      budget('project', 'proj_2'),
      budget('group', 'g3'),
      budget('api_key', 'key_2'),
      budget('end_user', 'ann', 'proj_2'),
      budget('end_user', 'bob', 'proj_1'),
    ];
    for (const each of [...others, ...mine]) directory.set(each);
    expect(found(directory)).toEqual(mine.map(({ scope, scopeId }) => `${scope}:${scopeId}:`));
  });

  test('count each key or end user by itself where the budget says so', () => {
    const directory = new BudgetDirectory();
    directory.set(budget('api_key', EACH, 'proj_1'));
    directory.set(budget('end_user', EACH));
    directory.set(budget('end_user', EACH, 'proj_2'));
    expect(found(directory)).toEqual([`api_key:${EACH}:key_1`, `end_user:${EACH}:ann`]);
    expect(found(directory, { ...spender, endUser: null })).toEqual([`api_key:${EACH}:key_1`]);
    expect(found(directory, { ...spender, endUser: 'x'.repeat(500) })).toEqual([
      `api_key:${EACH}:key_1`,
      `end_user:${EACH}:${'x'.repeat(128)}`,
    ]);
  });

  test('follow changes', () => {
    const directory = new BudgetDirectory();
    const first = budget('project', 'proj_1');
    directory.set(first);
    directory.set({ ...first, limit: 5n });
    expect(directory.applying(spender)).toEqual([{ budget: { ...first, limit: 5n }, subject: '' }]);
    directory.delete(first.id);
    directory.delete(first.id);
    expect(directory.applying(spender)).toEqual([]);
    expect(directory.size).toBe(0);
  });
});
