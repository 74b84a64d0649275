// The arithmetic of one call: what a usage costs at a model's prices, exactly, and the most that a bounded call can
// cost. On the road both are a few multiplications of doubles that hold whole numbers; where a sum could pass 2^53
// the same formula runs in bigint, so the answer never depends on which way was taken.
//
// A token is charged once, although Usage counts it in a kind and again in a sub-kind. Input is split in this order:
// audio, image, written to the cache, read from the cache, and the rest at the plain price; output: audio, image,
// reasoning, the rest. Each part takes at most what the parts before it left. So the parts always add up to `input`
// and `output`, even where sub-kinds overlap (cached audio, which Usage cannot name, is charged as audio, the
// dearer of the two) or where a provider reports a part larger than the whole.
//
// The whole call is charged at the band that its input falls in; the fee per request once.

import type { Usage } from '../usage.ts';
import type { Band, Kind, KindPrices } from './model.ts';

/** Pico-dollars in a nano-dollar. */
const PICO = 1000;
const HOUR_MS = 3_600_000n;

/** One line of a cost. The lines of a call add up to its cost to the nano-dollar. */
export interface Line {
  readonly kind: Kind;
  /** Tokens, images, characters, searches, requests; milliseconds for `audioHour`. */
  readonly quantity: number;
  /** Pico-dollars a unit; an hour for `audioHour`. */
  readonly price: number;
  readonly nano: bigint;
}

export interface Cost {
  readonly nano: bigint;
  readonly lines: readonly Line[];
  /** Kinds that were used and have no price here: their share of the call is not in `nano`. */
  readonly missing: readonly Kind[];
}

/** What a call may use at most. The sub-kinds bound the tokens that might be of that kind; absent is 0. */
export interface CallBound {
  readonly input: number;
  readonly output: number;
  readonly audioInput?: number;
  readonly imageInput?: number;
  readonly audioOutput?: number;
  readonly imageOutput?: number;
  readonly images?: number;
  readonly audioMs?: number;
  readonly characters?: number;
  readonly searches?: number;
}

/** One model's prices at one time on one tier, ready for arithmetic. Immutable: a call keeps those it began with. */
export class Rates {
  /** The price table's version: says in a usage record which prices these were. */
  readonly version: string;
  /** Whether every price is 0: such a call needs no budget. */
  readonly free: boolean;
  private readonly bands: readonly BandRates[];
  private readonly kinds: ReadonlySet<string>;

  /** @param bands sorted by `above`, the first from 0 */
  constructor(version: string, bands: readonly Band[]) {
    if (bands[0]?.above !== 0) throw new RangeError('the first band of a price begins at 0');
    this.version = version;
    this.bands = bands.map((band) => new BandRates(band));
    const prices = bands.flatMap((band) => Object.entries(band.prices));
    this.free = prices.every(([, price]) => price === 0);
    this.kinds = new Set(prices.filter(([, price]) => price !== undefined).map(([kind]) => kind));
  }

  /** What the list states, band by band. */
  get stated(): readonly Band[] {
    return this.bands.map(({ above, stated }) => ({ above, prices: stated }));
  }

  /** Whether a kind has a price of its own, and not only its parent's. */
  states(kind: Kind): boolean {
    return this.kinds.has(kind);
  }

  /**
   * What `usage` costs in nano-dollars; the same as `cost().nano`.
   * @throws RangeError beyond 2^53 - 1 nano-dollars (nine million dollars in one call)
   */
  nano(usage: Usage): number {
    if (usage.audioMs === 0) {
      const pico = this.band(usage.input).pico(usage);
      if (pico <= Number.MAX_SAFE_INTEGER) return ceilNano(pico);
    }
    return safeNumber(this.cost(usage).nano);
  }

  /** What `usage` costs, line by line. */
  cost(usage: Usage): Cost {
    const band = this.band(usage.input);
    const isSmall = usage.audioMs === 0 && band.pico(usage) <= Number.MAX_SAFE_INTEGER;
    return isSmall ? cost(usage, band.stated) : costExactly(usage, band.stated);
  }

  /**
   * The most that a call within `bound` can cost, in nano-dollars. For every usage within it, `nano(usage)` is at
   * most this.
   * @throws RangeError beyond 2^53 - 1 nano-dollars
   */
  worstCase(bound: CallBound): number {
    let most = 0;
    for (const band of this.bands) {
      if (band.above > 0 && bound.input <= band.above) break;
      const pico = band.most(bound);
      const nano = pico <= Number.MAX_SAFE_INTEGER ? ceilNano(pico) : safeNumber(band.mostExactly(bound));
      if (nano > most) most = nano;
    }
    return most;
  }

  private band(input: number): BandRates {
    const { bands } = this;
    for (let at = bands.length - 1; at > 0; at--) {
      const band = bands[at];
      if (band !== undefined && input > band.above) return band;
    }
    return bands[0] as BandRates;
  }
}

/** The prices of one context band, every kind filled in: by its fall-back, or 0 where there is none. */
class BandRates {
  readonly above: number;
  readonly stated: KindPrices;
  private readonly input: number;
  private readonly cachedInput: number;
  private readonly cacheWrite: number;
  private readonly audioInput: number;
  private readonly imageInput: number;
  private readonly output: number;
  private readonly reasoning: number;
  private readonly audioOutput: number;
  private readonly imageOutput: number;
  private readonly image: number;
  private readonly character: number;
  private readonly search: number;
  private readonly request: number;
  private readonly audioHour: number;
  /** The dearest that a token of the prompt can be, whether read from the cache, written to it or neither. */
  private readonly promptMost: number;
  private readonly replyMost: number;

  constructor(band: Band) {
    const prices = band.prices;
    const at = (kind: Kind) => priceOf(prices, kind) ?? 0;
    this.above = band.above;
    this.stated = prices;
    this.input = at('input');
    this.cachedInput = at('cachedInput');
    this.cacheWrite = at('cacheWrite');
    this.audioInput = at('audioInput');
    this.imageInput = at('imageInput');
    this.output = at('output');
    this.reasoning = at('reasoning');
    this.audioOutput = at('audioOutput');
    this.imageOutput = at('imageOutput');
    this.image = at('image');
    this.character = at('character');
    this.search = at('search');
    this.request = at('request');
    this.audioHour = at('audioHour');
    this.promptMost = Math.max(this.input, this.cachedInput, this.cacheWrite, at('cacheWrite1h'));
    this.replyMost = Math.max(this.output, this.reasoning);
  }

  /** Pico-dollars of a usage without audio time. Exact while the result is a safe integer. */
  pico(usage: Usage): number {
    let left = usage.input;
    let pico = this.request;
    if (usage.audioInput > 0) {
      const n = Math.min(usage.audioInput, left);
      left -= n;
      pico += n * this.audioInput;
    }
    if (usage.imageInput > 0) {
      const n = Math.min(usage.imageInput, left);
      left -= n;
      pico += n * this.imageInput;
    }
    if (usage.cacheWrite > 0) {
      const n = Math.min(usage.cacheWrite, left);
      left -= n;
      pico += n * this.cacheWrite;
    }
    if (usage.cachedInput > 0) {
      const n = Math.min(usage.cachedInput, left);
      left -= n;
      pico += n * this.cachedInput;
    }
    pico += left * this.input;
    left = usage.output;
    if (usage.audioOutput > 0) {
      const n = Math.min(usage.audioOutput, left);
      left -= n;
      pico += n * this.audioOutput;
    }
    if (usage.imageOutput > 0) {
      const n = Math.min(usage.imageOutput, left);
      left -= n;
      pico += n * this.imageOutput;
    }
    if (usage.reasoning > 0) {
      const n = Math.min(usage.reasoning, left);
      left -= n;
      pico += n * this.reasoning;
    }
    pico += left * this.output;
    if (usage.images > 0) pico += usage.images * this.image;
    if (usage.characters > 0) pico += usage.characters * this.character;
    if (usage.searches > 0) pico += usage.searches * this.search;
    return pico;
  }

  /**
   * Pico-dollars of the worst call within a bound: every token at the dearest price it can have, and on top what an
   * audio or image token costs more than that.
   */
  most(bound: CallBound): number {
    let pico = this.request + bound.input * this.promptMost + bound.output * this.replyMost;
    if (bound.audioInput)
      pico += Math.min(bound.audioInput, bound.input) * more(this.audioInput, this.promptMost);
    if (bound.imageInput)
      pico += Math.min(bound.imageInput, bound.input) * more(this.imageInput, this.promptMost);
    if (bound.audioOutput)
      pico += Math.min(bound.audioOutput, bound.output) * more(this.audioOutput, this.replyMost);
    if (bound.imageOutput)
      pico += Math.min(bound.imageOutput, bound.output) * more(this.imageOutput, this.replyMost);
    if (bound.images) pico += bound.images * this.image;
    if (bound.characters) pico += bound.characters * this.character;
    if (bound.searches) pico += bound.searches * this.search;
    if (bound.audioMs) pico += Math.ceil(bound.audioMs / 1000) * Math.ceil(this.audioHour / 3600);
    return pico;
  }

  /** Nano-dollars of the same, rounded up, where doubles would not hold it. */
  mostExactly(bound: CallBound): bigint {
    const of = (count: number | undefined, price: number) => BigInt(count ?? 0) * BigInt(price);
    const pico =
      BigInt(this.request) +
      of(bound.input, this.promptMost) +
      of(bound.output, this.replyMost) +
      of(bound.audioInput, more(this.audioInput, this.promptMost)) +
      of(bound.imageInput, more(this.imageInput, this.promptMost)) +
      of(bound.audioOutput, more(this.audioOutput, this.replyMost)) +
      of(bound.imageOutput, more(this.imageOutput, this.replyMost)) +
      of(bound.images, this.image) +
      of(bound.characters, this.character) +
      of(bound.searches, this.search) +
      of(Math.ceil((bound.audioMs ?? 0) / 1000), Math.ceil(this.audioHour / 3600));
    return (pico + BigInt(PICO - 1)) / BigInt(PICO);
  }
}

/** A kind's price, or its parent's where the list has none of its own, as the shipped list means it. */
function priceOf(prices: KindPrices, kind: Kind): number | undefined {
  const own = prices[kind];
  if (own !== undefined) return own;
  switch (kind) {
    case 'cachedInput':
    case 'cacheWrite':
    case 'audioInput':
    case 'imageInput':
      return prices.input;
    case 'cacheWrite1h':
      return prices.cacheWrite ?? prices.input;
    case 'reasoning':
    case 'audioOutput':
    case 'imageOutput':
      return prices.output;
    default:
      return undefined;
  }
}

/** The lines of a usage that costs less than 2^53 pico-dollars and has no audio time. */
function cost(usage: Usage, prices: KindPrices): Cost {
  const lines: Line[] = [];
  const missing: Kind[] = [];
  let total = 0;
  let counted = 0;
  eachPart(usage, prices, (kind, quantity) => {
    const price = priceOf(prices, kind);
    if (price === undefined) {
      missing.push(kind);
      return;
    }
    // A line's share is how much the rounded-up total grows by it, so that the lines add up.
    total += quantity * price;
    const nano = ceilNano(total);
    lines.push({ kind, quantity, price, nano: BigInt(nano - counted) });
    counted = nano;
  });
  return { nano: BigInt(counted), lines, missing };
}

/** The same of any usage: in pico-dollars times HOUR_MS, which is whole for every kind. */
function costExactly(usage: Usage, prices: KindPrices): Cost {
  const unit = BigInt(PICO) * HOUR_MS;
  const lines: Line[] = [];
  const missing: Kind[] = [];
  let total = 0n;
  let counted = 0n;
  eachPart(usage, prices, (kind, quantity) => {
    const price = priceOf(prices, kind);
    if (price === undefined) {
      missing.push(kind);
      return;
    }
    total += BigInt(quantity) * BigInt(price) * (kind === 'audioHour' ? 1n : HOUR_MS);
    const nano = (total + unit - 1n) / unit;
    lines.push({ kind, quantity, price, nano: nano - counted });
    counted = nano;
  });
  return { nano: counted, lines, missing };
}

/** Tells `part` how much of each kind a usage is charged for; empty parts are left out. */
function eachPart(usage: Usage, prices: KindPrices, part: (kind: Kind, quantity: number) => void): void {
  const take = (kind: Kind, count: number, left: number) => {
    const n = Math.min(count, left);
    if (n > 0) part(kind, n);
    return left - n;
  };
  let left = take('audioInput', usage.audioInput, usage.input);
  left = take('imageInput', usage.imageInput, left);
  left = take('cacheWrite', usage.cacheWrite, left);
  left = take('cachedInput', usage.cachedInput, left);
  take('input', left, left);
  left = take('audioOutput', usage.audioOutput, usage.output);
  left = take('imageOutput', usage.imageOutput, left);
  // Reasoning has a line of its own only where it has a price of its own.
  if (prices.reasoning !== undefined) left = take('reasoning', usage.reasoning, left);
  take('output', left, left);
  take('image', usage.images, usage.images);
  take('character', usage.characters, usage.characters);
  take('search', usage.searches, usage.searches);
  take('audioHour', usage.audioMs, usage.audioMs);
  if (prices.request !== undefined) part('request', 1);
}

function more(price: number, than: number): number {
  return price > than ? price - than : 0;
}

/** Rounds up by remainder, because a quotient of doubles may already be rounded. */
function ceilNano(pico: number): number {
  const rest = pico % PICO;
  return rest === 0 ? pico / PICO : (pico - rest) / PICO + 1;
}

function safeNumber(nano: bigint): number {
  if (nano > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new RangeError(
      'one call of more than nine million dollars: its usage or its price cannot be right',
    );
  }
  return Number(nano);
}
