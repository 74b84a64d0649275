import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { append } from '../../src/audit/chain.ts';
import { Courier } from '../../src/notify/courier.ts';
import { type Attempt, type Delivery, GIVE_UP_MS, nextAttempt } from '../../src/notify/model.ts';
import { enqueue } from '../../src/notify/outbox.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import type { OrganizationId } from '../../src/platform/ids.ts';
import { StoreLease } from '../../src/store/lease.ts';
import type { Store } from '../../src/store/store.ts';
import { type StorePlace, stores } from '../store/stores.ts';

describe('when a message is tried again', () => {
  test('after 5 s, then twice as long each time up to 6 h, and for the last time at 72 h', () => {
    const pauses: number[] = [];
    let now = 0;
    for (let attempts = 1; ; attempts++) {
      const next = nextAttempt({ createdAt: 0 }, attempts, now, 0);
      if (next === null) break;
      pauses.push((next - now) / 1000);
      now = next;
    }
    expect(pauses.slice(0, 5)).toEqual([5, 10, 20, 40, 80]);
    expect(Math.max(...pauses)).toBe(6 * 3600);
    expect(now).toBe(GIVE_UP_MS);
    expect(pauses.length).toBeGreaterThan(20);
  });

  test('with up to a fifth more at random, and not before the receiver asked for', () => {
    expect(nextAttempt({ createdAt: 0 }, 1, 0, 1)).toBe(6_000);
    expect(nextAttempt({ createdAt: 0 }, 1, 0, 0, 120_000)).toBe(120_000);
    expect(nextAttempt({ createdAt: 0 }, 1, 0, 0, 1e12)).toBe(6 * 3_600_000);
  });
});

const ORGANIZATION = 'org-1' as OrganizationId;

describe.each(stores)('the outbox on $kind', ({ kind, fresh }) => {
  let place: StorePlace;
  let store: Store;
  let clock: ManualClock;
  let errors: unknown[];
  beforeEach(async () => {
    place = await fresh();
    clock = new ManualClock();
    store = await place.open({ clock });
    errors = [];
  });
  afterEach(() => place.remove());

  const put = (target: string, body = '{}') =>
    store.write((tx) =>
      enqueue(
        tx,
        [
          {
            organizationId: ORGANIZATION,
            projectId: null,
            channel: 'webhook',
            target,
            eventId: 'evt_1',
            eventType: 'spend_alert.triggered',
            body,
          },
        ],
        clock.now(),
      ),
    );
  const courierOf = (send: (delivery: Delivery) => Promise<Attempt>, of = store) =>
    new Courier({
      store: of,
      clock,
      node: 'n',
      send,
      random: () => 0,
      onError: (error) => errors.push(error),
    });
  const rows = () => store.db.selectFrom('deliveries').selectAll().orderBy('id').execute();

  test('a message is there when its transaction is, and never without it', async () => {
    await expect(
      store.write(async (tx) => {
        await enqueue(
          tx,
          [
            {
              organizationId: ORGANIZATION,
              projectId: null,
              channel: 'email',
              target: 'a@example.com',
              eventId: 'evt_1',
              eventType: 'spend_alert.triggered',
              body: '{}',
            },
          ],
          clock.now(),
        );
        throw new Error('undone');
      }),
    ).rejects.toThrow('undone');
    expect(await rows()).toEqual([]);
  });

  test('what fails is tried again until it arrives, with the reason kept meanwhile', async () => {
    await put('whe_1');
    let fails = 3;
    const courier = courierOf(async () =>
      fails-- > 0 ? { kind: 'failed', reason: 'host answered 500.', final: false } : { kind: 'sent' },
    );
    for (const pause of [5_000, 10_000, 20_000]) {
      await courier.pass();
      const [row] = await rows();
      expect(row).toMatchObject({ state: 'waiting', last_error: 'host answered 500.' });
      expect((row?.next_at ?? 0) - clock.now()).toBe(pause);
      clock.advance(pause - 1);
      await courier.pass();
      expect((await rows())[0]?.attempts).toBe(row?.attempts);
      clock.advance(1);
    }
    await courier.pass();
    expect((await rows())[0]).toMatchObject({ state: 'sent', attempts: 4, next_at: null, last_error: null });
    expect(courier.counts.sent.webhook).toBe(1);
  });

  test('after 72 hours it is given up, with an entry in the audit log; so is what is refused for good', async () => {
    await put('whe_1');
    await put('whe_2');
    const courier = courierOf(async ({ target }) => ({
      kind: 'failed',
      reason: 'no.',
      final: target === 'whe_2',
    }));
    for (let hour = 0; hour < 80; hour++) {
      await courier.pass();
      clock.advance(3_600_000);
    }
    expect((await rows()).map(({ state }) => state)).toEqual(['dead', 'dead']);
    const log = await store.db.selectFrom('audit_log').select(['type', 'payload']).orderBy('seq').execute();
    expect(log.map(({ type }) => type)).toEqual(['delivery.failed', 'delivery.failed']);
    expect(JSON.parse(log[0]?.payload ?? '')).toMatchObject({ data: { target: 'whe_2', attempts: 1 } });
    expect(courier.counts.dead).toBe(2);
    expect(errors).toEqual([]);
  });

  test('killed between sending and marking, it is sent again by the next, and lost never', async () => {
    await put('whe_1', 'first');
    const sent: string[] = [];
    const dying = courierOf(({ body }) => {
      sent.push(body);
      // It arrived, and the process ends here.
      return new Promise(() => {});
    });
    void dying.pass();
    while (sent.length === 0) await new Promise(setImmediate);
    const next = courierOf(async ({ body }) => {
      sent.push(body);
      return { kind: 'sent' };
    });
    expect(await next.pass(), 'while the lease of the dead one runs').toBe(false);
    if (kind === 'sqlite') clock.advance(15_001);
    // PostgreSQL goes by its own clock.
    else await store.db.updateTable('leases').set({ until: 0 }).execute();
    expect(await next.pass()).toBe(true);
    expect(sent).toEqual(['first', 'first']);
    expect((await rows())[0]?.state).toBe('sent');
  });

  test('a receiver that is down holds up nobody else', async () => {
    for (let at = 0; at < 40; at++) await put('whe_down');
    await put('whe_up');
    const asked: string[] = [];
    const courier = courierOf(async ({ target }) => {
      asked.push(target);
      return target === 'whe_up' ? { kind: 'sent' } : { kind: 'failed', reason: 'down', final: false };
    });
    await courier.pass();
    expect(asked).toContain('whe_up');
    expect(asked.length).toBeLessThan(10);
  });

  test('a fault of ours while sending costs an attempt and not the message', async () => {
    await put('whe_1');
    const courier = courierOf(async () => {
      throw new Error('secret text');
    });
    await courier.pass();
    const [row] = await rows();
    expect(row?.state).toBe('waiting');
    expect(row?.last_error).not.toContain('secret text');
    expect(errors).toHaveLength(1);
  });

  test('what is over is removed after 30 days, and what waits never', async () => {
    await put('whe_1');
    await put('whe_2');
    const courier = courierOf(async ({ target }) =>
      target === 'whe_1' ? { kind: 'sent' } : { kind: 'failed', reason: '-', final: false, retryAfterMs: 1 },
    );
    await courier.pass();
    await store.db
      .updateTable('deliveries')
      .set({ next_at: Number.MAX_SAFE_INTEGER })
      .where('state', '=', 'waiting')
      .execute();
    clock.advance(31 * 86_400_000);
    await courier.pass();
    expect((await rows()).map(({ target }) => target)).toEqual(['whe_2']);
  });

  test('a lease is one holder’s until it ends or is let go', async () => {
    const [one, two] = [new StoreLease(store, 'x', 'n', clock), new StoreLease(store, 'x', 'n', clock)];
    expect(await one.take(60_000)).toBe(true);
    expect(await two.take(60_000)).toBe(false);
    expect(await one.take(60_000)).toBe(true);
    await two.release();
    expect(await two.take(60_000)).toBe(false);
    await one.release();
    expect(await two.take(60_000)).toBe(true);
  });

  test('the audit chain is untouched by deliveries that arrive', async () => {
    await store.write((tx) =>
      append(tx, {
        by: { organizationId: ORGANIZATION, actor: { type: 'server' }, at: clock.now() },
        projectId: null,
        type: 'organization.updated',
        payload: { id: ORGANIZATION },
      }),
    );
    await put('whe_1');
    await courierOf(async () => ({ kind: 'sent' })).pass();
    expect(await store.db.selectFrom('audit_log').select('seq').execute()).toHaveLength(1);
  });
});
