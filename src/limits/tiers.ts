// Usage tiers: which row of the table an organization sits in.

import { DAY_MS } from './model.ts';
import type { Tier } from './tables.ts';

export interface TierAccount {
  /** Nano-dollars paid since the beginning. */
  readonly paidTotal: bigint;
  /** Milliseconds since the epoch; null: it never paid. */
  readonly firstPaymentAt: number | null;
  /** The tier that an administrator set by hand; null: none. */
  readonly pinned: string | null;
}

/**
 * The tier of an account at `now` (milliseconds since the epoch): the pinned one if the table still has it, else the
 * highest whose paid total and days since the first payment are both reached. Days are whole days of 24 hours.
 */
export function tierFor(tiers: readonly Tier[], account: TierAccount, now: number): Tier {
  const [lowest] = tiers;
  if (lowest === undefined) throw new RangeError('a table of limits has at least one tier');
  if (account.pinned !== null) {
    const pinned = tiers.find((tier) => tier.name === account.pinned);
    if (pinned !== undefined) return pinned;
  }
  const age = account.firstPaymentAt === null ? -1 : Math.floor((now - account.firstPaymentAt) / DAY_MS);
  let reached = lowest;
  for (const tier of tiers) {
    const paid = account.paidTotal >= tier.paid;
    if (paid && (tier.days === 0 || age >= tier.days)) reached = tier;
  }
  return reached;
}
