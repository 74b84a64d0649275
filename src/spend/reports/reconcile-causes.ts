// Where the ledger and a provider differ, and the likely cause of it.
//
// A cause is a reading of the numbers, not a proof, so each is worded as what it rests on. The first that fits is
// named, the surest first: no price here; days that are not of UTC (the same sums, shifted to the day beside); calls
// under another key (the sums of all keys agree); calls that never went through keygate; calls that keygate counted
// itself because the provider's counts did not reach it (no usage in the stream, or the stream was cut); other prices
// for the same tokens.

import type { Cause, Difference, LedgerDay, ProviderDay } from './reconcile.ts';

/** What the two sides say of a day, model and key. */
export interface Pair {
  readonly day: string;
  readonly model: string;
  readonly key: string;
  readonly ledger: LedgerDay | null;
  readonly provider: ProviderDay | null;
}

export interface Context {
  readonly pairs: ReadonlyMap<string, Pair>;
  readonly tolerance: number;
  /** The last day of the provider's rows; empty: it has none. */
  readonly last: string;
}

export function placeOf(day: string, model: string, key: string): string {
  return `${day}\0${model}\0${key}`;
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

export function agree(pair: Pair, tolerance: number): boolean {
  if (pair.provider === null && pair.ledger !== null) {
    const { nano, input, output } = pair.ledger;
    return nano <= BigInt(NOTHING_NANO) && input + output === 0;
  }
  return sameCost(pair, tolerance) && sameCounts(pair, tolerance);
}

export function differenceOf(pair: Pair, context: Context): Difference {
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
    return ['timezone', 'With the day beside it the sums agree: the provider’s days are not of UTC.'];
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
      ? [
          'not_in_export',
          'The provider’s numbers end on this day or before: take them again when the day is over.',
        ]
      : ['not_in_export', 'The provider has no such model on this day: check that it is the same account.'];
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
