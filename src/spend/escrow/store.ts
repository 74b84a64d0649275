// Escrow in the database: a turn is one transaction that locks the lease, then the accounts in the order of their
// names, applies the rules of protocol.ts, and writes what they say. On PostgreSQL nodes that share no budget do not
// wait for each other; on SQLite transactions take turns anyway.
//
// The budgets' rows are read under a shared lock, so that a limit that was lowered holds for every turn that commits
// after it.

import { type RawBuilder, sql } from 'kysely';
import type { Clock } from '../../platform/clock.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import { crossed } from '../budgets/model.ts';
import { readAlerts } from '../budgets/store.ts';
import { windowAt } from '../budgets/window.ts';
import {
  type AccountKey,
  type AccountState,
  applyEntry,
  applyEvidence,
  applyLease,
  CLOSED,
  type EscrowStore,
  type FencedLease,
  type Granted,
  type LeaseState,
  MAX_SLICE,
  NEW_ACCOUNT,
  type SliceState,
  type TurnEntry,
  type TurnReply,
  type TurnRequest,
  type Unresolved,
  windowOpen,
} from './protocol.ts';
import {
  type AccountRow,
  accountName,
  accountRow,
  forget,
  type Passed,
  stateOf,
  writeAccounts,
  writeAlerts,
  writeSlices,
} from './rows.ts';

/** A closed or resolved lease is remembered for this long, so that a late turn of it is known: a day. */
const REMEMBERED_MS = 86_400_000;

interface BudgetTerms {
  readonly limit: bigint;
  readonly hard: boolean;
  readonly period: 'day' | 'week' | 'month' | 'total';
  readonly alerts: readonly bigint[];
}

interface Accounts {
  readonly rows: Map<string, AccountRow>;
  readonly slices: Map<string, SliceState>;
}

export class SqlEscrowStore implements EscrowStore {
  private readonly db: Db;
  private readonly kind: Store['kind'];
  private readonly clock: Clock | null;
  private readonly endDue: (budgetIds: readonly string[], now: number) => Promise<void>;

  /**
   * @param clock the store's time; null: the database's own, which all nodes share (PostgreSQL)
   * @param endDue called when the limit of these budgets has to be looked at again, before anything is granted on it
   */
  constructor(
    store: Pick<Store, 'db' | 'kind'>,
    clock: Clock | null,
    endDue: (budgetIds: readonly string[], now: number) => Promise<void> = nothingEnds,
  ) {
    this.db = store.db;
    this.kind = store.kind;
    this.clock = clock;
    this.endDue = endDue;
  }

  async turn(request: TurnRequest): Promise<TurnReply> {
    return await this.current(async (tx) => {
      const { now, lease } = await this.lease(tx, request);
      const state = applyLease(lease, request, now);
      if (state === 'closed') return CLOSED;
      if (typeof state === 'string') return { kind: state };
      await tx
        .updateTable('escrow_leases')
        .set({ seq: state.seq, expires_at: state.expiresAt, closed_at: state.closed ? now : null })
        .where('id', '=', request.lease)
        .execute();
      const granted = await this.apply(tx, request.lease, request.entries, state.fencedAt === null, now);
      if (state.closed) await tx.deleteFrom('escrow_slices').where('lease_id', '=', request.lease).execute();
      return { kind: 'done', fenced: state.fencedAt !== null, granted };
    });
  }

  async fence(): Promise<readonly FencedLease[]> {
    return await this.transaction(async (tx) => {
      const now = await this.now(tx);
      const rows = await tx
        .updateTable('escrow_leases')
        .set({ fenced_at: now })
        .where('expires_at', '<=', now)
        .where('fenced_at', 'is', null)
        .where('closed_at', 'is', null)
        .returning(['id', 'node'])
        .execute();
      await forget(tx, now - REMEMBERED_MS);
      return rows.map(({ id, node }) => ({ lease: id, node, fencedAt: now }));
    });
  }

  async reconcile(lease: string, spent: readonly (AccountKey & { readonly spent: number })[]): Promise<void> {
    for (const each of spent) await this.evidence(lease, each, each.spent, false);
  }

  /**
   * Evidence of all that a fenced lease really spent on an account: the provider's bill, or an administrator's word.
   * The rest of its slice returns to the budget.
   * @param afterMs how long ago the lease must have been fenced: at least as long as a call may take, because its
   *   node, if it lives, may have had calls under way
   * @returns false if there is no such slice, or it is too early
   */
  async resolve(lease: string, account: AccountKey, spent: number, afterMs: number): Promise<boolean> {
    return await this.evidence(lease, account, spent, true, afterMs);
  }

  /** What dead nodes hold beyond what is known to be settled, oldest first, at most 1,000. */
  async unresolved(): Promise<readonly Unresolved[]> {
    const rows = await this.db
      .selectFrom('escrow_slices')
      .innerJoin('escrow_leases', 'escrow_leases.id', 'escrow_slices.lease_id')
      .innerJoin('escrow_accounts', 'escrow_accounts.name', 'escrow_slices.account')
      .select(['lease_id', 'node', 'fenced_at', 'budget_id', 'subject', 'window_start', 'amount', 'spent'])
      .where('fenced_at', 'is not', null)
      .whereRef('amount', '>', 'spent')
      .orderBy('fenced_at')
      .orderBy('account')
      .limit(1000)
      .execute();
    return rows.map((row) => ({
      lease: row.lease_id,
      node: row.node,
      fencedAt: row.fenced_at ?? 0,
      budgetId: row.budget_id,
      subject: row.subject,
      windowStart: row.window_start,
      amount: row.amount,
      spent: row.spent,
    }));
  }

  /** What is known of one account: undefined if nothing was ever spent in it. */
  async account(key: AccountKey): Promise<AccountState | undefined> {
    const row = await this.db
      .selectFrom('escrow_accounts')
      .selectAll()
      .where('name', '=', accountName(key))
      .executeTakeFirst();
    return row && stateOf(row);
  }

  /** A transaction in which every limit is the one of now: one that has run out is renewed first. */
  private async current<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await this.transaction(work);
      } catch (error) {
        if (!(error instanceof LimitsDue)) throw error;
        await this.endDue(error.budgetIds, error.now);
      }
    }
  }

  private async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    if (this.kind === 'sqlite') return await this.db.transaction().execute(work);
    // Every row that matters is locked when it is read, so that the weakest level is exact, and none fails.
    return await this.db.transaction().setIsolationLevel('read committed').execute(work);
  }

  private get time(): RawBuilder<number> {
    if (this.clock !== null) return sql<number>`cast(${this.clock.now()} as bigint)`;
    return sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`;
  }

  private async now(tx: Tx): Promise<number> {
    const { rows } = await sql<{ now: number }>`select ${this.time} as now`.execute(tx);
    return rows[0]?.now ?? 0;
  }

  /** The lease's row, locked, and the time; made if this is the first turn of a lease. */
  private async lease(
    tx: Tx,
    { lease: id, node, opened }: TurnRequest,
  ): Promise<{ now: number; lease: LeaseState | undefined }> {
    if (!opened) {
      // With number 0, so that the turn itself, whatever its number, comes after it.
      await tx
        .insertInto('escrow_leases')
        .values({ id, node, seq: 0, expires_at: 0, fenced_at: null, closed_at: null })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    }
    const query = tx.selectFrom('escrow_leases').selectAll().select(this.time.as('now')).where('id', '=', id);
    const row = await this.locked(query).executeTakeFirst();
    if (row === undefined) return { now: 0, lease: undefined };
    const { seq, expires_at: expiresAt, fenced_at: fencedAt } = row;
    return { now: row.now, lease: { seq, expiresAt, fencedAt, closed: row.closed_at !== null } };
  }

  private async apply(
    tx: Tx,
    lease: string,
    entries: readonly TurnEntry[],
    live: boolean,
    now: number,
  ): Promise<Granted[]> {
    if (entries.length === 0) return [];
    const budgets = await this.terms(tx, entries, now);
    const { rows, slices } = await this.accounts(
      tx,
      lease,
      entries.filter((entry) => budgets.has(entry.budgetId)),
    );
    const passed: Passed[] = [];
    const granted = entries.map((entry): Granted => {
      const name = accountName(entry);
      const row = rows.get(name);
      const budget = budgets.get(entry.budgetId);
      // The budget was deleted: there is nothing to keep the call from.
      if (row === undefined || budget === undefined) return unlimited(entry);
      const window = windowAt(budget.period, entry.windowStart);
      const open = windowOpen(window.start, window.end, now);
      const applied = applyEntry(row.state, slices.get(name), entry, { ...budget, live, open, now });
      for (const threshold of crossed(budget.alerts, row.state.settled, applied.account.settled)) {
        passed.push({ key: entry, threshold, settled: applied.account.settled });
      }
      row.state = applied.account;
      slices.set(name, applied.slice);
      return applied.granted;
    });
    await writeAccounts(tx, rows);
    await writeSlices(tx, lease, slices);
    await writeAlerts(tx, passed, now);
    return granted;
  }

  /** @throws LimitsDue */
  private async terms(
    tx: Tx,
    entries: readonly AccountKey[],
    now: number,
  ): Promise<Map<string, BudgetTerms>> {
    const ids = [...new Set(entries.map((entry) => entry.budgetId))].sort();
    const query = tx
      .selectFrom('budgets')
      .select(['id', 'period', 'limit_nano', 'enforcement', 'alerts', 'limit_until']);
    const chosen = query.where('id', 'in', ids).orderBy('id');
    const rows = await (this.kind === 'postgres' ? chosen.forShare() : chosen).execute();
    const due = rows.filter(({ limit_until: until }) => until !== null && until <= now);
    if (due.length > 0)
      throw new LimitsDue(
        due.map(({ id }) => id),
        now,
      );
    return new Map(
      rows.map((row) => [
        row.id,
        {
          limit: BigInt(row.limit_nano),
          hard: row.enforcement === 'hard',
          period: row.period,
          alerts: readAlerts(row.alerts),
        },
      ]),
    );
  }

  /**
   * The accounts' rows by name, locked in that order, so that two turns never wait for each other in a circle; and the
   * lease's slices of them, which its own row, locked before, protects.
   */
  private async accounts(tx: Tx, lease: string, keys: readonly AccountKey[]): Promise<Accounts> {
    const wanted = new Map(keys.map((key) => [accountName(key), key]));
    const accounts: Accounts = { rows: new Map(), slices: new Map() };
    const names = [...wanted.keys()].sort();
    if (names.length === 0) return accounts;
    let found = await this.read(tx, lease, names);
    if (found.length < names.length) {
      for (const { name } of found) wanted.delete(name);
      await tx
        .insertInto('escrow_accounts')
        .values([...wanted].map(([name, key]) => accountRow(name, key, NEW_ACCOUNT)))
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      found = await this.read(tx, lease, names);
    }
    for (const row of found) {
      const key = { budgetId: row.budget_id, subject: row.subject, windowStart: row.window_start };
      accounts.rows.set(row.name, { key, state: stateOf(row) });
      const { amount, spent } = row;
      if (amount !== null && spent !== null) accounts.slices.set(row.name, { amount, spent });
    }
    return accounts;
  }

  private async read(tx: Tx, lease: string, names: readonly string[]) {
    const query = tx
      .selectFrom('escrow_accounts')
      .leftJoin('escrow_slices', (join) =>
        join
          .onRef('escrow_slices.account', '=', 'escrow_accounts.name')
          .on('escrow_slices.lease_id', '=', lease),
      )
      .selectAll('escrow_accounts')
      .select(['escrow_slices.amount', 'escrow_slices.spent'])
      .where('escrow_accounts.name', 'in', names)
      .orderBy('escrow_accounts.name');
    return await (this.kind === 'postgres' ? query.forUpdate('escrow_accounts') : query).execute();
  }

  private async evidence(
    lease: string,
    key: AccountKey,
    spent: number,
    whole: boolean,
    afterMs = 0,
  ): Promise<boolean> {
    return await this.current(async (tx) => {
      const now = await this.now(tx);
      const row = await this.locked(
        tx.selectFrom('escrow_leases').select('fenced_at').where('id', '=', lease),
      ).executeTakeFirst();
      if (row === undefined || row.fenced_at === null || row.fenced_at > now - afterMs) return false;
      const name = accountName(key);
      const budgets = await this.terms(tx, [key], now);
      const { rows, slices } = await this.accounts(tx, lease, [key]);
      const account = rows.get(name);
      const slice = slices.get(name);
      if (account === undefined || slice === undefined) return false;
      const budget = budgets.get(key.budgetId);
      const applied = applyEvidence(account.state, slice, spent, whole, budget?.limit ?? 0n);
      const passed = crossed(budget?.alerts ?? [], account.state.settled, applied.account.settled);
      account.state = applied.account;
      await writeAccounts(tx, rows);
      await writeSlices(tx, lease, new Map([[name, applied.slice]]));
      await writeAlerts(
        tx,
        passed.map((threshold) => ({ key, threshold, settled: applied.account.settled })),
        now,
      );
      return true;
    });
  }

  /** Locks the rows until the transaction ends; on SQLite, where there is one at a time, they are. */
  private locked<Q extends { forUpdate(): Q }>(query: Q): Q {
    return this.kind === 'postgres' ? query.forUpdate() : query;
  }
}

/** Thrown out of a transaction: these budgets' limits held until before `now`. */
class LimitsDue extends Error {
  readonly budgetIds: readonly string[];
  readonly now: number;

  constructor(budgetIds: readonly string[], now: number) {
    super('a limit has run out');
    this.budgetIds = budgetIds;
    this.now = now;
  }
}

async function nothingEnds(): Promise<void> {
  throw new Error('escrow was not told how a limit is renewed');
}

function unlimited(entry: TurnEntry): Granted {
  return { amount: entry.want, left: MAX_SLICE, open: false, pressed: false, closed: false };
}
