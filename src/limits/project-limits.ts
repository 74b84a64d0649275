// A project's rate limit of one model as the published API shows it, and back: six fields, of which ours are a superset.
//
// Two of them measure otherwise than we do. Audio: the platform counts megabytes, we count seconds; a megabyte is 62.5
// seconds, as estimate.ts takes a second for 16,000 bytes. Batches: the platform's field says "a day", and its queue
// limit is what is enqueued at one time; that is ours.

import { MAX_AMOUNT } from './bucket.ts';
import { type Amounts, rateLimitId } from './change.ts';
import type { EffectiveLimit } from './draw.ts';
import type { Dimension } from './model.ts';

export const FIELDS = {
  max_requests_per_1_minute: 'requests_per_minute',
  max_tokens_per_1_minute: 'tokens_per_minute',
  max_images_per_1_minute: 'images_per_minute',
  max_audio_megabytes_per_1_minute: 'audio_seconds_per_minute',
  max_requests_per_1_day: 'requests_per_day',
  batch_1_day_max_input_tokens: 'batch_tokens',
} as const satisfies Record<string, Dimension>;

export type Field = keyof typeof FIELDS;
export const FIELD_NAMES = Object.keys(FIELDS) as readonly Field[];

const SECONDS_A_MEGABYTE = 62.5;

export interface ProjectRateLimit {
  readonly object: 'project.rate_limit';
  readonly id: string;
  readonly model: string;
  readonly max_requests_per_1_minute: number;
  readonly max_tokens_per_1_minute: number;
  readonly max_images_per_1_minute?: number;
  readonly max_audio_megabytes_per_1_minute?: number;
  readonly max_requests_per_1_day?: number;
  readonly batch_1_day_max_input_tokens?: number;
}

/** Where nothing is limited, the two fields that are always there say the largest amount. */
export function projectRateLimit(model: string, limits: readonly EffectiveLimit[]): ProjectRateLimit {
  const shown: Partial<Record<Field, number>> = {};
  for (const field of FIELD_NAMES) {
    const limit = limits.find(({ dimension }) => dimension === FIELDS[field]);
    if (limit === undefined) continue;
    shown[field] = FIELDS[field] === 'audio_seconds_per_minute' ? megabytes(limit.amount) : limit.amount;
  }
  return {
    object: 'project.rate_limit',
    id: rateLimitId(model),
    model,
    max_requests_per_1_minute: MAX_AMOUNT,
    max_tokens_per_1_minute: MAX_AMOUNT,
    ...shown,
  };
}

/** The amounts by dimension that a request asks for. */
export function amountsOf(body: Readonly<Partial<Record<Field, number | null | undefined>>>): Amounts {
  const amounts: Partial<Record<Dimension, number | null>> = {};
  for (const field of FIELD_NAMES) {
    const value = body[field];
    if (value === undefined) continue;
    const dimension = FIELDS[field];
    amounts[dimension] =
      value !== null && dimension === 'audio_seconds_per_minute'
        ? Math.ceil(value * SECONDS_A_MEGABYTE)
        : value;
  }
  return amounts;
}

export function fieldOf(dimension: Dimension): string {
  return FIELD_NAMES.find((field) => FIELDS[field] === dimension) ?? dimension;
}

/** Rounded down, so that a whole number of megabytes comes back as it was set. */
function megabytes(seconds: number): number {
  return Math.floor(seconds / SECONDS_A_MEGABYTE);
}
