// What an owner spent in the running window before its budget was made: a limit that is set in the middle of a month is
// the month's. It is read from the roll-ups, which are a few seconds behind; end users and groups are not told apart in
// them, and begin at nothing.

import { sql } from 'kysely';
import type { Tx } from '../../store/store.ts';
import { accountName, accountRow } from '../escrow/rows.ts';
import type { Budget, BudgetScope } from './model.ts';
import { windowAt } from './window.ts';

const COLUMNS = {
  organization: 'organization_id',
  project: 'project_id',
  api_key: 'key_id',
  service_account: 'owner_id',
} as const satisfies Partial<Record<BudgetScope, string>>;

/** Within the `write` that adds a budget: enters what was spent as settled. */
export async function enterSpentBefore(tx: Tx, budget: Budget, atMs: number): Promise<void> {
  if (budget.scope === 'end_user' || budget.scope === 'group' || budget.scope === 'credits') return;
  const column = COLUMNS[budget.scope];
  const { start } = windowAt(budget.period, atMs);
  const each = budget.scopeId === '*';
  let query = tx
    .selectFrom('usage_days as day')
    .innerJoin('usage_series as series', 'series.id', 'day.series')
    .select([`series.${column} as owner`, sql<string>`cast(sum(day.cost) as text)`.as('spent')])
    .where('day.start', '>=', start)
    .where('series.organization_id', '=', budget.organizationId)
    .groupBy(`series.${column}`)
    .having(sql<boolean>`sum(day.cost) > 0`);
  if (budget.projectId !== null) query = query.where('series.project_id', '=', budget.projectId);
  if (!each) query = query.where(`series.${column}`, '=', budget.scopeId);
  for (const { owner, spent } of await query.execute()) {
    const key = { budgetId: budget.id, subject: each ? owner : '', windowStart: start };
    const settled = BigInt(spent);
    const state = { committed: settled, settled, overrun: 0n, pressedUntil: 0 };
    await tx
      .insertInto('escrow_accounts')
      .values(accountRow(accountName(key), key, state))
      .execute();
  }
}
