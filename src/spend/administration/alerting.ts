// From a threshold that was passed to those who want to know. Escrow writes a row for each threshold, once in each
// window, in the transaction in which spend passed it (and the road one for each hard limit that refused its first
// call). Here a row becomes, in one transaction, an entry of the audit log, an event for webhooks and an e-mail to each
// recipient, and is marked: whoever dies in between has told nobody. From there the outbox sees to it that it arrives.

import { append } from '../../audit/chain.ts';
import { enqueue } from '../../notify/outbox.ts';
import { publish } from '../../notify/publish.ts';
import type { OrganizationId, ProjectId } from '../../platform/ids.ts';
import type { BudgetAlertTable, BudgetTable, SpendAlertTable } from '../../store/schema-money.ts';
import type { Store, Tx } from '../../store/store.ts';
import { nanoToCents } from '../budgets/model.ts';
import { type AlertFacts, alertEmail } from './alert-text.ts';
import { ChannelSchema } from './alerts.ts';

/** In place of a threshold: a hard limit refused a call. */
export const LIMIT_REACHED = 'limit';
const GROUP = 50;

/** Passes on what waits. @returns how many thresholds and limits that were */
export async function passOnAlerts(store: Store, now: () => number): Promise<number> {
  let passed = 0;
  for (;;) {
    const waiting = await store.db
      .selectFrom('budget_alerts')
      .select('budget_id')
      .where('delivered_at', 'is', null)
      .limit(1)
      .executeTakeFirst();
    if (waiting === undefined) return passed;
    passed += await store.write((tx) => passOnGroup(tx, now()));
  }
}

async function passOnGroup(tx: Tx, now: number): Promise<number> {
  const rows = await tx
    .selectFrom('budget_alerts')
    .selectAll()
    .where('delivered_at', 'is', null)
    .orderBy('crossed_at')
    .limit(GROUP)
    .execute();
  for (const row of rows) {
    await passOn(tx, row, now);
    await tx
      .updateTable('budget_alerts')
      .set({ delivered_at: now })
      .where('budget_id', '=', row.budget_id)
      .where('subject', '=', row.subject)
      .where('window_start', '=', row.window_start)
      .where('threshold', '=', row.threshold)
      .execute();
  }
  return rows.length;
}

async function passOn(tx: Tx, row: BudgetAlertTable, now: number): Promise<void> {
  const budget = await tx
    .selectFrom('budgets')
    .selectAll()
    .where('id', '=', row.budget_id)
    .executeTakeFirst();
  // Deleted meanwhile: nobody wants to know any more.
  if (budget === undefined) return;
  const facts = await factsOf(tx, budget, row);
  if (row.threshold === LIMIT_REACHED) return await tell(tx, budget, row, facts, null, now);
  const alerts = await tx
    .selectFrom('spend_alerts')
    .selectAll()
    .where('budget_id', '=', budget.id)
    .where('threshold', '=', row.threshold)
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  if (alerts.length === 0) return await tell(tx, budget, row, facts, null, now);
  const told = new Set<string>();
  for (const alert of alerts) await tell(tx, budget, row, facts, { alert, told }, now);
}

async function tell(
  tx: Tx,
  budget: BudgetTable,
  row: BudgetAlertTable,
  facts: AlertFacts,
  by: { readonly alert: SpendAlertTable; readonly told: Set<string> } | null,
  now: number,
): Promise<void> {
  // The columns hold what newId made.
  const organizationId = budget.organization_id as OrganizationId;
  const projectId = budget.project_id as ProjectId | null;
  const reached = facts.threshold === null;
  const type = reached ? 'spend_limit.reached' : 'spend_alert.triggered';
  const data = {
    id: by?.alert.id ?? budget.id,
    organization_id: organizationId,
    project_id: projectId,
    budget_id: budget.id,
    scope: budget.scope,
    scope_id: row.subject === '' ? budget.scope_id : row.subject,
    interval: budget.period,
    window_start: Math.floor(row.window_start / 1000),
    currency: 'USD',
    threshold_amount: nanoToCents(facts.threshold ?? BigInt(budget.limit_nano)),
    spent_amount: nanoToCents(facts.settled),
  };
  const event_id = await publish(tx, { organizationId, projectId, type, at: row.crossed_at, data });
  const channel = by === null ? null : ChannelSchema.parse(JSON.parse(by.alert.channel));
  const recipients = (channel?.recipients ?? []).filter((address) => !by?.told.has(address.toLowerCase()));
  for (const address of recipients) by?.told.add(address.toLowerCase());
  const body = JSON.stringify(alertEmail(facts, channel?.subject_prefix));
  await enqueue(
    tx,
    [...new Set(recipients)].map((target) => ({
      organizationId,
      projectId,
      channel: 'email',
      target,
      eventId: event_id,
      eventType: type,
      body,
    })),
    now,
  );
  await append(tx, {
    by: { organizationId, actor: { type: 'server' }, at: now },
    projectId,
    type,
    payload: { id: data.id, data: { ...data, event_id, emails: recipients.length } },
  });
}

async function factsOf(tx: Tx, budget: BudgetTable, row: BudgetAlertTable): Promise<AlertFacts> {
  const { name } = await tx
    .selectFrom('organizations')
    .select('name')
    .where('id', '=', budget.organization_id)
    .executeTakeFirstOrThrow();
  const project =
    budget.project_id === null
      ? undefined
      : await tx
          .selectFrom('projects')
          .select('name')
          .where('organization_id', '=', budget.organization_id)
          .where('id', '=', budget.project_id)
          .executeTakeFirst();
  return {
    budget: row.subject === '' ? budget : { ...budget, scope_id: row.subject },
    organizationName: name,
    projectName: project?.name ?? null,
    threshold: row.threshold === LIMIT_REACHED ? null : BigInt(row.threshold),
    settled: BigInt(row.settled),
    windowStart: row.window_start,
    crossedAt: row.crossed_at,
  };
}
