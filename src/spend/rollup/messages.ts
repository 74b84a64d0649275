// What the roll-up and its thread say to each other: one question at a time, one answer.

import type { PriceList } from '../prices/model.ts';
import type { Sheet } from './fold.ts';

/** The prices to fold with; it holds for the batches that come after it. */
export interface Pricing {
  /** Every list, the ones that decide first, first; the shipped one last. */
  readonly lists: readonly PriceList[];
  /** Where providers live, by the administrator's own names for them: the price lists know them by their address. */
  readonly addresses: Readonly<Record<string, string>>;
}

export interface RawSegment {
  readonly seq: number;
  readonly format: number;
  readonly events: number;
  readonly crc: number;
  /** In memory that both threads see; it does not change until the answer. */
  readonly payload: Uint8Array<SharedArrayBuffer>;
}

export type Question = { readonly pricing: Pricing } | { readonly segments: readonly RawSegment[] };

export interface FoldAnswer {
  readonly sheet: Sheet;
  /** Segments that cannot be read: damaged, or of a newer version. Nothing of them is in the sheet. */
  readonly failed: readonly { readonly seq: number; readonly reason: string }[];
}
