// What one call has reserved, and what it costs in the end.

import type { Hold } from './escrow/answers.ts';
import type { Meter } from './meter/model.ts';
import { Rates } from './prices/rates.ts';
import type { Serving } from './servings.ts';
import type { EventSpend, Usage } from './usage.ts';

/** How a call ended, as far as its cost goes. */
export interface Ended {
  readonly provider: string;
  readonly model: string;
  /** As the reply names it; '' where it does not. */
  readonly serviceTier: string;
  /** Null: nothing was used that is billed. */
  readonly usage: Usage | null;
  /** The call was sent and broken off before anything was seen of the answer: what is billed, nobody can know. */
  readonly unseen: boolean;
  /** It was stopped from here: what the provider wrote until it noticed, nobody can know. */
  readonly stopped: boolean;
}

/** How a call without a bound is reserved bit by bit. */
export interface Steps {
  /** Tokens of output that are reserved for. */
  tokens: number;
  /** The most that the models can write: no more is ever needed. */
  readonly most: number;
  /** What the call costs at most with so many tokens of output, in nano-dollars. */
  readonly nanoFor: (tokens: number) => number;
}

export class Reservation {
  readonly servings: readonly Serving[];
  readonly meter: Meter;
  readonly hold: Hold;
  /** The bound that the call must be sent on with, in tokens of a reply. */
  readonly replyTokens: number | null;
  /** The end user, where a budget counts for it. */
  readonly endUser: string | null;
  /** The groups of the key's owner, where a budget counts for them. */
  readonly groups: readonly string[] | null;
  /** Null: all that it may cost is reserved. */
  readonly steps: Steps | null;

  constructor(
    servings: readonly Serving[],
    meter: Meter,
    hold: Hold,
    replyTokens: number | null,
    endUser: string | null,
    groups: readonly string[] | null,
    steps: Steps | null,
  ) {
    this.servings = servings;
    this.meter = meter;
    this.hold = hold;
    this.replyTokens = replyTokens;
    this.endUser = endUser;
    this.groups = groups;
    this.steps = steps;
  }

  /** The member that bounds the reply, as the call must be sent on to this provider with it; null: as it came. */
  boundFor(provider: string): { readonly name: string; readonly tokens: number } | null {
    if (this.replyTokens === null) return null;
    const serving = this.servings.find((each) => each.provider === provider);
    const name = serving === undefined ? null : replyMember(this.meter, serving.listed);
    return name === null ? null : { name, tokens: this.replyTokens };
  }

  /** What the call cost at the prices of the model that served it. Nano-dollars. */
  cost(ended: Ended): EventSpend {
    const { usage } = ended;
    const rates = this.ratesOf(ended);
    if (rates === null || (usage !== null && !meets(rates, this.meter)))
      return this.spend(0, usage !== null, '');
    return this.spend(usage === null ? 0 : costOf(rates, usage), false, rates.version);
  }

  private spend(cost: number, unpriced: boolean, priceVersion: string): EventSpend {
    const { endUser, groups } = this;
    const lease = this.hold.accounts[0]?.book.lease ?? '';
    const spend = { cost, unpriced, priceVersion, lease, endUser };
    return groups === null ? spend : { ...spend, groups };
  }

  /** By the tier that the reply names; by the one that was reserved for where it names none that has a price. */
  private ratesOf({ provider, model, serviceTier }: Ended): Rates | null {
    const serving = this.servings.find((each) => each.provider === provider && each.model === model);
    if (serving === undefined) return null;
    if (serviceTier === '') return serving.rates;
    const rates = serving.priced?.rates(serviceTier);
    return rates instanceof Rates ? rates : serving.rates;
  }
}

/**
 * The member of a body that bounds a reply there; null: there is none. OpenAI's newer models take `max_completion_tokens`
 * only; other providers know `max_tokens` for certain.
 */
function replyMember(meter: Meter, listed: string): string | null {
  if (meter === 'responses') return 'max_output_tokens';
  if (meter !== 'chat') return null;
  return listed === 'openai' || listed === 'azure' ? 'max_completion_tokens' : 'max_tokens';
}

/** No call uses more than this of anything: a provider that says so is not believed, as in the reports. */
const LARGEST_COUNT = 1_000_000_000;

function costOf(rates: Rates, usage: Usage): number {
  if (isBelievable(usage)) return rates.nano(usage);
  const believed = { ...usage };
  for (const kind of Object.keys(usage) as (keyof Usage)[])
    believed[kind] = Math.min(usage[kind], LARGEST_COUNT);
  return rates.nano(believed);
}

/** Parts of the input and the output are bounded by them where they are priced. */
function isBelievable({ input, output, images, audioMs, characters, searches }: Usage): boolean {
  return input + output + images + audioMs + characters + searches <= LARGEST_COUNT;
}

/** Whether rates price what a meter counts: without, a call would be free without anybody having said so. */
export function meets(rates: Rates, meter: Meter): boolean {
  if (rates.free) return true;
  switch (meter) {
    case 'speech':
      return rates.states('character') || rates.states('request');
    case 'transcription':
      return rates.states('audioHour') || rates.states('input');
    case 'images':
      return rates.states('image') || rates.states('output') || rates.states('request');
    case 'none':
    case 'moderations':
      return true;
    default:
      return rates.states('input') || rates.states('request');
  }
}
