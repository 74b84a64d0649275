// What the processes of redis-nodes.test.ts ask for: for each dimension its limit and the size of one call.

import type { Dimension } from '../../src/limits/model.ts';

export const LOADS: Partial<Record<Dimension, { readonly limit: number; readonly amount: number }>> = {
  requests_per_minute: { limit: 1_200, amount: 1 },
  requests_per_day: { limit: 1_000_000, amount: 500 },
  tokens_per_minute: { limit: 10_000_000_000, amount: 25_000_000 },
  tokens_per_day: { limit: 12_000_000, amount: 10_000 },
  images_per_minute: { limit: 600, amount: 1 },
  audio_seconds_per_minute: { limit: 36_000, amount: 30 },
  batch_tokens: { limit: 2_000_000, amount: 1_000 },
};
