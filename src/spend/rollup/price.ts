// What one recorded call cost: the ledger's arithmetic. The prices are those that were in effect when the call arrived.
//
// The model that served decides, and where the lists do not know its name the one that was asked for: a provider may
// answer with a name of its own. A test key's call costs nothing. A call that used nothing that is billed by the piece
// (a refusal of the provider's, a read of a stored reply) costs nothing and lacks no price.

import type { Cost } from '../prices/rates.ts';
import type { PriceTable } from '../prices/table.ts';
import type { Usage, UsageEvent } from '../usage.ts';
import { familyOf, LARGEST_COUNT, USAGE_COLUMNS } from './model.ts';

/** The price lists' names of providers, by the administrator's own names for them. */
export type ListNames = Readonly<Record<string, string>>;

export interface EventCost extends Cost {
  /** The price table's version; '' when nothing was priced. */
  readonly version: string;
  /** Something of it has no price, and is not in the cost. */
  readonly unpriced: boolean;
}

const NOTHING: EventCost = { nano: 0n, lines: [], missing: [], version: '', unpriced: false };
const UNKNOWN: EventCost = { ...NOTHING, unpriced: true };

/**
 * @param usage the event's, bounded (`bounded`)
 */
export function costOf(table: PriceTable, names: ListNames, event: UsageEvent, usage: Usage): EventCost {
  if (event.test || familyOf(event.operation) === 'other') return NOTHING;
  const used = isUsed(usage);
  if (!used && event.status >= 400) return NOTHING;
  const provider = names[event.provider] ?? event.provider;
  let priced = table.find(provider, event.modelServed, event.at);
  if (priced.kind === 'unpriced' && event.modelAsked !== event.modelServed)
    priced = table.find(provider, event.modelAsked, event.at);
  const rates = priced.kind === 'priced' ? priced.rates(event.serviceTier) : priced;
  if ('kind' in rates) return used ? UNKNOWN : NOTHING;
  const cost = rates.cost(usage);
  return { ...cost, version: rates.version, unpriced: cost.missing.length > 0 };
}

/** A usage as it is summed: no count above LARGEST_COUNT. */
export function bounded(usage: Usage): Usage {
  let within = true;
  for (const kind of KINDS) within &&= usage[kind] <= LARGEST_COUNT;
  if (within) return usage;
  const most = { ...usage };
  for (const kind of KINDS) most[kind] = Math.min(usage[kind], LARGEST_COUNT);
  return most;
}

const KINDS = Object.values(USAGE_COLUMNS);

function isUsed(usage: Usage): boolean {
  for (const kind of KINDS) if (usage[kind] > 0) return true;
  return false;
}
