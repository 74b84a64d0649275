// Opens spending over a store: escrow, its keeper, the budgets, and the reconciliation of nodes that died.

import type { Clock } from '../platform/clock.ts';
import { newLeaseId } from '../platform/ids.ts';
import type { Store } from '../store/store.ts';
import type { Budget } from './budgets/model.ts';
import { endDueGrants } from './credits/store.ts';
import { Escrow } from './escrow/escrow.ts';
import { EscrowKeeper } from './escrow/keep.ts';
import { SqlEscrowStore } from './escrow/store.ts';
import { LimitNotices } from './limit-notices.ts';
import { priceTable } from './prices/import.ts';
import type { PriceList } from './prices/model.ts';
import type { PriceTable } from './prices/table.ts';
import { type ReconcileDeps, reconcileAll, reconcileLease } from './reconcile.ts';
import { Spending, type SpendingRules } from './spending.ts';

/** A new lease is begun this often, in milliseconds. */
const LEASE_LIFE_MS = 3_600_000;
/** How long a stop waits until everything that this node holds was given back, in milliseconds. */
const STOP_MS = 5_000;

export interface OpenSpendingOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly node: string;
  readonly rules: SpendingRules;
  /** The configuration's own prices. */
  readonly prices: PriceList | null;
  readonly providers: readonly { readonly name: string; readonly baseUrl: URL }[];
  readonly onError: (error: unknown) => void;
}

export interface OpenSpending {
  readonly spending: Spending;
  readonly escrowStore: SqlEscrowStore;
  readonly notices: LimitNotices;
  /** After the last call was settled: gives back what this node holds. */
  close(): Promise<void>;
}

export async function openSpending(options: OpenSpendingOptions): Promise<OpenSpending> {
  const { store, clock, onError } = options;
  const escrow = new Escrow<Budget>(options.node, () => newLeaseId(clock.now()));
  // Nodes of one PostgreSQL go by its clock; the embedded store has one node, and its own.
  const escrowStore = new SqlEscrowStore(store, store.kind === 'postgres' ? null : clock, (budgetIds, now) =>
    endDueGrants(store, budgetIds, now),
  );
  const notices = new LimitNotices(store, onError);
  const spending = new Spending({
    rules: options.rules,
    escrow,
    clock,
    paid: options.providers.length > 0,
    prices: () => priceTable(store.db, options.prices),
    listName: listNames(options.providers),
    onRefused: (refusal, at) => notices.note(refusal, at),
  });
  await spending.load(store);
  const unfollow = spending.follow(store);
  const reconciling: ReconcileDeps = { store, escrow: escrowStore, budgets: spending.budgets };
  const keeper = new EscrowKeeper(escrow, escrowStore, {
    clock,
    onError,
    onFenced: (lease) => reconcileLease(reconciling, lease),
  });
  const renewing = setInterval(() => escrow.renew(), LEASE_LIFE_MS).unref();
  const earlier = reconcileAll(reconciling).catch(onError);
  return {
    spending,
    escrowStore,
    notices,
    close: async () => {
      clearInterval(renewing);
      await earlier;
      await keeper.stop(STOP_MS);
      await notices.close();
      await unfollow();
    },
  };
}

/** The price lists' names of providers: by where they are, else what the administrator calls them. */
export function listNames(
  providers: readonly { readonly name: string; readonly baseUrl: URL }[],
): (table: PriceTable, provider: string) => string {
  const byTable = new WeakMap<PriceTable, Map<string, string>>();
  return (table, provider) => {
    let names = byTable.get(table);
    if (names === undefined) {
      names = new Map(providers.map(({ name, baseUrl }) => [name, table.providerAt(baseUrl) ?? name]));
      byTable.set(table, names);
    }
    return names.get(provider) ?? provider;
  };
}
