// Spend alerts from the threshold to the recipient: once for each window, by e-mail, webhook and the audit log.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LIMIT_REACHED } from '../../src/spend/administration/alerting.ts';
import { windowAt } from '../../src/spend/budgets/window.ts';
import { type NotifyPlane, openNotifyPlane } from '../notify/plane.ts';
import { stores } from '../store/stores.ts';

const CENT = 10_000_000;

describe.each(stores)('spend alerts on $kind', (kind) => {
  let plane: NotifyPlane;
  beforeEach(async () => {
    plane = await openNotifyPlane(kind);
  });
  afterEach(() => plane.close());

  const budgetOf = async (alertId: string) =>
    (
      await plane.store.db
        .selectFrom('spend_alerts')
        .select('budget_id')
        .where('id', '=', alertId)
        .executeTakeFirstOrThrow()
    ).budget_id;

  /** The threshold is passed: what escrow writes in its transaction. */
  const pass = async (
    alertId: string,
    cents: number,
    windowStart = windowAt('month', plane.clock.now()).start,
  ) => {
    await plane.store.db
      .insertInto('budget_alerts')
      .values({
        budget_id: await budgetOf(alertId),
        subject: '',
        window_start: windowStart,
        threshold: String(cents * CENT),
        settled: String(cents * CENT + 5_000_000),
        crossed_at: plane.clock.now(),
        delivered_at: null,
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  };

  const alert = (cents: number, recipients = ['a@example.com', 'b@example.com'], project = true) => {
    const { organization } = plane.admin.admin;
    const body = {
      currency: 'USD' as const,
      interval: 'month' as const,
      threshold_amount: cents,
      notification_channel: { type: 'email' as const, recipients, subject_prefix: '[money]' },
    };
    return project
      ? organization.projects.spendAlerts.create(plane.projectId, body)
      : organization.spendAlerts.create(body);
  };

  const logged = async (type: string) =>
    (await plane.store.db.selectFrom('audit_log').select('payload').where('type', '=', type).execute()).map(
      ({ payload }) => JSON.parse(payload),
    );

  test('each recipient gets one e-mail, each webhook one event, the audit log one entry', async () => {
    await plane.call('POST', '/v1/keygate/webhooks', {
      body: { name: 'x', url: plane.hook.url, event_types: ['spend_alert.triggered'] },
    });
    const made = await alert(1_000);
    await plane.notify.courier.pass();
    expect(plane.mail.mails).toEqual([]);
    await pass(made.id, 1_000);
    for (let at = 0; at < 3; at++) {
      await plane.notify.courier.pass();
      await pass(made.id, 1_000);
      plane.clock.advance(60_000);
    }
    expect(plane.mail.mails.map(({ to }) => to.join()).sort()).toEqual(['a@example.com', 'b@example.com']);
    const [mail] = plane.mail.mails;
    expect(mail?.text).toMatch(
      /^Subject: \[money\] Spend of project Default project passed \$10\.00 in 2026-01\r$/m,
    );
    expect(mail?.text).toContain('Spent so far: $10.005');
    expect(plane.hook.received).toHaveLength(1);
    expect(JSON.parse(plane.hook.received[0]?.body ?? '')).toMatchObject({
      type: 'spend_alert.triggered',
      data: { id: made.id, project_id: plane.projectId, threshold_amount: 1_000, spent_amount: 1_001 },
    });
    const entries = await logged('spend_alert.triggered');
    expect(entries).toHaveLength(1);
    expect(entries[0]).toMatchObject({ id: made.id, data: { emails: 2, threshold_amount: 1_000 } });
    expect(JSON.stringify(entries), 'addresses of people stay out of the log').not.toContain('@example.com');
    expect(plane.errors).toEqual([]);
  });

  test('the next window tells again', async () => {
    const made = await alert(1_000, ['a@example.com']);
    await pass(made.id, 1_000);
    await plane.notify.courier.pass();
    plane.clock.advance(32 * 86_400_000);
    await pass(made.id, 1_000);
    await plane.notify.courier.pass();
    expect(plane.mail.mails).toHaveLength(2);
    expect(plane.mail.mails[1]?.text).toContain('in 2026-02');
  });

  test('two alerts at one amount reach all their recipients, and nobody twice', async () => {
    const made = await alert(500, ['a@example.com', 'b@example.com']);
    await alert(500, ['B@example.com', 'c@example.com']);
    await pass(made.id, 500);
    await plane.notify.courier.pass();
    expect(plane.mail.mails.flatMap(({ to }) => to.map((address) => address.toLowerCase())).sort()).toEqual([
      'a@example.com',
      'b@example.com',
      'c@example.com',
    ]);
    expect(await logged('spend_alert.triggered')).toHaveLength(2);
  });

  test('an alert at what this month’s spend has passed already is told at once', async () => {
    const first = await alert(10_000, ['a@example.com']);
    await plane.store.db
      .insertInto('escrow_accounts')
      .values({
        name: `${await budgetOf(first.id)}/${windowAt('month', plane.clock.now()).start}/`,
        budget_id: await budgetOf(first.id),
        subject: '',
        window_start: windowAt('month', plane.clock.now()).start,
        committed: String(700 * CENT),
        settled: String(700 * CENT),
        overrun: '0',
        pressed_until: 0,
      })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ settled: String(700 * CENT) }))
      .execute();
    await alert(600, ['b@example.com']);
    await alert(800, ['c@example.com']);
    await plane.notify.courier.pass();
    expect(plane.mail.mails.flatMap(({ to }) => to)).toEqual(['b@example.com']);
  });

  test('a hard limit that refused its first call is told as spend_limit.reached', async () => {
    await plane.call('POST', '/v1/keygate/webhooks', {
      body: { name: 'x', url: plane.hook.url, event_types: ['spend_limit.reached'] },
    });
    await plane.admin.admin.organization.projects.spendLimit.update(plane.projectId, {
      currency: 'USD',
      interval: 'month',
      threshold_amount: 2_000,
    });
    const budget = await plane.store.db.selectFrom('budgets').select('id').executeTakeFirstOrThrow();
    await plane.store.db
      .insertInto('budget_alerts')
      .values({
        budget_id: budget.id,
        subject: '',
        window_start: windowAt('month', plane.clock.now()).start,
        threshold: LIMIT_REACHED,
        settled: String(1_999 * CENT),
        crossed_at: plane.clock.now(),
        delivered_at: null,
      })
      .execute();
    await plane.notify.courier.pass();
    expect(JSON.parse(plane.hook.received[0]?.body ?? '')).toMatchObject({
      type: 'spend_limit.reached',
      data: { id: budget.id, threshold_amount: 2_000, spent_amount: 1_999, project_id: plane.projectId },
    });
    expect(await logged('spend_limit.reached')).toHaveLength(1);
  });

  test('an alert that was deleted meanwhile tells nobody', async () => {
    const made = await alert(1_000);
    await pass(made.id, 1_000);
    await plane.admin.admin.organization.projects.spendAlerts.delete(made.id, {
      project_id: plane.projectId,
    });
    await plane.notify.courier.pass();
    expect(plane.mail.mails).toEqual([]);
    const waiting = await plane.store.db
      .selectFrom('budget_alerts')
      .select('threshold')
      .where('delivered_at', 'is', null)
      .execute();
    expect(waiting).toEqual([]);
  });
});
