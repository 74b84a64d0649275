// What a count of tokens is, and what stands in for one. Apart from the tokenizer, which the road never loads.

/** A number of tokens. `exact`: counted by the model's own published rules, with nothing estimated. */
export interface TokenCount {
  readonly tokens: number;
  readonly exact: boolean;
}

/** A stated estimate where nothing could be counted: a token for each four bytes of UTF-8, rounded up. */
export function estimateTokens(bytes: number): number {
  return Math.ceil(bytes / 4);
}
