// The rows of escrow: how the states of protocol.ts are written and read.

import type { Tx } from '../../store/store.ts';
import type { AccountKey, AccountState, SliceState } from './protocol.ts';

/** The name of an account: its parts in one text, the subject last because it may hold anything. */
export function accountName({ budgetId, windowStart, subject }: AccountKey): string {
  return `${budgetId}/${windowStart}/${subject}`;
}

/** An account that is locked, and what becomes of it. */
export interface AccountRow {
  readonly key: AccountKey;
  state: AccountState;
}

/** A threshold that was passed. */
export interface Passed {
  readonly key: AccountKey;
  readonly threshold: bigint;
  readonly settled: bigint;
}

export function stateOf(row: {
  committed: string;
  settled: string;
  overrun: string;
  pressed_until: number;
}): AccountState {
  return {
    committed: BigInt(row.committed),
    settled: BigInt(row.settled),
    overrun: BigInt(row.overrun),
    pressedUntil: row.pressed_until,
  };
}

export function accountRow(name: string, key: AccountKey, state: AccountState) {
  return {
    name,
    budget_id: key.budgetId,
    subject: key.subject,
    window_start: key.windowStart,
    committed: state.committed.toString(),
    settled: state.settled.toString(),
    overrun: state.overrun.toString(),
    pressed_until: state.pressedUntil,
  };
}

export async function writeAccounts(tx: Tx, rows: ReadonlyMap<string, AccountRow>): Promise<void> {
  if (rows.size === 0) return;
  await tx
    .insertInto('escrow_accounts')
    .values([...rows].map(([name, { key, state }]) => accountRow(name, key, state)))
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet((eb) => ({
        committed: eb.ref('excluded.committed'),
        settled: eb.ref('excluded.settled'),
        overrun: eb.ref('excluded.overrun'),
        pressed_until: eb.ref('excluded.pressed_until'),
      })),
    )
    .execute();
}

export async function writeSlices(
  tx: Tx,
  lease: string,
  slices: ReadonlyMap<string, SliceState>,
): Promise<void> {
  if (slices.size === 0) return;
  await tx
    .insertInto('escrow_slices')
    .values([...slices].map(([account, { amount, spent }]) => ({ lease_id: lease, account, amount, spent })))
    .onConflict((conflict) =>
      conflict
        .columns(['lease_id', 'account'])
        .doUpdateSet((eb) => ({ amount: eb.ref('excluded.amount'), spent: eb.ref('excluded.spent') })),
    )
    .execute();
}

/** Once each: the primary key is the threshold in its window. */
export async function writeAlerts(tx: Tx, passed: readonly Passed[], now: number): Promise<void> {
  if (passed.length === 0) return;
  await tx
    .insertInto('budget_alerts')
    .values(
      passed.map(({ key, threshold, settled }) => ({
        budget_id: key.budgetId,
        subject: key.subject,
        window_start: key.windowStart,
        threshold: threshold.toString(),
        settled: settled.toString(),
        crossed_at: now,
        delivered_at: null,
      })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Removes leases that ended before `before` and hold nothing that is unresolved. */
export async function forget(tx: Tx, before: number): Promise<void> {
  const over = tx
    .selectFrom('escrow_leases')
    .select('id')
    .where((eb) => eb.or([eb('closed_at', '<', before), eb('fenced_at', '<', before)]))
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('escrow_slices')
            .select('lease_id')
            .whereRef('escrow_slices.lease_id', '=', 'escrow_leases.id')
            .whereRef('amount', '>', 'spent'),
        ),
      ),
    );
  const ids = (await over.limit(500).execute()).map(({ id }) => id);
  if (ids.length === 0) return;
  await tx.deleteFrom('escrow_slices').where('lease_id', 'in', ids).execute();
  await tx.deleteFrom('escrow_leases').where('id', 'in', ids).execute();
}
