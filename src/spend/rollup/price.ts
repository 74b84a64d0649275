// What one recorded call cost: the ledger's arithmetic. What was charged to budgets is the cost, so that the ledger and
// the budgets never differ. A call without a budget is priced here, by the prices in effect when it arrived.
//
// The model that served decides, and where the lists do not know its name the one that was asked for: a provider may
// answer with a name of its own. A test key's call costs nothing. A call that used nothing that is billed by the piece
// (a refusal of the provider's, a read of a stored reply) costs nothing and lacks no price.

import type { Unpriced } from '../prices/model.ts';
import type { Line } from '../prices/rates.ts';
import { type PricedModel, PriceTable } from '../prices/table.ts';
import type { EventSpend, Usage, UsageEvent } from '../usage.ts';
import type { Pricing } from './messages.ts';
import { CHARGED, familyOf, KINDS, LARGEST_COUNT } from './model.ts';

/** The price lists' names of providers, by the administrator's own names for them. */
export type ListNames = Readonly<Record<string, string>>;

export interface Prices {
  readonly table: PriceTable;
  readonly names: ListNames;
}

/** Prices as a thread has them, of what was sent to it. */
export function pricesOf({ lists, addresses }: Pricing): Prices {
  const table = new PriceTable(lists);
  const names: Record<string, string> = {};
  for (const [name, address] of Object.entries(addresses))
    names[name] = table.providerAt(new URL(address)) ?? name;
  return { table, names };
}

/** A line of a cost: of the price list, or what was charged beside it. */
export interface CostLine extends Pick<Line, 'quantity' | 'nano'> {
  readonly kind: Line['kind'] | typeof CHARGED;
}

export interface EventCost {
  readonly nano: bigint;
  /** They add up to `nano`. */
  readonly lines: readonly CostLine[];
  /** The price table's version; '' when nothing was priced. */
  readonly version: string;
  /** Something of it has no price, and is not in the cost. */
  readonly unpriced: boolean;
}

const NOTHING: EventCost = { nano: 0n, lines: [], version: '', unpriced: false };
const UNKNOWN: EventCost = { ...NOTHING, unpriced: true };

/** What of a call decides about its price. */
type Call = Pick<
  UsageEvent,
  'operation' | 'provider' | 'modelAsked' | 'modelServed' | 'serviceTier' | 'status' | 'test'
>;

/**
 * @param usage what it used, bounded (`bounded`)
 * @param spend what was charged to budgets
 */
export function costOf(
  prices: Prices,
  call: Call,
  atMs: number,
  usage: Usage,
  spend: EventSpend | null,
): EventCost {
  const priced = pricedCost(prices, call, atMs, usage);
  if (spend === null) return priced;
  const nano = BigInt(spend.cost);
  const charged: readonly CostLine[] = nano === 0n ? [] : [{ kind: CHARGED, quantity: 1, nano }];
  const lines = nano === priced.nano ? priced.lines : charged;
  return { nano, lines, version: spend.priceVersion, unpriced: spend.unpriced };
}

function pricedCost(prices: Prices, call: Call, atMs: number, usage: Usage): EventCost {
  if (call.test || familyOf(call.operation) === 'other') return NOTHING;
  const used = isUsed(usage);
  if (!used && call.status >= 400) return NOTHING;
  const priced = modelOf(prices, call, atMs);
  const rates = priced.kind === 'priced' ? priced.rates(call.serviceTier) : priced;
  if ('kind' in rates) return used ? UNKNOWN : NOTHING;
  const cost = rates.cost(usage);
  return { nano: cost.nano, lines: cost.lines, version: rates.version, unpriced: cost.missing.length > 0 };
}

/** What the lists say of the model that served, or, where they do not know its name, of the one that was asked for. */
export function modelOf({ table, names }: Prices, call: Call, atMs: number): PricedModel | Unpriced {
  const provider = names[call.provider] ?? call.provider;
  const served = table.find(provider, call.modelServed, atMs);
  if (served.kind === 'priced' || call.modelAsked === call.modelServed) return served;
  return table.find(provider, call.modelAsked, atMs);
}

/** A usage as it is summed: no count above LARGEST_COUNT. */
export function bounded(usage: Usage): Usage {
  if (largest(usage) <= LARGEST_COUNT) return usage;
  const most = { ...usage };
  for (const kind of KINDS) most[kind] = Math.min(usage[kind], LARGEST_COUNT);
  return most;
}

function isUsed(usage: Usage): boolean {
  return largest(usage) > 0;
}

/** One by one: for every event, by computed names it would take as long as pricing it. */
function largest(usage: Usage): number {
  return Math.max(
    usage.input,
    usage.cachedInput,
    usage.cacheWrite,
    usage.output,
    usage.reasoning,
    usage.audioInput,
    usage.audioOutput,
    usage.imageInput,
    usage.imageOutput,
    usage.images,
    usage.audioMs,
    usage.characters,
    usage.searches,
  );
}
