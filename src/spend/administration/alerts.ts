// Spend alerts as the published API has them: a threshold for the month, and who is told. All alerts of an owner are
// counted by one soft budget, which lives as long as there is one of them.

import { z } from '@hono/zod-openapi';
import { beyond, cut, type Page, type PageRequest, unknownAfter } from '../../access/page.ts';
import type { Attribution } from '../../audit/model.ts';
import { ApiError } from '../../platform/errors.ts';
import { type BudgetId, newId } from '../../platform/ids.ts';
import type { SpendAlertTable } from '../../store/schema-money.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import { enterSpentBefore } from '../budgets/before.ts';
import { type Budget, MAX_ALERTS } from '../budgets/model.ts';
import { changeBudget, deleteBudget, insertBudget } from '../budgets/store.ts';
import { windowAt } from '../budgets/window.ts';
import { accountName, writeAlerts } from '../escrow/rows.ts';
import { assertActiveOwner, assertOwner, note, type Owner, scopeOf } from './owner.ts';

export const ChannelSchema = z.strictObject({
  type: z.literal('email'),
  recipients: z
    .array(z.email('must be an e-mail address').max(320))
    .min(1, 'must name at least one recipient')
    .max(100, 'must name at most 100 recipients'),
  subject_prefix: z.string().max(200).nullable().optional(),
});

export type Channel = z.infer<typeof ChannelSchema>;

export interface AlertTerms {
  /** Nano-dollars. */
  readonly threshold: bigint;
  readonly channel: Channel;
}

/** Alerts of one owner; their thresholds may coincide. */
const MAX_OF_OWNER = 200;

export async function listAlerts(
  db: Db,
  owner: Owner,
  page: PageRequest & { readonly before?: string | undefined },
): Promise<Page<SpendAlertTable>> {
  await assertOwner(db, owner);
  const order = page.order ?? 'asc';
  let query = ofOwner(db, owner);
  if (page.after !== undefined)
    query = query.where(beyond('spend_alerts', await placeOf(db, owner, page.after), order));
  // The page before an alert: read backwards from it, and turned round.
  const back = page.before !== undefined && page.after === undefined;
  const reading = back ? (order === 'asc' ? 'desc' : 'asc') : order;
  if (page.before !== undefined) {
    const towards = order === 'asc' ? 'desc' : 'asc';
    query = query.where(beyond('spend_alerts', await placeOf(db, owner, page.before), towards));
  }
  const rows = await query
    .orderBy('created_at', reading)
    .orderBy('id', reading)
    .limit(page.limit + 1)
    .execute();
  const found = cut(rows, page.limit);
  return back ? { rows: found.rows.toReversed(), hasMore: found.hasMore } : found;
}

/** The owner's alert of this id, or 404. */
export async function getAlert(db: Db | Tx, owner: Owner, id: string): Promise<SpendAlertTable> {
  await assertOwner(db, owner);
  const row = await ofOwner(db, owner).where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw new ApiError(404, 'No such spend alert.', { param: 'alert_id' });
  return row;
}

export async function createAlert(
  store: Store,
  tx: Tx,
  by: Attribution,
  owner: Owner,
  terms: AlertTerms,
): Promise<SpendAlertTable> {
  await assertActiveOwner(tx, owner);
  const others = await ofOwner(tx, owner).execute();
  if (others.length >= MAX_OF_OWNER)
    throw new ApiError(400, `There are ${MAX_OF_OWNER} spend alerts already: delete one first.`);
  const row: SpendAlertTable = {
    id: newId('alert_'),
    organization_id: owner.organizationId,
    project_id: owner.projectId,
    budget_id: others[0]?.budget_id ?? newId('budget_'),
    threshold: terms.threshold.toString(),
    channel: JSON.stringify(terms.channel),
    created_at: by.at,
  };
  await tx.insertInto('spend_alerts').values(row).execute();
  await count(store, tx, by, owner, row.budget_id, others.length === 0);
  await note(tx, by, owner.projectId, 'spend_alert.created', row.id, changesOf(terms));
  return row;
}

export async function updateAlert(
  store: Store,
  tx: Tx,
  by: Attribution,
  owner: Owner,
  id: string,
  terms: AlertTerms,
): Promise<SpendAlertTable> {
  await assertActiveOwner(tx, owner);
  const row = await getAlert(tx, owner, id);
  const after = { ...row, threshold: terms.threshold.toString(), channel: JSON.stringify(terms.channel) };
  const { threshold, channel } = after;
  await tx.updateTable('spend_alerts').set({ threshold, channel }).where('id', '=', id).execute();
  await count(store, tx, by, owner, row.budget_id, false);
  await note(tx, by, owner.projectId, 'spend_alert.updated', id, changesOf(terms), changesOf(termsOf(row)));
  return after;
}

export async function deleteAlert(
  store: Store,
  tx: Tx,
  by: Attribution,
  owner: Owner,
  id: string,
): Promise<void> {
  const row = await getAlert(tx, owner, id);
  await tx.deleteFrom('spend_alerts').where('id', '=', id).execute();
  await count(store, tx, by, owner, row.budget_id, false);
  await note(tx, by, owner.projectId, 'spend_alert.deleted', id, null, changesOf(termsOf(row)));
}

/** Brings the budget that counts for an owner's alerts to their thresholds. */
async function count(
  store: Store,
  tx: Tx,
  by: Attribution,
  owner: Owner,
  budgetId: string,
  first: boolean,
): Promise<void> {
  // The column holds what newId made.
  const id = budgetId as BudgetId;
  const thresholds = new Set((await ofOwner(tx, owner).execute()).map((row) => BigInt(row.threshold)));
  if (thresholds.size > MAX_ALERTS)
    throw new ApiError(400, `Alerts may stand at ${MAX_ALERTS} different amounts at most.`, {
      param: 'threshold_amount',
    });
  const alerts = [...thresholds];
  if (alerts.length === 0) await deleteBudget(store, tx, owner.organizationId, id, by.at);
  else if (!first) await changeBudget(store, tx, owner.organizationId, id, { alerts }, by.at);
  else {
    const budget: Budget = {
      id,
      ...owner,
      ...scopeOf(owner),
      period: 'month',
      limit: 0n,
      enforcement: 'soft',
      alerts,
      createdAt: by.at,
    };
    await insertBudget(store, tx, budget);
    await enterSpentBefore(tx, budget, by.at);
  }
  await notePassed(tx, id, alerts, by.at);
}

/** An alert at an amount that this month's spend has passed already is told at once, and not next month. */
async function notePassed(tx: Tx, id: BudgetId, alerts: readonly bigint[], at: number): Promise<void> {
  const key = { budgetId: id, subject: '', windowStart: windowAt('month', at).start };
  const account = await tx
    .selectFrom('escrow_accounts')
    .select('settled')
    .where('name', '=', accountName(key))
    .executeTakeFirst();
  const settled = BigInt(account?.settled ?? '0');
  const passed = alerts.filter((threshold) => threshold <= settled);
  await writeAlerts(
    tx,
    passed.map((threshold) => ({ key, threshold, settled })),
    at,
  );
}

function ofOwner(db: Db | Tx, { organizationId, projectId }: Owner) {
  const query = db.selectFrom('spend_alerts').selectAll().where('organization_id', '=', organizationId);
  return projectId === null
    ? query.where('project_id', 'is', null)
    : query.where('project_id', '=', projectId);
}

async function placeOf(db: Db, owner: Owner, id: string): Promise<SpendAlertTable> {
  const row = await ofOwner(db, owner).where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw unknownAfter();
  return row;
}

function termsOf(row: SpendAlertTable): AlertTerms {
  return { threshold: BigInt(row.threshold), channel: ChannelSchema.parse(JSON.parse(row.channel)) };
}

/** Addresses of people stay out of the log. */
function changesOf({ threshold, channel }: AlertTerms) {
  return { threshold_nano: threshold.toString(), recipients: channel.recipients.length };
}
