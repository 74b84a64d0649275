// The tables of usage roll-ups. A row of sums is named by its bucket's start and its series, a number, so that it is
// small: what tells calls apart is written once, in usage_series. Costs are nano-dollars; 64 bits hold nine billion
// dollars, and what may pass 2^53 is read as text.

import type { Generated } from 'kysely';

export interface UsageTables {
  usage_unfolded: UsageUnfoldedTable;
  usage_series: UsageSeriesTable;
  usage_minutes: UsageSumsTable;
  usage_hours: UsageSumsTable;
  usage_days: UsageSumsTable;
  usage_costs: UsageCostsTable;
  /** The same without keys and owners, whose series have '' for both: a tenth of the rows, for most reports. */
  usage_minutes_totals: UsageSumsTable;
  usage_hours_totals: UsageSumsTable;
  usage_days_totals: UsageSumsTable;
  usage_costs_totals: UsageCostsTable;
}

/**
 * Segments that are not in the roll-ups yet. A trigger adds each segment in the transaction that appends it, and the
 * transaction that adds its sums takes it away, so nothing depends on the order in which nodes commit.
 */
export interface UsageUnfoldedTable {
  seq: number;
  /** Why it cannot be read; null: it was not tried, or a newer version may. */
  failed: string | null;
}

/** What tells calls apart. No row is ever taken away: the thread of the embedded store remembers their numbers. */
export interface UsageSeriesTable {
  id: Generated<number>;
  /** 32 hexadecimal digits of a digest over the other columns. */
  key: string;
  organization_id: string;
  project_id: string;
  key_id: string;
  owner_id: string;
  family: string;
  operation: string;
  /** The model that served; the one that was asked for where the provider did not say. */
  model: string;
  model_asked: string;
  provider: string;
  service_tier: string;
  /** '' where nothing was priced. */
  price_version: string;
  batch: 0 | 1;
  test: 0 | 1;
}

export interface UsageSumsTable {
  start: number;
  series: number;
  requests: number;
  errors: number;
  cut: number;
  counted: number;
  search_requests: number;
  unpriced: number;
  input: number;
  cached_input: number;
  cache_write: number;
  output: number;
  reasoning: number;
  audio_input: number;
  audio_output: number;
  image_input: number;
  image_output: number;
  images: number;
  audio_ms: number;
  characters: number;
  searches: number;
  cost: number;
}

/** The lines of a day's costs: how much of what, and for how much. */
export interface UsageCostsTable {
  start: number;
  series: number;
  /** A kind of the price list, or `unpriced`. */
  kind: string;
  /** Tokens, images, characters, searches, requests; milliseconds for `audioHour`; calls for `unpriced`. */
  quantity: number;
  cost: number;
}
