// Credits on both databases: an expiry is noticed by the turn that would grant on it, takes the rest away once, however
// many nodes come at once, and nothing is granted on it afterwards.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verifyChain } from '../../src/audit/chain.ts';
import type { Attribution } from '../../src/audit/model.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import { newId } from '../../src/platform/ids.ts';
import {
  declareBilling,
  grantCredits,
  listGrants,
  revokeGrant,
  standing,
} from '../../src/spend/administration/credits.ts';
import { creditAccount, endDueGrants } from '../../src/spend/credits/store.ts';
import type { TurnEntry, TurnRequest } from '../../src/spend/escrow/protocol.ts';
import { SqlEscrowStore } from '../../src/spend/escrow/store.ts';
import type { Store } from '../../src/store/store.ts';
import { type StorePlace, stores } from '../store/stores.ts';

const START = Date.UTC(2026, 10, 23, 12);

describe.each(stores)('credits in $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  beforeAll(async () => {
    place = await fresh();
    store = await place.open();
  });
  afterAll(() => place.remove());

  async function organization() {
    const id = newId('org-');
    const clock = new ManualClock(START);
    await store.write(async (tx) => {
      await tx.insertInto('organizations').values({ id, name: 'o', created_at: START }).execute();
    });
    const by = (): Attribution => ({ organizationId: id, actor: { type: 'setup' }, at: clock.now() });
    const escrow = new SqlEscrowStore(store, clock, (ids, now) => endDueGrants(store, ids, now));
    const grant = (amount: bigint, lifeMs: number | null = null, reference: string | null = null) =>
      store.write((tx) =>
        grantCredits(
          store,
          tx,
          by(),
          { amount, expiresAt: lifeMs === null ? null : clock.now() + lifeMs, note: '', reference },
          'undeclared',
        ),
      );
    const now = () => standing(store, id, 'undeclared', clock.now());
    const budgetId = async () => (await creditAccount(store.db, id))?.budgetId ?? '';
    return { id, clock, by, escrow, grant, now, budgetId };
  }

  const entry = (budgetId: string, spent: number, held: number, want = spent + held): TurnEntry => ({
    budgetId,
    subject: '',
    windowStart: 0,
    spent,
    held,
    want,
    need: want,
  });
  const turn = (lease: string, seq: number, ...entries: TurnEntry[]): TurnRequest => ({
    lease,
    node: 'n',
    seq,
    entries,
    opened: seq > 1,
    close: false,
  });
  const amountOf = async (reply: ReturnType<SqlEscrowStore['turn']>) => {
    const said = await reply;
    return said.kind === 'done' ? said.granted[0]?.amount : said.kind;
  };

  test('a first grant makes an organization prepaid; its limit is what was granted', async () => {
    const { grant, now, escrow, budgetId } = await organization();
    expect(await now()).toMatchObject({ billing: 'undeclared', available: 0n });
    await grant(100n);
    await grant(50n);
    expect(await now()).toMatchObject({ billing: 'prepaid', available: 150n, reserved: 0n });
    expect(await amountOf(escrow.turn(turn('lease_a', 1, entry(await budgetId(), 0, 0, 1000))))).toBe(150);
    expect(await now()).toMatchObject({ available: 0n, reserved: 150n });
  });

  test('an expiry that many nodes meet at once takes the rest away once, and it is not granted to any', async () => {
    const { id, clock, grant, now, escrow, budgetId } = await organization();
    await grant(1000n, 60_000);
    await grant(300n);
    const budget = await budgetId();
    const nodes = Array.from({ length: 8 }, (_, at) => `lease_${id}_${at}`);
    for (const lease of nodes)
      expect(await amountOf(escrow.turn(turn(lease, 1, entry(budget, 10, 5))))).toBe(15);
    clock.advance(60_000);
    const replies = await Promise.all(
      nodes.map((lease) => amountOf(escrow.turn(turn(lease, 2, entry(budget, 10, 5, 400))))),
    );
    // 80 are spent, 40 under way, 920 were taken away: of the other grant's 300 there are 260 for all together.
    expect(replies.reduce<number>((sum, amount) => sum + Number(amount), 0)).toBe(80 + 300);
    const { rows } = await listGrants(store.db, id, { limit: 10 });
    expect(
      rows
        .map(({ amount, used, taken, honours, status }) => [amount, used, taken, honours, status])
        .toSorted(([a], [b]) => Number(a) - Number(b)),
    ).toEqual([
      ['300', '0', '0', '0', 'active'],
      ['1000', '80', '920', '40', 'expired'],
    ]);
    const entries = await store.db
      .selectFrom('audit_log')
      .select('payload')
      .where('organization_id', '=', id)
      .where('type', '=', 'credits.expired')
      .execute();
    expect(entries.map(({ payload }) => JSON.parse(payload))).toEqual([
      { id: expect.stringMatching(/^grant_/), data: { taken_nano: '920' } },
    ]);
    // The calls under way cost all that they might have; the grant that holds pays for them.
    for (const lease of nodes) await escrow.turn(turn(lease, 3, entry(budget, 15, 0)));
    expect(await now()).toMatchObject({ available: 260n, reserved: 0n });
    expect((await verifyChain(store)).ok).toBe(true);
  });

  test('an expiry without another grant stops everything new, finishes what is under way, and leaves the next grant whole', async () => {
    const { id, clock, grant, now, escrow, budgetId } = await organization();
    await grant(1000n, 60_000);
    const budget = await budgetId();
    const lease = `lease_${id}`;
    await escrow.turn(turn(lease, 1, entry(budget, 100, 50)));
    clock.advance(60_000);
    expect(await amountOf(escrow.turn(turn(lease, 2, entry(budget, 100, 50, 200))))).toBe(150);
    await escrow.turn(turn(lease, 3, entry(budget, 130, 0)));
    expect(await amountOf(escrow.turn(turn(lease, 4, entry(budget, 130, 0, 131))))).toBe(130);
    await grant(500n);
    expect(await now()).toMatchObject({ available: 500n });
    expect(await amountOf(escrow.turn(turn(lease, 5, entry(budget, 130, 0, 2000))))).toBe(630);
  });

  test('expire without a call too, when somebody looks', async () => {
    const { clock, grant, now } = await organization();
    await grant(100n, 5_000);
    expect(await now()).toMatchObject({ available: 100n, nextExpiry: START + 5_000 });
    clock.advance(5_000);
    expect(await now()).toMatchObject({ available: 0n, nextExpiry: null });
  });

  test('a reference is granted once; the same again is the same grant, another is refused', async () => {
    const { grant, now } = await organization();
    const made = await grant(100n, null, 'invoice-1');
    expect((await grant(100n, null, 'invoice-1')).id).toBe(made.id);
    await expect(grant(100n, 86_400_000 * 30, 'invoice-1')).rejects.toMatchObject({ param: 'reference' });
    const timed = await grant(50n, 90_000_000, 'invoice-2');
    expect((await grant(50n, 90_060_000, 'invoice-2')).id).toBe(timed.id);
    await expect(grant(200n, null, 'invoice-1')).rejects.toMatchObject({ status: 400, param: 'reference' });
    expect(await now()).toMatchObject({ available: 150n });
  });

  test('a grant that is revoked gives nothing more; what was used stays used', async () => {
    const { id, by, grant, now, escrow, budgetId } = await organization();
    const { id: grantId } = await grant(100n);
    await escrow.turn(turn(`lease_${id}`, 1, entry(await budgetId(), 30, 0)));
    const revoked = await store.write((tx) => revokeGrant(store, tx, by(), grantId as never));
    expect(revoked).toMatchObject({ used: '30', taken: '70', status: 'revoked' });
    expect(await now()).toMatchObject({ available: 0n });
  });

  test('what is left waits while the organization is post-paid', async () => {
    const { id, by, grant, now, escrow, budgetId } = await organization();
    await grant(100n);
    const first = await budgetId();
    await escrow.turn(turn(`lease_${id}`, 1, entry(first, 30, 10)));
    await store.write((tx) => declareBilling(store, tx, by(), 'postpaid'));
    expect(await now()).toMatchObject({ billing: 'postpaid' });
    await expect(grant(1n)).rejects.toMatchObject({ status: 400 });
    // Its budget is gone: nothing keeps a call from anything.
    expect(await amountOf(escrow.turn(turn(`lease_${id}`, 2, entry(first, 40, 0, 5000))))).toBe(5000);
    await store.write((tx) => declareBilling(store, tx, by(), 'prepaid'));
    expect(await now()).toMatchObject({ billing: 'prepaid', available: 70n });
    expect(await budgetId()).not.toBe(first);
  });
});
