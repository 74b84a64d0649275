// The tables of money: budgets, escrow, alerts and imported price lists. Sums of nano-dollars that may pass 2^53 (nine
// million dollars) are decimal text, read and written whole under a lock; a slice never does, and is a number.

export interface MoneyTables {
  budgets: BudgetTable;
  escrow_accounts: EscrowAccountTable;
  escrow_leases: EscrowLeaseTable;
  escrow_slices: EscrowSliceTable;
  budget_alerts: BudgetAlertTable;
  spend_alerts: SpendAlertTable;
  price_lists: PriceListTable;
}

export interface BudgetTable {
  id: string;
  organization_id: string;
  project_id: string | null;
  scope: 'organization' | 'project' | 'api_key' | 'service_account' | 'group' | 'end_user' | 'credits';
  scope_id: string;
  period: 'day' | 'week' | 'month' | 'total';
  /** Nano-dollars, decimal. */
  limit_nano: string;
  enforcement: 'hard' | 'soft';
  /** JSON list of nano-dollars as decimal text, ascending. */
  alerts: string;
  created_at: number;
  /** When the limit is to be looked at again, because a grant of credits expires then; null: never. */
  limit_until: number | null;
}

/** One budget (for one subject) in one window. `name` is made of the three by accountName in spend/escrow/store.ts. */
export interface EscrowAccountTable {
  name: string;
  budget_id: string;
  subject: string;
  window_start: number;
  /** Nano-dollars, decimal: spent, or in some node's slice. */
  committed: string;
  settled: string;
  overrun: string;
  pressed_until: number;
}

export interface EscrowLeaseTable {
  id: string;
  node: string;
  seq: number;
  expires_at: number;
  fenced_at: number | null;
  closed_at: number | null;
}

export interface EscrowSliceTable {
  lease_id: string;
  account: string;
  amount: number;
  spent: number;
}

/** A threshold that was passed: one row for each, in the transaction in which it was. */
export interface BudgetAlertTable {
  budget_id: string;
  subject: string;
  window_start: number;
  threshold: string;
  settled: string;
  crossed_at: number;
  delivered_at: number | null;
}

/** Who is told when an owner's spend passes a threshold. */
export interface SpendAlertTable {
  id: string;
  organization_id: string;
  /** Null: the organization's spend. */
  project_id: string | null;
  /** The soft budget that counts for all alerts of this owner. */
  budget_id: string;
  /** Nano-dollars, decimal. */
  threshold: string;
  /** JSON: the channel as the Administration API has it. */
  channel: string;
  created_at: number;
}

export interface PriceListTable {
  id: string;
  imported_at: number;
  source: string;
  date: string;
  /** JSON, in the internal form of spend/prices/shipped.ts. */
  list: string;
}
