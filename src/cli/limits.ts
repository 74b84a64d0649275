// `keygate limits …`: the group.

import type { Command } from 'commander';
import type { Io } from './io.ts';
import { addLimitsExplain } from './limits-explain.ts';
import { addLimitsSet } from './limits-set.ts';
import { addLimitsShow } from './limits-show.ts';
import { addLimitsSimulate } from './limits-simulate.ts';
import { addLimitsTier } from './limits-tier.ts';

export function addLimits(program: Command, io: Io): void {
  const limits = program
    .command('limits')
    .description('rate limits: see, set, explain and try them')
    .addHelpText(
      'after',
      `
Examples:
  keygate limits                                   what is in use at the moment
  keygate limits --model gpt-5-mini --project "Search team"
  keygate limits set gpt-5-mini --project "Search team" --rpm 300 --tpm 200k
  keygate limits set all --key key_… --rpm 60
  keygate limits explain req_…
  keygate limits simulate --against proposed.yaml --days 7
  keygate limits tier --pin 2`,
    );
  addLimitsShow(limits, io);
  addLimitsSet(limits, io);
  addLimitsExplain(limits, io);
  addLimitsSimulate(limits, io);
  addLimitsTier(limits, io);
}
