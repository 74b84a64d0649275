// Roll-ups: what is summed, by what it is told apart, and for how long each width is kept.
//
// A series is everything that tells calls apart in a report: organization, project, key, owner, operation, models,
// provider, tier, price version. A bucket is a minute, an hour or a day of UTC, half open, named by its start. Each
// usage event is added to one row of each width: (bucket, series) with the sums below; and to one of the totals, which
// are the same without keys and owners: ten times fewer rows, from which most reports are answered.

import type { UsageSeriesTable, UsageSumsTable } from '../../store/schema-usage.ts';
import type { Usage } from '../usage.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

export const WIDTHS = {
  '1m': { table: 'usage_minutes', totals: 'usage_minutes_totals', ms: MINUTE_MS, keptMs: 15 * DAY_MS },
  '1h': { table: 'usage_hours', totals: 'usage_hours_totals', ms: HOUR_MS, keptMs: 401 * DAY_MS },
  '1d': { table: 'usage_days', totals: 'usage_days_totals', ms: DAY_MS, keptMs: null },
} as const;

export type Width = keyof typeof WIDTHS;

/** For how long a report of a width can be asked for; the rows live a day longer, so that none is half gone. */
export function reportableMs(width: Width): number | null {
  const { keptMs } = WIDTHS[width];
  return keptMs === null ? null : keptMs - DAY_MS;
}

/** The start of the bucket that `atMs` is in. */
export function bucketOf(atMs: number, widthMs: number): number {
  return atMs - (((atMs % widthMs) + widthMs) % widthMs);
}

/** Families of operations, each with its own usage report. `other`: counted, in no report of a family. */
export type Family =
  | 'completions'
  | 'embeddings'
  | 'moderations'
  | 'images'
  | 'audio_speeches'
  | 'audio_transcriptions'
  | 'other';

/** @param operation its name in the operation table: `chat.completions.create` */
export function familyOf(operation: string): Family {
  switch (operation) {
    case 'chat.completions.create':
    case 'completions.create':
    case 'responses.create':
    case 'responses.compact':
    case 'messages.create':
      return 'completions';
    case 'embeddings.create':
      return 'embeddings';
    case 'moderations.create':
      return 'moderations';
    case 'images.generate':
    case 'images.edit':
    case 'images.createVariation':
      return 'images';
    case 'audio.speech.create':
      return 'audio_speeches';
    case 'audio.transcriptions.create':
    case 'audio.translations.create':
      return 'audio_transcriptions';
    default:
      return 'other';
  }
}

/** Sums of a row that come from `Usage`, by their columns. */
export const USAGE_COLUMNS = {
  input: 'input',
  cached_input: 'cachedInput',
  cache_write: 'cacheWrite',
  output: 'output',
  reasoning: 'reasoning',
  audio_input: 'audioInput',
  audio_output: 'audioOutput',
  image_input: 'imageInput',
  image_output: 'imageOutput',
  images: 'images',
  audio_ms: 'audioMs',
  characters: 'characters',
  searches: 'searches',
} as const satisfies { readonly [C in keyof UsageSumsTable]?: keyof Usage };

export type UsageColumn = keyof typeof USAGE_COLUMNS;
// The keys of the object above are exactly this union.
export const USAGE_NAMES = Object.keys(USAGE_COLUMNS) as readonly UsageColumn[];
/** What they are called in Usage, in the same order. */
export const KINDS: readonly (keyof Usage)[] = Object.values(USAGE_COLUMNS);

/** Sums of calls: all; answered with an error; cut short; counted by a tokenizer; with a search; without a price. */
export const CALL_NAMES = [
  'requests',
  'errors',
  'cut',
  'counted',
  'search_requests',
  'unpriced',
] as const satisfies readonly (keyof UsageSumsTable)[];
export type CallColumn = (typeof CALL_NAMES)[number];

/** Every sum of a row but the cost, in the order in which rows are written. */
export const SUM_NAMES: readonly (CallColumn | UsageColumn)[] = [...CALL_NAMES, ...USAGE_NAMES];
export type SumColumn = CallColumn | UsageColumn;

/** No call uses more than this of anything; a provider that says so is not believed, so that no sum can overflow. */
export const LARGEST_COUNT = 1_000_000_000;

/** What tells calls apart, by column. */
export const SERIES_NAMES = [
  'organization_id',
  'project_id',
  'key_id',
  'owner_id',
  'family',
  'operation',
  'model',
  'model_asked',
  'provider',
  'service_tier',
  'price_version',
  'batch',
  'test',
] as const satisfies readonly (keyof UsageSeriesTable)[];

/** The line of costs for what was charged to budgets and is not what the prices give: its quantity is calls. */
export const CHARGED = 'charged';
/** The line of a cost report for calls that have no price: its quantity is calls. */
export const UNPRICED = 'unpriced';
