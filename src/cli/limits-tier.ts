// `keygate limits tier`: the usage tier that the organization is in, and the pin that wins over what it reached.

import { type Command, Option } from 'commander';
import { z } from 'zod';
import type { Io } from './io.ts';
import { printFields, printJson, printTable, when } from './print.ts';
import { adminServer } from './server.ts';

interface Options {
  readonly pin?: string;
  readonly unpin?: true;
  readonly json?: true;
}

const TIER = '/v1/keygate/organization/tier';
const Thresholds = z.looseObject({ name: z.string(), paid_cents: z.number(), days: z.number() });
const Standing = z.looseObject({
  tier: z.string(),
  reached: z.string(),
  pinned: z.string().nullable(),
  pinned_by: z.string().nullable(),
  paid_cents: z.number(),
  first_payment_at: z.number().nullable(),
  days: z.number().nullable(),
  tiers: z.array(Thresholds),
});

export function addLimitsTier(limits: Command, io: Io): void {
  limits
    .command('tier')
    .description('show the usage tier of the organization, or pin it')
    .addOption(new Option('--pin <name>', 'stay in this tier, whatever is paid').conflicts('unpin'))
    .option('--unpin', 'be in the tier that was reached')
    .option('--json', 'print the object as JSON')
    .action(async (options: Options) => {
      const server = adminServer(io);
      const standing =
        options.pin === undefined && !options.unpin
          ? await server.get(TIER, Standing)
          : await server.post(TIER, { pin: options.pin ?? null }, Standing);
      if (options.json) return printJson(io, standing);
      const { tier, reached, pinned, pinned_by: by, first_payment_at: first, days } = standing;
      printFields(io, [
        ['Tier', tier],
        ['Reached', reached],
        ['Pinned', pinned === null ? 'no' : `to ${pinned}, by the ${by ?? 'administrator'}`],
        ['Paid', dollars(standing.paid_cents)],
        ['First payment', first === null ? 'never' : `${when(first, '')}, ${days ?? 0} days ago`],
      ]);
      io.out('\n');
      printTable(
        io,
        ['TIER', 'PAID', 'DAYS SINCE THE FIRST PAYMENT', ''],
        standing.tiers.map((each) => [
          each.name,
          dollars(each.paid_cents),
          String(each.days),
          each.name === tier ? 'here' : '',
        ]),
      );
    });
}

function dollars(cents: number): string {
  return (cents / 100).toLocaleString('en-US', { style: 'currency', currency: 'USD' });
}
