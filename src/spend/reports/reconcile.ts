// Reconciliation: the ledger beside what a provider says it billed, by day, model and key. Every difference is listed
// with its likely cause; what agrees within the tolerance is only counted.

import { agree, type Context, differenceOf, type Pair, placeOf } from './reconcile-causes.ts';

/** What one side says of one model and key on one day. Null: it does not say. */
export interface DayOfModel {
  /** YYYY-MM-DD. */
  readonly day: string;
  readonly model: string;
  /** The key at the provider, by the same name on both sides; empty: keys are not told apart. */
  readonly key: string;
  readonly nano: bigint | null;
  readonly requests: number | null;
  readonly input: number | null;
  readonly output: number | null;
}

export interface LedgerDay extends DayOfModel {
  readonly nano: bigint;
  readonly requests: number;
  readonly input: number;
  readonly output: number;
  /** Calls without a price, cut short, counted by a tokenizer, answered with an error. */
  readonly unpriced: number;
  readonly cut: number;
  readonly counted: number;
  readonly failed: number;
}

export interface ProviderDay extends DayOfModel {
  /** The provider's keys and projects that it names. */
  readonly accounts: readonly string[];
}

export type Cause =
  | 'unpriced'
  | 'timezone'
  | 'other_key'
  | 'provider_only'
  | 'not_in_export'
  | 'counted_here'
  | 'cut_here'
  | 'other_prices'
  | 'unknown';

export interface Difference {
  readonly day: string;
  readonly model: string;
  readonly key: string;
  readonly ledger: LedgerDay | null;
  readonly provider: ProviderDay | null;
  /** The provider's cost less the ledger's, in nano-dollars; null where the provider states none. */
  readonly nano: bigint | null;
  readonly cause: Cause;
  readonly because: string;
}

export interface Reconciliation {
  /** Days of a model and key that agree. */
  readonly agreed: number;
  readonly differences: readonly Difference[];
  readonly ledgerNano: bigint;
  readonly providerNano: bigint;
}

/** @param tolerance how far two numbers may be apart and agree, as a share of the larger: 0.005 is half a per cent */
export function reconcile(
  ledger: readonly LedgerDay[],
  provider: readonly ProviderDay[],
  tolerance: number,
): Reconciliation {
  const names = matchModels(
    ledger.map(({ model }) => model),
    provider.map(({ model }) => model),
  );
  const pairs = new Map<string, Pair>();
  const pairOf = ({ day, key }: DayOfModel, model: string): Pair =>
    pairs.get(placeOf(day, model, key)) ?? { day, model, key, ledger: null, provider: null };
  const put = (pair: Pair) => pairs.set(placeOf(pair.day, pair.model, pair.key), pair);
  for (const row of ledger) {
    const pair = pairOf(row, row.model);
    put({ ...pair, ledger: ledgerTogether(pair.ledger, row) });
  }
  for (const row of provider) {
    const pair = pairOf(row, names.get(row.model) ?? row.model);
    put({ ...pair, provider: together(pair.provider, row) });
  }
  const context: Context = {
    pairs,
    tolerance,
    last:
      provider
        .map(({ day }) => day)
        .sort()
        .at(-1) ?? '',
  };
  const differences: Difference[] = [];
  let agreed = 0;
  for (const [, pair] of [...pairs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (agree(pair, tolerance)) agreed++;
    else differences.push(differenceOf(pair, context));
  }
  const sum = (rows: readonly DayOfModel[]) => rows.reduce((total, { nano }) => total + (nano ?? 0n), 0n);
  return { agreed, differences, ledgerNano: sum(ledger), providerNano: sum(provider) };
}

/**
 * The ledger's names of the provider's models: the same, or the same but for the date of a snapshot
 * (`gpt-4o-2024-08-06` and `gpt-4o`), where only one name of the ledger fits.
 */
function matchModels(ours: readonly string[], theirs: readonly string[]): Map<string, string> {
  const bare = (name: string) => name.toLowerCase().replace(/[-@](\d{4}-\d{2}-\d{2}|\d{8})$/, '');
  const exact = new Set(ours);
  const loose = new Map<string, Set<string>>();
  for (const name of ours) loose.set(bare(name), (loose.get(bare(name)) ?? new Set()).add(name));
  const names = new Map<string, string>();
  for (const name of theirs) {
    if (exact.has(name)) continue;
    const [only, ...others] = loose.get(bare(name)) ?? [];
    if (only !== undefined && others.length === 0) names.set(name, only);
  }
  return names;
}

function ledgerTogether(one: LedgerDay | null, other: LedgerDay): LedgerDay {
  if (one === null) return other;
  return {
    ...other,
    nano: one.nano + other.nano,
    requests: one.requests + other.requests,
    input: one.input + other.input,
    output: one.output + other.output,
    unpriced: one.unpriced + other.unpriced,
    cut: one.cut + other.cut,
    counted: one.counted + other.counted,
    failed: one.failed + other.failed,
  };
}

function together(one: ProviderDay | null, other: ProviderDay): ProviderDay {
  if (one === null) return other;
  const sum = (a: number | null, b: number | null) => (a === null ? b : b === null ? a : a + b);
  return {
    ...other,
    nano: one.nano === null ? other.nano : one.nano + (other.nano ?? 0n),
    requests: sum(one.requests, other.requests),
    input: sum(one.input, other.input),
    output: sum(one.output, other.output),
    accounts: [...new Set([...one.accounts, ...other.accounts])],
  };
}
