// `keygate usage`: calls and tokens of the last days, by day or by what they were used for.

import type { Command } from 'commander';
import type { Io } from './io.ts';
import { printJson, printTable } from './print.ts';
import { bar, count, money, printCsv } from './usage-chart.ts';
import { addUsageExplain } from './usage-explain.ts';
import {
  type Bucket,
  byGroup,
  byTime,
  fetchReport,
  GROUPS,
  type GroupName,
  namesOf,
  type ReportOptions,
  reportOptions,
  sumOf,
  type Total,
  timeText,
} from './usage-report.ts';

export function addUsage(program: Command, io: Io): void {
  const usage = program.command('usage').description('calls and tokens of the last days');
  for (const option of reportOptions()) usage.addOption(option);
  addUsageExplain(usage, io);
  usage
    .addHelpText(
      'after',
      `
Days are of UTC. A call is in the numbers about a second after its end.

Examples:
  keygate usage
  keygate usage --days 30 --group-by model
  keygate usage --hourly --days 1 --project "Search team"
  keygate usage --days 90 --group-by key --csv > usage.csv
  keygate usage explain req_…`,
    )
    .action(async (options: ReportOptions) => {
      const { buckets, server } = await fetchReport(io, options);
      if (options.json) return printJson(io, { object: 'page', data: buckets });
      if (options.csv) return printBuckets(io, buckets, options);
      const totals = options.groupBy
        ? byGroup(buckets, await namesOf(server, options.groupBy))
        : byTime(buckets, options.hourly === true);
      printTotals(io, headOf(options), totals);
    });
}

/** The head of the first column. */
export function headOf({ groupBy, hourly }: ReportOptions): string {
  return (groupBy ?? (hourly ? 'hour' : 'day')).toUpperCase();
}

function printTotals(io: Io, head: string, totals: readonly Total[]): void {
  const tokens = (total: Total) => total.input + total.output;
  const most = Math.max(0, ...totals.map(tokens));
  const mostRequests = Math.max(0, ...totals.map((total) => total.requests));
  const row = (total: Total, drawn: string) => [
    total.name,
    count(total.requests),
    count(total.failed),
    count(total.input),
    count(total.output),
    money(total.nano),
    drawn,
  ];
  printTable(
    io,
    [head, 'REQUESTS', 'FAILED', 'INPUT TOKENS', 'OUTPUT TOKENS', 'COST', ''],
    [
      // Where nothing used tokens (images, audio), the bars tell requests.
      ...totals.map((total) =>
        row(total, most > 0 ? bar(io, tokens(total), most) : bar(io, total.requests, mostRequests)),
      ),
      row(sumOf(totals, 'total'), ''),
    ],
  );
  noteUnpriced(io, totals);
}

export function noteUnpriced(io: Io, totals: readonly Total[]): void {
  const { unpriced } = sumOf(totals, '');
  if (unpriced > 0)
    io.err(
      `${count(unpriced)} calls have no price and are in the cost as nothing: give their models a price.\n`,
    );
}

/** A row for each bucket and group, with everything that is counted. */
export function printBuckets(
  io: Io,
  buckets: readonly Bucket[],
  options: { groupBy?: GroupName; hourly?: true },
): void {
  const group = options.groupBy && GROUPS[options.groupBy];
  printCsv(io, [
    [
      'start',
      ...(group ? [group] : []),
      'requests',
      'failed_requests',
      'cut_requests',
      'counted_requests',
      'unpriced_requests',
      'input_tokens',
      'input_cached_tokens',
      'output_tokens',
      'images',
      'seconds',
      'characters',
      'searches',
      'cost_usd',
    ],
    ...buckets.flatMap((bucket) =>
      bucket.results.map((result) => [
        timeText(bucket.start_time, options.hourly === true),
        ...(group ? [result[group] ?? ''] : []),
        result.num_requests,
        result.num_failed_requests,
        result.num_cut_requests,
        result.num_counted_requests,
        result.num_unpriced_requests,
        result.input_tokens,
        result.input_cached_tokens,
        result.output_tokens,
        result.images,
        result.seconds,
        result.characters,
        result.searches,
        result.cost.amount,
      ]),
    ),
  ]);
}
