// Reconciliation: the ledger beside what a provider says it billed, by day, model and key. Every difference is listed
// with its likely cause; what agrees within the tolerance is only counted.
//
// A cause is a reading of the numbers, not a proof, so each is worded as what it rests on. The first that fits is
// named, the surest first: no price here; days that are not of UTC (the same sums, shifted to the day beside); calls
// under another key (the sums of all keys agree); calls that never went through keygate; calls that keygate counted itself because the provider's counts did not reach it
// (no usage in the stream, or the stream was cut); other prices for the same tokens.

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

interface Pair {
  readonly day: string;
  readonly model: string;
  readonly key: string;
  readonly ledger: LedgerDay | null;
  readonly provider: ProviderDay | null;
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
  const context = {
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

function placeOf(day: string, model: string, key: string): string {
  return `${day}\0${model}\0${key}`;
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

/** A hundredth of a cent: exports round. */
const NOTHING_NANO = 100_000;

function close(a: number, b: number, tolerance: number, least: number): boolean {
  return Math.abs(a - b) <= Math.max(least, Math.max(Math.abs(a), Math.abs(b)) * tolerance);
}

function sameCost({ ledger, provider }: Pair, tolerance: number): boolean {
  if (provider !== null && provider.nano === null) return true;
  return close(Number(ledger?.nano ?? 0n), Number(provider?.nano ?? 0n), tolerance, NOTHING_NANO);
}

function sameCounts({ ledger, provider }: Pair, tolerance: number): boolean {
  const same = (ours: number | undefined, theirs: number | null | undefined) =>
    theirs === null || theirs === undefined || close(ours ?? 0, theirs, tolerance, 0);
  return (
    same(ledger?.input, provider?.input) &&
    same(ledger?.output, provider?.output) &&
    // Refused calls are in the ledger, and in no provider's count.
    (same(ledger?.requests, provider?.requests) ||
      same((ledger?.requests ?? 0) - (ledger?.failed ?? 0), provider?.requests))
  );
}

function agree(pair: Pair, tolerance: number): boolean {
  if (pair.provider === null && pair.ledger !== null) {
    const { nano, input, output } = pair.ledger;
    return nano <= BigInt(NOTHING_NANO) && input + output === 0;
  }
  return sameCost(pair, tolerance) && sameCounts(pair, tolerance);
}

interface Context {
  readonly pairs: ReadonlyMap<string, Pair>;
  readonly tolerance: number;
  /** The last day of the export. */
  readonly last: string;
}

function differenceOf(pair: Pair, context: Context): Difference {
  const { ledger, provider } = pair;
  const [cause, because] = causeOf(pair, context);
  return {
    ...pair,
    nano: provider !== null && provider.nano === null ? null : (provider?.nano ?? 0n) - (ledger?.nano ?? 0n),
    cause,
    because,
  };
}

function causeOf(pair: Pair, context: Context): [Cause, string] {
  const { ledger, provider } = pair;
  const { tolerance } = context;
  if (ledger !== null && ledger.unpriced > 0 && !sameCost(pair, tolerance)) {
    return ['unpriced', `${ledger.unpriced} calls have no price here: give the model one.`];
  }
  if (shifted(pair, context)) {
    return ['timezone', 'With the day beside it the sums agree: the export’s days are not of UTC.'];
  }
  if (underOtherKey(pair, context)) {
    return [
      'other_key',
      'With the other keys of the day the sums agree: a key was replaced or is a project’s own; name it with --key.',
    ];
  }
  if (ledger === null) {
    const whose = provider?.accounts.length ? ` (${provider.accounts.join(', ')})` : '';
    return [
      'provider_only',
      `Nothing of it went through keygate: another key or the provider’s own pages${whose}.`,
    ];
  }
  if (provider === null) {
    if (ledger.counted > 0 && ledger.counted + ledger.failed >= ledger.requests)
      return ['counted_here', 'keygate counted all of these calls itself; the provider bills none of them.'];
    return context.last !== '' && ledger.day >= context.last
      ? ['not_in_export', 'The export ends on this day or before: take it again when the day is over.']
      : ['not_in_export', 'The export has no such model on this day: check that it is of the same account.'];
  }
  return causeOfBoth(ledger, provider, pair, tolerance);
}

function causeOfBoth(
  ledger: LedgerDay,
  provider: ProviderDay,
  pair: Pair,
  tolerance: number,
): [Cause, string] {
  const counted = provider.input !== null || provider.output !== null;
  if (counted && sameCounts(pair, tolerance)) {
    const ratio = ledger.nano > 0n ? Number(provider.nano ?? 0n) / Number(ledger.nano) : Number.NaN;
    const times = Number.isFinite(ratio)
      ? `: the provider asks ${ratio.toFixed(3)} times the price here`
      : '';
    return ['other_prices', `The same tokens cost something else${times} (a contract, a tier, a promotion).`];
  }
  const more =
    (provider.nano ?? 0n) > ledger.nano ||
    (provider.requests ?? 0) > ledger.requests ||
    (provider.input ?? 0) > ledger.input;
  const extra = provider.requests === null ? null : provider.requests - ledger.requests;
  if (more && extra !== null && extra > 0)
    return [
      'provider_only',
      `${extra} calls more than went through keygate: another key uses the same account.`,
    ];
  if (ledger.cut > 0) {
    return [
      'cut_here',
      `${ledger.cut} calls were cut short and counted here up to where they were seen; the provider may have billed more, or nothing.`,
    ];
  }
  if (ledger.counted > 0) {
    return [
      'counted_here',
      `${ledger.counted} calls were counted by a tokenizer, because the provider’s reply or stream stated no usage.`,
    ];
  }
  if (more) return ['provider_only', 'More than went through keygate: another key may use the same account.'];
  return [
    'unknown',
    'Less than went through keygate, with no call that was cut or counted: ask the provider.',
  ];
}

/** Whether the difference of a day is made up by the day before or after it. */
function shifted(here: Pair, { pairs, tolerance }: Context): boolean {
  return [-1, 1].some((step) => {
    const beside = pairs.get(placeOf(dayAfter(here.day, step), here.model, here.key));
    if (beside === undefined || agree(beside, tolerance)) return false;
    return agreeTogether([here, beside], tolerance);
  });
}

/** Whether the difference of a key is made up by other keys that day. */
function underOtherKey({ day, model }: Pair, { pairs, tolerance }: Context): boolean {
  const all = [...pairs.values()].filter((pair) => pair.day === day && pair.model === model);
  return all.length > 1 && agreeTogether(all, tolerance);
}

function agreeTogether(pairs: readonly Pair[], tolerance: number): boolean {
  let [ours, theirs, ourTokens, theirTokens] = [0, 0, 0, 0];
  for (const { ledger, provider } of pairs) {
    ours += Number(ledger?.nano ?? 0n);
    theirs += Number(provider?.nano ?? 0n);
    ourTokens += (ledger?.input ?? 0) + (ledger?.output ?? 0);
    theirTokens += (provider?.input ?? 0) + (provider?.output ?? 0);
  }
  const costs = pairs.some(({ provider }) => provider !== null && provider.nano !== null);
  const tokens = pairs.some(({ provider }) => provider !== null && provider.input !== null);
  if (!costs && !tokens) return false;
  return (
    (!costs || close(ours, theirs, tolerance, NOTHING_NANO)) &&
    (!tokens || close(ourTokens, theirTokens, tolerance, 0))
  );
}

function dayAfter(day: string, step: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + step * 86_400_000).toISOString().slice(0, 10);
}
