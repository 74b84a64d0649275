// The table of limits that holds until the administrator writes another. It is made for a server of one's own: the
// first tier is wide enough for a team's daily work and narrow enough to stop a runaway loop within a minute.

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
        tokens_per_minute: Math.max(tpm, 5_000_000),
      },
    },
  };
}

export const DEFAULT_TABLE: TableInput = {
  tiers: [
    tier('free', 0, 0, 1_000, 1_000_000),
    tier('1', 5, 0, 3_000, 2_000_000),
    tier('2', 50, 7, 5_000, 5_000_000),
    tier('3', 100, 7, 10_000, 10_000_000),
    tier('4', 250, 14, 20_000, 40_000_000),
    tier('5', 1_000, 30, 60_000, 200_000_000),
  ],
  groups: {},
  long_context: {
    'gpt-4.1-long-context': { models: ['gpt-4.1*'], above: 128_000 },
  },
  reply_tokens: { 'text-embedding-*': 0, '*': 1_024 },
  charge: 'sum',
};

export const defaultTables: LimitTables = parseTables(DEFAULT_TABLE, 'the default table');
