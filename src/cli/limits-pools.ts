// Pools of limits and their amounts, as the commands about them print and read them.

import { InvalidArgumentError } from 'commander';
import { goDuration } from '../limits/duration.ts';
import type { Dimension } from '../limits/model.ts';

/** The console's names of what is counted; they are also the options of `limits set`. */
export const SHORT: Readonly<Record<Dimension, string>> = {
  requests_per_minute: 'RPM',
  requests_per_day: 'RPD',
  tokens_per_minute: 'TPM',
  tokens_per_day: 'TPD',
  images_per_minute: 'IPM',
  audio_seconds_per_minute: 'audio s/min',
  batch_tokens: 'batch tokens',
};

/** A pool as the API gives it. */
export interface PoolLike {
  readonly scope: string;
  readonly subject_id: string;
  readonly cover: string;
  readonly name: string;
  readonly dimension: string;
}

/** Whose pool it is, what it covers, and what it counts: the first columns of a table. */
export function poolCells({ scope, subject_id, cover, name, dimension }: PoolLike): string[] {
  const whose = scope === 'organization' ? scope : subject_id;
  const what =
    cover === 'all'
      ? 'all models'
      : cover === 'group'
        ? `${name} (shared)`
        : cover === 'long_context'
          ? `${name} (long context)`
          : name;
  return [whose, what, Object.entries(SHORT).find(([known]) => known === dimension)?.[1] ?? dimension];
}

export function amount(value: number | null): string {
  return value === null ? '?' : value.toLocaleString('en-US');
}

/** A time as the headers write it; days are told as days, because a bucket a day is full again only after hours. */
export function resetsIn(ms: number | null, used: number | null): string {
  if (used === null) return '?';
  return ms === null ? 'when given back' : ms === 0 ? 'full' : goDuration(Math.ceil(ms / 1000) * 1000);
}

const FACTORS: Readonly<Record<string, number>> = { '': 1, k: 1_000, m: 1_000_000, g: 1_000_000_000 };

/** `300`, `200k`, `1.5M` → a whole number; `none` stays: the limit is to be taken away. */
export function parseAmount(text: string): number | 'none' {
  if (text === 'none') return text;
  const match = /^(\d{1,13}(?:\.\d{1,9})?)([kmg]?)$/i.exec(text.replaceAll(/[_,]/g, ''));
  const value = Number(match?.[1] ?? Number.NaN) * (FACTORS[match?.[2]?.toLowerCase() ?? ''] ?? 1);
  const whole = Math.round(value);
  if (!Number.isSafeInteger(whole) || Math.abs(value - whole) > 1e-6) {
    throw new InvalidArgumentError('It must be a whole number, such as 300, 200k or 1.5M, or none.');
  }
  return whole;
}
