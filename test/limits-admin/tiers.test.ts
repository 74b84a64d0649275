import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DAY_MS } from '../../src/limits/model.ts';
import { freshPostgres, stores } from '../store/stores.ts';
import { type Cluster, type Node, openCluster } from './plane.ts';

const TABLE = {
  tiers: [
    { name: 'free', limits: { '*': { requests_per_minute: 10 } } },
    { name: 'paid', paid_usd: 5, days: 0, limits: { '*': { requests_per_minute: 20 } } },
    { name: 'old', paid_usd: 50, days: 7, limits: { '*': { requests_per_minute: 30 } } },
  ],
};
const TIER = '/v1/keygate/organization/tier';
const PAYMENTS = '/v1/keygate/organization/payments';

describe.each(stores)('usage tiers on $kind', (kind) => {
  let cluster: Cluster;
  let node: Node;
  beforeEach(async () => {
    cluster = await openCluster(kind, TABLE);
    node = await cluster.start();
  });
  afterEach(() => cluster.close());

  const requests = () =>
    node.limits.poolsOf({
      organizationId: cluster.organizationId,
      projectId: cluster.projectId,
      keyId: 'key_1',
      ownerType: 'user',
      ownerId: 'user-1',
      endUser: null,
      model: 'gpt-4o',
    })[0]?.rate.amount;

  const audited = async () => {
    const rows = await node.store.db
      .selectFrom('audit_log')
      .selectAll()
      .where('type', 'in', ['organization.updated', 'payment.recorded'])
      .orderBy('seq')
      .execute();
    return rows.map(({ type, actor, payload }) => ({
      type,
      actor: JSON.parse(actor).type,
      ...JSON.parse(payload),
    }));
  };

  test('an organization begins in the lowest, and rises with its payment when no days are asked for', async () => {
    expect((await node.call('GET', TIER)).body).toMatchObject({
      tier: 'free',
      reached: 'free',
      pinned: null,
      paid_cents: 0,
      first_payment_at: null,
      next: { name: 'paid', paid_cents: 500, days: 0 },
    });
    expect(requests()).toBe(10);
    expect((await node.call('POST', PAYMENTS, { amount_cents: 499 })).status).toBe(200);
    expect(requests()).toBe(10);
    const payment = await node.call('POST', PAYMENTS, { amount_cents: 1, note: 'the last cent' });
    expect(payment.body).toMatchObject({
      object: 'keygate.payment',
      amount_cents: 1,
      note: 'the last cent',
      reference: null,
    });
    expect(requests()).toBe(20);
    expect((await node.call('GET', TIER)).body).toMatchObject({
      tier: 'paid',
      paid_cents: 500,
      days: 0,
      next: { name: 'old', paid_cents: 5000, days: 7 },
    });
    expect(node.moved).toEqual([{ organizationId: cluster.organizationId, from: 'free', to: 'paid' }]);
  });

  test('it rises by itself within the hour in which both the money and the days are reached', async () => {
    await node.call('POST', PAYMENTS, { amount_cents: 5000 });
    expect(requests()).toBe(20);
    cluster.clock.advance(7 * DAY_MS - 1);
    await node.hour();
    expect(requests()).toBe(20);
    cluster.clock.advance(1);
    await node.hour();
    expect(requests()).toBe(30);
    expect(node.moved.map(({ from, to }) => `${from} ${to}`)).toEqual(['free paid', 'paid old']);
    await node.hour();
    expect(await audited()).toMatchObject([
      { type: 'payment.recorded', actor: 'api_key', data: { amount_nano: '50000000000' } },
      {
        type: 'organization.updated',
        actor: 'api_key',
        id: cluster.organizationId,
        changes_requested: { usage_tier: 'paid' },
        before: { usage_tier: 'free' },
        occasion: 'payment',
      },
      {
        type: 'organization.updated',
        actor: 'server',
        changes_requested: { usage_tier: 'old' },
        before: { usage_tier: 'paid' },
        occasion: 'time',
      },
    ]);
    expect(node.errors).toEqual([]);
  });

  test('the days count from the first payment, also when it is written down later', async () => {
    const paidAt = Math.floor((cluster.clock.now() - 8 * DAY_MS) / 1000);
    await node.call('POST', PAYMENTS, { amount_cents: 100 });
    await node.call('POST', PAYMENTS, { amount_cents: 4900, paid_at: paidAt, reference: 'invoice 7' });
    expect((await node.call('GET', TIER)).body).toMatchObject({
      tier: 'old',
      first_payment_at: paidAt,
      days: 8,
    });
  });

  test('a pin wins, up and down, over what was reached; without it that holds again', async () => {
    expect((await node.call('POST', TIER, { pin: 'old' })).body).toMatchObject({
      tier: 'old',
      reached: 'free',
      pinned: 'old',
      pinned_by: 'administrator',
    });
    expect(requests()).toBe(30);
    await node.call('POST', TIER, { pin: 'free' });
    await node.call('POST', PAYMENTS, { amount_cents: 500 });
    expect(requests()).toBe(10);
    expect((await node.call('GET', TIER)).body).toMatchObject({ tier: 'free', reached: 'paid' });
    expect((await node.call('POST', TIER, { pin: null })).body).toMatchObject({ tier: 'paid', pinned: null });
    expect(requests()).toBe(20);
    expect((await audited()).map(({ changes_requested }) => changes_requested)).toEqual([
      { usage_tier_pin: 'old' },
      { usage_tier_pin: 'free' },
      undefined,
      { usage_tier: 'paid' },
      { usage_tier_pin: null },
    ]);
  });

  test('paying back lowers the total, and never below nothing', async () => {
    await node.call('POST', PAYMENTS, { amount_cents: 500 });
    expect(requests()).toBe(20);
    await node.call('POST', PAYMENTS, { amount_cents: -100, note: 'refund' });
    expect(requests()).toBe(10);
    const refused = await node.call('POST', PAYMENTS, { amount_cents: -401 });
    expect(refused).toMatchObject({ status: 400, body: { error: { param: 'amount_cents' } } });
    expect((await node.call('GET', TIER)).body).toMatchObject({ paid_cents: 400 });
  });

  test('a reference is taken once, so that a payment sent twice counts once', async () => {
    const payment = { amount_cents: 300, reference: 'INV-1' };
    expect((await node.call('POST', PAYMENTS, payment)).status).toBe(200);
    const again = await node.call('POST', PAYMENTS, payment);
    expect(again).toMatchObject({ status: 400, body: { error: { param: 'reference' } } });
    expect((await node.call('GET', TIER)).body).toMatchObject({ paid_cents: 300 });
  });

  test('payments are listed in pages, in the order in which they were recorded, or the other way round', async () => {
    for (let cents = 1; cents <= 5; cents++) {
      cluster.clock.advance(1);
      await node.call('POST', PAYMENTS, { amount_cents: cents });
    }
    const amounts = async (query: string) => {
      const { body } = await node.call('GET', `${PAYMENTS}?${query}`);
      return body as { data: { amount_cents: number; id: string }[]; last_id: string; has_more: boolean };
    };
    const first = await amounts('limit=2');
    expect(first.data.map((each) => each.amount_cents)).toEqual([1, 2]);
    expect(first.has_more).toBe(true);
    const rest = await amounts(`after=${first.last_id}`);
    expect(rest.data.map((each) => each.amount_cents)).toEqual([3, 4, 5]);
    expect((await amounts('order=desc&limit=1')).data[0]?.amount_cents).toBe(5);
    expect((await node.call('GET', `${PAYMENTS}?after=pay_no`)).status).toBe(400);
  });

  test('tells what is wrong with a payment or a pin', async () => {
    for (const [body, param] of [
      [{}, 'amount_cents'],
      [{ amount_cents: 0 }, 'amount_cents'],
      [{ amount_cents: 1.5 }, 'amount_cents'],
      [{ amount_cents: 1e13 }, 'amount_cents'],
      [{ amount_cents: 1, paid_at: Math.ceil(cluster.clock.now() / 1000) + 60 }, 'paid_at'],
      [{ amount_cents: 1, note: 'a\u0000b' }, 'note'],
      [{ amount_cents: 1, currency: 'eur' }, 'currency'],
    ] as const) {
      expect(await node.call('POST', PAYMENTS, body), JSON.stringify(body)).toMatchObject({
        status: 400,
        body: { error: { param } },
      });
    }
    expect(await node.call('POST', TIER, { pin: 'gold' })).toMatchObject({
      status: 400,
      body: { error: { param: 'pin', message: expect.stringContaining('free, paid, old') } },
    });
    expect(node.errors).toEqual([]);
  });

  test('stands where it stood after a restart, and catches up with the days that passed meanwhile', async () => {
    await node.call('POST', PAYMENTS, { amount_cents: 5000 });
    await node.stop();
    cluster.clock.advance(8 * DAY_MS);
    node = await cluster.start();
    expect(requests()).toBe(30);
    expect(await audited()).toHaveLength(3);
  });
});

describe('several nodes on one database', () => {
  let cluster: Cluster;
  beforeEach(async () => {
    cluster = await openCluster({ kind: 'postgres', fresh: freshPostgres }, TABLE);
  });
  afterEach(() => cluster.close());

  test('each takes in what another changed within a second: statements, pins and tiers', async () => {
    const [one, two] = [await cluster.start(), await cluster.start()];
    const amount = (node: Node) =>
      node.limits.poolsOf({
        organizationId: cluster.organizationId,
        projectId: cluster.projectId,
        keyId: 'key_1',
        ownerType: 'user',
        ownerId: 'user-1',
        endUser: null,
        model: 'gpt-4o',
      });
    const path = `/v1/keygate/projects/${cluster.projectId}/limits`;
    await one.call('POST', path, { name: 'gpt-4o', requests_per_minute: 3 });
    expect(amount(one).map(({ rate }) => rate.amount)).toEqual([10, 3]);
    const began = performance.now();
    await vi.waitFor(() => expect(amount(two).map(({ rate }) => rate.amount)).toEqual([10, 3]));
    expect(performance.now() - began).toBeLessThan(1_000);
    await two.call('POST', TIER, { pin: 'old' });
    await vi.waitFor(() => expect(amount(one).map(({ rate }) => rate.amount)).toEqual([30, 3]));
    expect(one.moved).toEqual([{ organizationId: cluster.organizationId, from: 'free', to: 'old' }]);
  });

  test('a rise is written down once, whoever sees it first', async () => {
    const nodes = [await cluster.start(), await cluster.start(), await cluster.start()];
    await nodes[0]?.call('POST', PAYMENTS, { amount_cents: 5000 });
    for (const node of nodes) {
      await vi.waitFor(() => expect(node.live.tierNow(cluster.organizationId)).toBe('paid'));
    }
    cluster.clock.advance(7 * DAY_MS);
    await Promise.all(nodes.map((node) => node.hour()));
    for (const node of nodes) {
      await vi.waitFor(() => expect(node.live.tierNow(cluster.organizationId)).toBe('old'));
      expect(node.moved.map(({ to }) => to)).toEqual(['paid', 'old']);
      expect(node.errors).toEqual([]);
    }
    const [node] = nodes;
    const rises = await node?.store.db
      .selectFrom('audit_log')
      .select('payload')
      .where('type', '=', 'organization.updated')
      .execute();
    expect(rises).toHaveLength(2);
  });
});
