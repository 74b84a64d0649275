// What a budget is: a limit on the spend of one owner over a window, hard or soft, with thresholds that alert.
//
// A hard budget is never passed: calls that could pass it are refused (escrow/). A soft one only counts and alerts.
// All budgets above a call apply together, and the tightest decides.

import type { BudgetId } from '../../platform/ids.ts';
import type { Period } from './window.ts';

/** Whose spend is counted. */
export type BudgetScope =
  | 'organization'
  | 'project'
  | 'api_key'
  | 'service_account'
  | 'group'
  | 'end_user'
  /** The organization's prepaid credits (credits/): nobody sets its limit by hand. */
  | 'credits';

export const BUDGET_SCOPES: readonly BudgetScope[] = [
  'organization',
  'project',
  'api_key',
  'service_account',
  'group',
  'end_user',
];

/** In place of an owner's id: each of them has the limit for itself (each key, each end user of the project). */
export const EACH = '*';

export interface Budget {
  readonly id: BudgetId;
  readonly organizationId: string;
  /** The project that it belongs to; null for one of the whole organization. */
  readonly projectId: string | null;
  readonly scope: BudgetScope;
  /** The owner's id, or `EACH`. */
  readonly scopeId: string;
  readonly period: Period;
  /** Nano-dollars, 0 or more. */
  readonly limit: bigint;
  readonly enforcement: 'hard' | 'soft';
  /** Settled spend at which to alert, in nano-dollars, once each in a window. Ascending, at most 20. */
  readonly alerts: readonly bigint[];
  readonly createdAt: number;
}

export const MAX_ALERTS = 20;
/** The largest limit: 2^63 - 1 nano-dollars, nine billion dollars. */
export const MAX_LIMIT = 2n ** 63n - 1n;

/** Nano-dollars in a cent: the API's edge speaks cents. */
export const NANO_PER_CENT = 10_000_000n;

export function centsToNano(cents: number): bigint {
  return BigInt(cents) * NANO_PER_CENT;
}

/** Whole cents, rounded up: what is shown as spent is never less than what was. */
export function nanoToCents(nano: bigint): number {
  return Number((nano + NANO_PER_CENT - 1n) / NANO_PER_CENT);
}

/** The thresholds that spend passes when it goes from `before` to `after`. */
export function crossed(alerts: readonly bigint[], before: bigint, after: bigint): bigint[] {
  return alerts.filter((threshold) => before < threshold && after >= threshold);
}

/** What a call tells about itself to find the budgets above it. */
export interface Spender {
  readonly organizationId: string;
  readonly projectId: string | null;
  readonly keyId: string;
  readonly serviceAccountId: string | null;
  readonly groupIds: readonly string[];
  /** The end user that the caller names (`safety_identifier`, `user`), or null. */
  readonly endUser: string | null;
}

/** A budget as it applies to one call: with the one whose spend is counted, where each has the limit for itself. */
export interface Applying {
  readonly budget: Budget;
  /** '' where the budget has one owner. */
  readonly subject: string;
}
