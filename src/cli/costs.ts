// `keygate costs`: what the calls of the last days cost, by day, by what they were for, or line by line; and
// `keygate costs reconcile`, in costs-reconcile.ts.

import { type Command, Option } from 'commander';
import { z } from 'zod';
import { addReconcile } from './costs-reconcile.ts';
import type { Io } from './io.ts';
import { printJson, printTable } from './print.ts';
import { findProject } from './projects.ts';
import { adminServer } from './server.ts';
import { headOf, noteUnpriced, printBuckets } from './usage.ts';
import { bar, count, money, printCsv } from './usage-chart.ts';
import {
  byGroup,
  byTime,
  fetchPages,
  fetchReport,
  GROUPS,
  type GroupName,
  namesOf,
  type ReportOptions,
  reportOptions,
  startOf,
  sumOf,
  type Total,
  timeText,
} from './usage-report.ts';

const LINE_ITEM = 'line-item';

type Options = Omit<ReportOptions, 'groupBy'> & { readonly groupBy?: GroupName | typeof LINE_ITEM };

const LinePage = z.looseObject({
  data: z.array(
    z.looseObject({
      start_time: z.number(),
      results: z.array(
        z.looseObject({
          line_item: z.string(),
          quantity: z.number().nullable(),
          quantity_unit: z.string().nullable(),
          amount: z.object({ value: z.number() }),
        }),
      ),
    }),
  ),
  next_page: z.string().nullable(),
});

export function addCosts(program: Command, io: Io): void {
  const costs = program.command('costs').description('what the calls of the last days cost');
  for (const option of reportOptions()) {
    costs.addOption(
      option.attributeName() === 'groupBy'
        ? new Option(option.flags, option.description).choices([...Object.keys(GROUPS), LINE_ITEM])
        : option,
    );
  }
  costs
    .addHelpText(
      'after',
      `
Days are of UTC; prices are those that held when each call arrived.

Examples:
  keygate costs
  keygate costs --days 30 --group-by project
  keygate costs --group-by line-item
  keygate costs --days 90 --group-by model --csv > costs.csv`,
    )
    .action(async ({ groupBy, ...options }: Options) => {
      if (groupBy === LINE_ITEM) return await lineItems(io, options);
      const asked: ReportOptions = { ...options, ...(groupBy && { groupBy }) };
      const { buckets, server } = await fetchReport(io, asked);
      if (options.json) return printJson(io, { object: 'page', data: buckets });
      if (options.csv) return printBuckets(io, buckets, asked);
      const totals = groupBy
        ? byGroup(buckets, await namesOf(server, groupBy))
        : byTime(buckets, options.hourly === true);
      printTotals(io, headOf(asked), totals);
    });
  addReconcile(costs, io);
}

function printTotals(io: Io, head: string, totals: readonly Total[]): void {
  const sum = sumOf(totals, 'total');
  const most = totals.reduce((dearest, { nano }) => (nano > dearest ? nano : dearest), 0n);
  const share = (nano: bigint) =>
    sum.nano === 0n ? '' : `${((Number(nano) / Number(sum.nano)) * 100).toFixed(1)} %`;
  printTable(
    io,
    [head, 'COST', 'SHARE', 'REQUESTS', ''],
    [
      ...totals.map((total) => [
        total.name,
        money(total.nano),
        share(total.nano),
        count(total.requests),
        bar(io, Number(total.nano), Number(most)),
      ]),
      [sum.name, money(sum.nano), '', count(sum.requests), ''],
    ],
  );
  noteUnpriced(io, totals);
}

interface LineTotal {
  quantity: number;
  readonly unit: string | null;
  value: number;
}

async function lineItems(io: Io, options: Omit<Options, 'groupBy'>): Promise<void> {
  const server = adminServer(io);
  const filters: Record<string, string> = {};
  if (options.project !== undefined)
    filters['project_ids[]'] = (await findProject(server, options.project)).id;
  if (options.includeTest) filters['include_test'] = 'true';
  const buckets = await fetchPages(
    server,
    '/v1/organization/costs',
    { startTime: startOf(io.now(), options.days), width: '1d', groups: ['line_item'], filters },
    LinePage,
  );
  if (options.json) return printJson(io, { object: 'page', data: buckets });
  if (options.csv) {
    return printCsv(io, [
      ['start', 'line_item', 'quantity', 'quantity_unit', 'cost_usd'],
      ...buckets.flatMap(({ start_time, results }) =>
        results.map((line) => [
          timeText(start_time, false),
          line.line_item,
          line.quantity ?? '',
          line.quantity_unit ?? '',
          line.amount.value,
        ]),
      ),
    ]);
  }
  const totals = new Map<string, LineTotal>();
  for (const { results } of buckets) {
    for (const line of results) {
      const total = totals.get(line.line_item) ?? { quantity: 0, unit: line.quantity_unit, value: 0 };
      totals.set(line.line_item, total);
      total.quantity += line.quantity ?? 0;
      total.value += line.amount.value;
    }
  }
  const lines = [...totals].sort(([, a], [, b]) => b.value - a.value);
  const most = Math.max(0, ...lines.map(([, { value }]) => value));
  printTable(
    io,
    ['LINE ITEM', 'QUANTITY', 'UNIT', 'COST', ''],
    lines.map(([name, { quantity, unit, value }]) => [
      name,
      count(quantity),
      unit?.replace('duration_', '') ?? '',
      money(BigInt(Math.round(value * 1e9))),
      bar(io, value, most),
    ]),
  );
}
