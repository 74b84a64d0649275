// The tables of rate limits: statements that the Administration API edits, usage tiers, and the payments that raise them.

export interface LimitsTables {
  rate_limits: RateLimitTable;
  usage_tiers: UsageTierTable;
  payments: PaymentTable;
}

/** One statement, as it stands in a table of limits under `organizations`, `projects`, … */
export interface RateLimitTable {
  organization_id: string;
  scope: 'organization' | 'project' | 'service_account' | 'api_key' | 'end_user';
  /** The organization's, project's, service account's or key's id; for end users, their project's. */
  subject_id: string;
  /** A model, `prefix*`, a group, a long-context pool, or `all`. */
  name: string;
  /** JSON: dimensions and their amounts, at least one. */
  limits: string;
  updated_at: number;
}

/** Where an organization stands: one row once it has paid or was pinned. */
export interface UsageTierTable {
  organization_id: string;
  /** The tier that it has reached, as it was last announced; null: not looked at yet. */
  tier: string | null;
  /** The tier that an administrator set by hand. */
  pinned: string | null;
  /** Nano-dollars, decimal: the sum of its payments. */
  paid_nano: string;
  first_payment_at: number | null;
}

export interface PaymentTable {
  id: string;
  organization_id: string;
  /** Nano-dollars, decimal; negative for what was paid back. */
  amount_nano: string;
  /** When it was paid. */
  at: number;
  note: string;
  /** What names it elsewhere, an invoice's number for one: at most one payment of an organization has it. */
  reference: string | null;
  created_at: number;
}
