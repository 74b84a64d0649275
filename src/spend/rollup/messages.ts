// What folding is told and what it answers: between the roll-up, its thread or the store's.

import type { PriceList } from '../prices/model.ts';
import type { RawSegment } from '../segment/check.ts';
import type { Sheet } from './sheet.ts';

/** The prices to fold with; it holds for the batches that come after it. */
export interface Pricing {
  /** Every list, the ones that decide first, first; the shipped one last. */
  readonly lists: readonly PriceList[];
  /** Where providers live, by the administrator's own names for them: the price lists know them by their address. */
  readonly addresses: Readonly<Record<string, string>>;
}

/** A segment with its number. */
export interface NumberedSegment extends RawSegment {
  readonly seq: number;
}

/** A segment that was damaged, or is of a newer version. Nothing of it is in the sums. */
export interface Unreadable {
  readonly seq: number;
  readonly reason: string;
}

/** What was done at a time. */
export interface Folded {
  /** How many segments are in the sums now that were not before. */
  readonly segments: number;
  /** There is more to fold at once. */
  readonly more: boolean;
  readonly failed: readonly Unreadable[];
  /** How long it kept the store's thread, in milliseconds: 0 where it does not use that thread. */
  readonly ms: number;
}

/** To the roll-up's thread: one question at a time, one answer, none to prices. */
export type Question = { readonly pricing: Pricing } | { readonly segments: readonly NumberedSegment[] };

export interface FoldAnswer {
  readonly sheet: Sheet;
  readonly failed: readonly Unreadable[];
}
