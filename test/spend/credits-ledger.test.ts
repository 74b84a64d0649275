// The rules of credits against a plain model: every nano-dollar is a coin that belongs to a grant, spend takes coins one
// by one when it is settled, and a grant's coins are gone when it ends.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  charge,
  endDue,
  type Grant,
  type Ledger,
  leftOf,
  limitOf,
  nextExpiry,
  revoke,
} from '../../src/spend/credits/ledger.ts';

const NEW: Grant = {
  id: 'grant_',
  amount: 0n,
  used: 0n,
  taken: 0n,
  honours: 0n,
  status: 'active',
  createdAt: 0,
  expiresAt: null,
  endedAt: null,
};

function grant(id: string, amount: bigint, expiresAt: number | null, createdAt = 0): Grant {
  return { ...NEW, id, amount, expiresAt, createdAt };
}

const shape = ({ grants }: Ledger) =>
  Object.fromEntries(
    grants.map((each) => [each.id, [each.used, each.taken, leftOf(each), each.status].map(String).join(' ')]),
  );

describe('credits', () => {
  test('are used in the order in which they expire, those without an expiry last', () => {
    const ledger = {
      charged: 0n,
      grants: [grant('never', 10n, null), grant('late', 10n, 200), grant('soon', 10n, 100)],
    };
    expect(shape(charge(ledger, 15n, 1))).toEqual({
      never: '0 0 10 active',
      late: '5 0 5 active',
      soon: '10 0 0 used',
    });
    expect(shape(charge(ledger, 25n, 1))).toMatchObject({ never: '5 0 5 active', late: '10 0 0 used' });
    // Of two that expire together, the older.
    const twins = { charged: 0n, grants: [grant('b', 10n, 100, 2), grant('a', 10n, 100, 1)] };
    expect(shape(charge(twins, 4n, 3))).toMatchObject({ a: '4 0 6 active', b: '0 0 10 active' });
  });

  test('that expire take what is left away, once, and the limit falls by it', () => {
    const ledger = { charged: 0n, grants: [grant('soon', 10n, 100), grant('late', 10n, 200)] };
    expect(nextExpiry(ledger)).toBe(100);
    const before = endDue(ledger, 4n, 4n, 99);
    expect(before).toBe(ledger);
    const after = endDue(ledger, 4n, 4n, 100);
    expect(shape(after)).toEqual({ soon: '4 6 0 expired', late: '0 0 10 active' });
    expect([limitOf(after), nextExpiry(after)]).toEqual([14n, 200]);
    expect(endDue(after, 4n, 4n, 150)).toBe(after);
  });

  test('that end while calls are under way let these finish: other grants pay, or else the one that ended', () => {
    const alone = endDue({ charged: 0n, grants: [grant('soon', 10n, 100)] }, 2n, 9n, 100);
    expect([shape(alone)['soon'], limitOf(alone)]).toEqual(['2 8 0 expired', 2n]);
    // They cost 5 of the 7 that they might have; the next grant is not touched by it.
    const next = charge(alone, 7n, 200);
    expect([shape(next)['soon'], limitOf(next)]).toEqual(['7 3 0 expired', 7n]);
    const both = endDue(
      { charged: 0n, grants: [grant('soon', 10n, 100), grant('late', 4n, 200)] },
      2n,
      9n,
      100,
    );
    expect(shape(charge(both, 9n, 150))).toEqual({ soon: '5 5 0 expired', late: '4 0 0 used' });
  });

  test('that were exceeded by a provider’s bill are owed, and the next grant pays', () => {
    const ledger = charge({ charged: 0n, grants: [grant('a', 10n, null)] }, 13n, 1);
    expect([limitOf(ledger), shape(ledger)['a']]).toEqual([10n, '10 0 0 used']);
    const granted = { ...ledger, grants: [...ledger.grants, grant('b', 10n, null, 2)] };
    // 20 were granted, 13 are spent.
    expect(limitOf(granted) - 13n).toBe(7n);
    expect(shape(charge(granted, 15n, 3))['b']).toBe('5 0 5 active');
  });

  test('can be revoked, once, and only where something holds', () => {
    const ledger = { charged: 0n, grants: [grant('a', 10n, null)] };
    const revoked = revoke(ledger, 'a', 3n, 3n, 5);
    expect([shape(revoked)['a'], limitOf(revoked)]).toEqual(['3 7 0 revoked', 3n]);
    expect(shape(revoke(revoked, 'a', 3n, 3n, 6))).toEqual(shape(revoked));
    expect(shape(revoke(ledger, 'other', 3n, 3n, 5))).toEqual({ a: '3 0 7 active' });
  });

  test('do what a purse of coins does, and never let more be spent than was granted', () => {
    const op = fc.oneof(
      fc.record({ do: fc.constant('grant' as const), amount: fc.nat(40), life: fc.option(fc.nat(30)) }),
      fc.record({ do: fc.constant('call' as const), worst: fc.nat(15) }),
      fc.record({ do: fc.constant('end' as const), which: fc.nat(5), part: fc.nat(100) }),
      fc.record({ do: fc.constant('wait' as const), ms: fc.nat(15) }),
      fc.record({ do: fc.constant('revoke' as const), which: fc.nat(5) }),
      fc.record({ do: fc.constant('look' as const) }),
    );
    fc.assert(
      fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
        let ledger: Ledger = { grants: [], charged: 0n };
        let now = 0;
        let settled = 0n;
        const open: number[] = [];
        const committed = () => settled + open.reduce((sum, worst) => sum + BigInt(worst), 0n);
        const coins: { of: string; expiresAt: number; createdAt: number; order: number; gone: string }[] = [];
        const holds = (of: string) => ledger.grants.find(({ id }) => id === of)?.status !== undefined;
        const take = (
          how: 'used' | 'taken',
          many: number,
          among: (coin: (typeof coins)[number]) => boolean,
        ) => {
          const order = coins
            .filter(among)
            .toSorted((a, b) => a.expiresAt - b.expiresAt || a.createdAt - b.createdAt || a.order - b.order);
          for (const coin of order.slice(0, many)) coin.gone = how;
          return Math.min(many, order.length);
        };
        for (const each of ops) {
          if (each.do === 'wait') now += each.ms;
          // What a turn does first, whatever it is about.
          const due = coins.filter((coin) => coin.gone === '' && coin.expiresAt <= now);
          ledger = endDue(ledger, settled, committed(), now);
          for (const coin of due) coin.gone = 'taken';
          if (each.do === 'grant' && each.amount > 0) {
            const id = `g${String(ledger.grants.length).padStart(3, '0')}`;
            const expiresAt = each.life === null ? null : now + 1 + each.life;
            ledger = charge(ledger, settled, now);
            ledger = {
              ...ledger,
              grants: [...ledger.grants, grant(id, BigInt(each.amount), expiresAt, now)],
            };
            for (let i = 0; i < each.amount; i++)
              coins.push({
                of: id,
                expiresAt: expiresAt ?? 1e9,
                createdAt: now,
                order: coins.length,
                gone: '',
              });
          }
          if (each.do === 'call' && limitOf(ledger) - committed() >= BigInt(each.worst))
            open.push(each.worst);
          if (each.do === 'end' && open.length > 0) {
            const [worst = 0] = open.splice(each.which % open.length, 1);
            const cost = Math.floor((worst * each.part) / 100);
            settled += BigInt(cost);
            const rest = cost - take('used', cost, ({ gone }) => gone === '');
            // Those that ended last first, of a grant's own coins any.
            for (let left = rest; left > 0; left--) {
              const ended = ledger.grants
                .filter(({ id }) => coins.some((coin) => coin.of === id && coin.gone === 'taken'))
                .toSorted((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0));
              const [from] = ended;
              const coin = coins.find(({ of, gone }) => of === from?.id && gone === 'taken');
              // Without cover, money would have been spent that nobody granted.
              expect(coin).toBeDefined();
              if (coin) coin.gone = 'used';
            }
          }
          if (each.do === 'revoke') {
            const id = `g${String(each.which).padStart(3, '0')}`;
            ledger = revoke(ledger, id, settled, committed(), now);
            if (holds(id))
              for (const coin of coins) if (coin.of === id && coin.gone === '') coin.gone = 'taken';
          }
          const shown = charge(ledger, settled, now);
          const sum = (how: 'used' | 'taken') => shown.grants.reduce((total, one) => total + one[how], 0n);
          expect(sum('used')).toBe(settled);
          expect(sum('used')).toBe(BigInt(coins.filter(({ gone }) => gone === 'used').length));
          expect(sum('taken')).toBe(BigInt(coins.filter(({ gone }) => gone === 'taken').length));
          for (const one of shown.grants) {
            const own = coins.filter(({ of }) => of === one.id);
            expect(one.used + one.taken + leftOf(one)).toBe(one.amount);
            expect(leftOf(one)).toBe(BigInt(own.filter(({ gone }) => gone === '').length));
            expect([one.used >= 0n, one.taken >= 0n, one.honours <= one.taken]).toEqual([true, true, true]);
          }
        }
      }),
      { numRuns: 3000 },
    );
  });
});
