// The tables of credits. Sums of nano-dollars are decimal text, read and written whole under the lock of the budget that
// the credits are held in.

export interface CreditTables {
  credit_accounts: CreditAccountTable;
  credit_grants: CreditGrantTable;
}

/** How an organization pays, once somebody said so. */
export interface CreditAccountTable {
  organization_id: string;
  billing: 'prepaid' | 'postpaid';
  /** The hard budget that its credits are; null while it is post-paid. */
  budget_id: string | null;
  /** Nano-dollars, decimal: of what is settled in that budget, how much the grants were charged. */
  charged: string;
  declared_at: number;
}

export interface CreditGrantTable {
  id: string;
  organization_id: string;
  /** Nano-dollars, decimal, as the three that follow. amount = used + taken + what is left. */
  amount: string;
  used: string;
  /** What expiry or a revocation took away. */
  taken: string;
  /** Of what was taken: so much may calls still use that were under way then. */
  honours: string;
  status: 'active' | 'used' | 'expired' | 'revoked';
  note: string;
  /** The administrator's own name for it (an invoice's number): a grant with the same one is not made twice. */
  reference: string | null;
  created_at: number;
  expires_at: number | null;
  ended_at: number | null;
}
