// What a call used, in the kinds that providers bill by.

/** Counts of one call. Every field is an integer; 0 is "none". */
export interface Usage {
  /** Input tokens of every kind, the cached ones included. */
  input: number;
  /** Of `input`: read from the provider's prompt cache. */
  cachedInput: number;
  /** Of `input`: written to the provider's prompt cache. */
  cacheWrite: number;
  /** Output tokens of every kind, the reasoning ones included. */
  output: number;
  /** Of `output`: reasoning. */
  reasoning: number;
  /** Of `input`: audio. */
  audioInput: number;
  /** Of `output`: audio. */
  audioOutput: number;
  /** Of `input`: image. */
  imageInput: number;
  /** Of `output`: image. */
  imageOutput: number;
  /** Images made. */
  images: number;
  /** Audio transcribed or translated, in milliseconds. */
  audioMs: number;
  /** Characters spoken (text to speech). */
  characters: number;
  /** Web searches that the provider ran. */
  searches: number;
}

/** How the counts became known. */
export type UsageSource =
  /** The provider said so, in its reply or its stream. */
  | 'provider'
  /** A tokenizer counted, because the provider said nothing or the stream was cut. */
  | 'counted'
  /** There was nothing to count: the call never reached a provider, or is of a kind that uses no tokens. */
  | 'none';

/** How a call ended, seen from the caller. */
export type Outcome =
  | 'ok'
  /** The provider answered with an error, which was passed on. */
  | 'provider_error'
  /** The caller went away before the end. */
  | 'client_closed'
  /** The provider broke off, stalled or could not be reached. */
  | 'provider_cut'
  /** The total time was up. */
  | 'timeout'
  /** The spend limits bore no more of a reply that the caller had not bounded. */
  | 'budget_stop';

export function noUsage(): Usage {
  return {
    input: 0,
    cachedInput: 0,
    cacheWrite: 0,
    output: 0,
    reasoning: 0,
    audioInput: 0,
    audioOutput: 0,
    imageInput: 0,
    imageOutput: 0,
    images: 0,
    audioMs: 0,
    characters: 0,
    searches: 0,
  };
}

/** One call, as it is metered. It holds counts and ids, never a prompt or a reply. */
export interface UsageEvent {
  readonly requestId: string;
  /** When the call arrived: milliseconds since the epoch. */
  readonly at: number;
  readonly organizationId: string;
  readonly projectId: string;
  readonly keyId: string;
  readonly ownerId: string;
  /** The operation's name in the operation table: `chat.completions.create`. */
  readonly operation: string;
  readonly modelAsked: string;
  readonly modelServed: string;
  readonly provider: string;
  /** The HTTP status that the caller got; 499 when the caller was gone before one was sent. */
  readonly status: number;
  readonly outcome: Outcome;
  readonly streamed: boolean;
  /** From arrival to the first byte from the provider, and to the end, in milliseconds. */
  readonly firstByteMs: number;
  readonly durationMs: number;
  readonly serviceTier: string;
  readonly source: UsageSource;
  readonly usage: Usage;
  /** A test key's call: it costs nothing. */
  readonly test: boolean;
  /** A line of a batch. */
  readonly batch: boolean;
  /** What it cost, where a budget applied to it; null: no budget did, and the reports price it. */
  readonly spend: EventSpend | null;
}

/** What a call cost, as it was charged to the budgets above it. */
export interface EventSpend {
  /** Nano-dollars. */
  readonly cost: number;
  /** It used something that has no price, which is not in the cost. */
  readonly unpriced: boolean;
  /** The price table's version; '' where nothing was priced. */
  readonly priceVersion: string;
  /** The escrow lease that it was spent under; '' where nothing was reserved. */
  readonly lease: string;
  /** The end user that the caller named, only where a budget counts for it. */
  readonly endUser: string | null;
  /** The groups of the key's owner, only where a budget of groups counts. */
  readonly groups?: readonly string[];
}
