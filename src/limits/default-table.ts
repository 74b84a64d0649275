// The table of limits that holds until the administrator writes another. It is made for a server of one's own: its
// amounts protect against a loop that runs away, they are no business model. The first tier is wide enough for a whole
// company's daily work; what a runaway loop can do in a minute is bounded all the same.

import { type LimitTables, parseTables, type TableInput } from './tables.ts';

function tier(
  name: string,
  paid_usd: number,
  days: number,
  rpm: number,
  tpm: number,
): TableInput['tiers'][number] {
  return {
    name,
    paid_usd,
    days,
    limits: {
      '*': {
        requests_per_minute: rpm,
        tokens_per_minute: tpm,
        images_per_minute: Math.ceil(rpm / 20),
        audio_seconds_per_minute: rpm * 6,
        batch_tokens: tpm * 50,
      },
      'text-embedding-*': {
        requests_per_minute: rpm,
        tokens_per_minute: tpm * 5,
        batch_tokens: tpm * 100,
      },
      'gpt-4.1-long-context': {
        requests_per_minute: Math.ceil(rpm / 5),
        tokens_per_minute: tpm,
      },
    },
  };
}

export const DEFAULT_TABLE: TableInput = {
  tiers: [
    tier('free', 0, 0, 10_000, 20_000_000),
    tier('1', 5, 0, 15_000, 30_000_000),
    tier('2', 50, 7, 20_000, 40_000_000),
    tier('3', 100, 7, 30_000, 60_000_000),
    tier('4', 250, 14, 50_000, 100_000_000),
    tier('5', 1_000, 30, 100_000, 500_000_000),
  ],
  groups: {},
  long_context: {
    'gpt-4.1-long-context': { models: ['gpt-4.1*'], above: 128_000 },
  },
  reply_tokens: { 'text-embedding-*': 0, '*': 1_024 },
  charge: 'sum',
};

export const defaultTables: LimitTables = parseTables(DEFAULT_TABLE, 'the default table');
