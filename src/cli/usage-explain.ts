// `keygate usage explain`: one call, what it used, and how its cost comes about.

import type { Command } from 'commander';
import { z } from 'zod';
import type { Io } from './io.ts';
import { printFields, printJson, printTable, when } from './print.ts';
import { adminServer } from './server.ts';

const Event = z.looseObject({
  request_id: z.string(),
  at: z.number(),
  project_id: z.string(),
  api_key_id: z.string(),
  operation: z.string(),
  model_asked: z.string(),
  model_served: z.string(),
  provider: z.string(),
  service_tier: z.string(),
  status: z.number(),
  outcome: z.string(),
  cost: z.looseObject({
    amount: z.string(),
    price_version: z.string(),
    price_source: z.string().nullable(),
    price_date: z.string().nullable(),
    lines: z.array(
      z.object({
        kind: z.string(),
        quantity: z.number(),
        price: z.string(),
        per: z.string(),
        amount: z.string(),
      }),
    ),
  }),
  explanation: z.array(z.string()),
});
const Events = z.looseObject({ data: z.array(Event) });

export function addUsageExplain(usage: Command, io: Io): void {
  usage
    .command('explain')
    .description('one call: what it used, at which prices, and why it was charged so')
    .argument('<request>', 'its id, the x-request-id of the reply: req_…')
    .option('--json', 'print the object as JSON')
    .action(async (id: string, { json }: { readonly json?: true }) => {
      const path = `/v1/keygate/usage/events?request_id=${encodeURIComponent(id)}`;
      const [event] = (await adminServer(io).get(path, Events)).data;
      if (event === undefined) return;
      if (json) return printJson(io, event);
      const { cost } = event;
      const model =
        event.model_served === event.model_asked
          ? event.model_asked
          : `${event.model_asked}, served by ${event.model_served}`;
      printFields(io, [
        ['Request', event.request_id],
        ['At', when(event.at, '')],
        ['Project, key', `${event.project_id}, ${event.api_key_id}`],
        ['Call', `${event.operation}, ${event.status} ${event.outcome}`],
        [
          'Model',
          `${model} (${event.provider}${event.service_tier === '' ? '' : `, ${event.service_tier}`})`,
        ],
        ['Prices', pricesOf(cost)],
      ]);
      if (cost.lines.length > 0) {
        io.out('\n');
        printTable(
          io,
          ['USED', 'QUANTITY', 'PRICE', 'AMOUNT'],
          [
            ...cost.lines.map(({ kind, quantity, price, per, amount }) => [
              kind,
              quantity.toLocaleString('en-US'),
              `$${price} for ${per}`,
              `$${amount}`,
            ]),
            ['charged', '', '', `$${cost.amount}`],
          ],
        );
      } else io.out(`\nCharged: $${cost.amount}\n`);
      io.out(`\n${event.explanation.join('\n')}\n`);
    });
}

function pricesOf(cost: z.infer<typeof Event>['cost']): string {
  if (cost.price_source === null) return 'none';
  const date = cost.price_date?.startsWith('1970') ? '' : `, ${cost.price_date}`;
  return `${cost.price_source}${date}${cost.price_version === '' ? '' : ` (version ${cost.price_version})`}`;
}
