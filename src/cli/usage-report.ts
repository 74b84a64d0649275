// Usage as the server reports it (/v1/keygate/usage), asked for all pages of a range, and what a command makes of it:
// totals by bucket and by group. Amounts stay whole nano-dollars.

import { InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { projectOption } from './options.ts';
import { findProject, listProjects } from './projects.ts';
import { adminServer, type Server } from './server.ts';

const DAY = 86_400;
const MOST_DAYS = 400;
/** Pages of one report at most: a guard against a server that never ends. */
const MOST_PAGES = 10_000;

const Count = z.number().nonnegative();

const Result = z.looseObject({
  project_id: z.string().nullable(),
  user_id: z.string().nullable(),
  api_key_id: z.string().nullable(),
  model: z.string().nullable(),
  provider: z.string().nullable(),
  family: z.string().nullable(),
  service_tier: z.string().nullable(),
  num_requests: Count,
  num_failed_requests: Count,
  num_cut_requests: Count,
  num_counted_requests: Count,
  num_unpriced_requests: Count,
  input_tokens: Count,
  input_cached_tokens: Count,
  output_tokens: Count,
  images: Count,
  seconds: Count,
  characters: Count,
  searches: Count,
  cost: z.looseObject({ amount: z.string().regex(/^-?\d+\.\d{9}$/) }),
});

export type Result = z.infer<typeof Result>;

const Page = z.looseObject({
  data: z.array(z.looseObject({ start_time: z.number(), end_time: z.number(), results: z.array(Result) })),
  next_page: z.string().nullable(),
});

export type Bucket = z.infer<typeof Page>['data'][number];

/** What the options call a group, and the API. */
export const GROUPS = {
  project: 'project_id',
  user: 'user_id',
  key: 'api_key_id',
  model: 'model',
  provider: 'provider',
  family: 'family',
  tier: 'service_tier',
} as const;

export type GroupName = keyof typeof GROUPS;

export interface ReportOptions {
  readonly days: number;
  readonly groupBy?: GroupName;
  readonly project?: string;
  readonly hourly?: true;
  readonly includeTest?: true;
  readonly json?: true;
  readonly csv?: true;
}

export function reportOptions(): Option[] {
  return [
    new Option('-d, --days <n>', 'how many days, today included (of UTC)').default(7).argParser((text) => {
      const days = /^\d{1,4}$/.test(text) ? Number(text) : 0;
      if (days < 1 || days > MOST_DAYS) throw new InvalidArgumentError(`It must be from 1 to ${MOST_DAYS}.`);
      return days;
    }),
    new Option('-g, --group-by <what>', 'totals by what, instead of by day').choices(Object.keys(GROUPS)),
    projectOption().argParser(String),
    new Option('--hourly', 'by hour instead of by day'),
    new Option('--include-test', 'calls of test keys too'),
    new Option('--json', 'print the buckets as JSON').conflicts('csv'),
    new Option('--csv', 'print a row for each bucket and group, for a spreadsheet'),
  ];
}

export interface Query {
  readonly startTime: number;
  readonly endTime?: number;
  readonly width: '1h' | '1d';
  readonly groups: readonly string[];
  readonly filters?: Readonly<Record<string, string>>;
}

/** All buckets of a range, page by page. */
export async function fetchBuckets(server: Server, path: string, query: Query): Promise<Bucket[]> {
  return await fetchPages(server, path, query, Page);
}

/** All buckets of a range of any report; `shape` says what a page holds. */
export async function fetchPages<B>(
  server: Server,
  path: string,
  query: Query,
  shape: z.ZodType<{ readonly data: B[]; readonly next_page: string | null }>,
): Promise<B[]> {
  const parameters = new URLSearchParams({ start_time: String(query.startTime), bucket_width: query.width });
  if (query.endTime !== undefined) parameters.set('end_time', String(query.endTime));
  parameters.set('limit', query.width === '1h' ? '168' : '31');
  for (const group of query.groups) parameters.append('group_by[]', group);
  for (const [name, value] of Object.entries(query.filters ?? {})) parameters.append(name, value);
  const buckets: B[] = [];
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const page = await server.get(`${path}?${parameters}`, shape);
    buckets.push(...page.data);
    if (page.next_page === null) return buckets;
    parameters.set('page', page.next_page);
  }
  throw new CommandError(EXIT.unreachable, 'The report does not end: ask for fewer days.');
}

/** The report that the options ask for. */
export async function fetchReport(
  io: Io,
  options: ReportOptions,
): Promise<{ readonly buckets: Bucket[]; readonly server: Server }> {
  const server = adminServer(io);
  const filters: Record<string, string> = {};
  if (options.project !== undefined)
    filters['project_ids[]'] = (await findProject(server, options.project)).id;
  if (options.includeTest) filters['include_test'] = 'true';
  const buckets = await fetchBuckets(server, '/v1/keygate/usage', {
    startTime: startOf(io.now(), options.days),
    width: options.hourly ? '1h' : '1d',
    groups: options.groupBy ? [GROUPS[options.groupBy]] : [],
    filters,
  });
  return { buckets, server };
}

/** The first second of the first of so many days of UTC, today being the last. */
export function startOf(nowMs: number, days: number): number {
  const today = Math.floor(nowMs / 1000 / DAY) * DAY;
  return today - (days - 1) * DAY;
}

export interface Total {
  readonly name: string;
  requests: number;
  failed: number;
  unpriced: number;
  input: number;
  output: number;
  nano: bigint;
}

/** A total for each bucket, in their order. */
export function byTime(buckets: readonly Bucket[], hourly: boolean): Total[] {
  return buckets.map((bucket) => {
    const total = newTotal(timeText(bucket.start_time, hourly));
    for (const result of bucket.results) add(total, result);
    return total;
  });
}

/** A total for each group over all buckets, the dearest first. */
export function byGroup(buckets: readonly Bucket[], nameOf: (result: Result) => string): Total[] {
  const totals = new Map<string, Total>();
  for (const { results } of buckets) {
    for (const result of results) {
      const name = nameOf(result);
      const total = totals.get(name) ?? newTotal(name);
      totals.set(name, total);
      add(total, result);
    }
  }
  return [...totals.values()].sort((a, b) =>
    a.nano === b.nano ? b.requests - a.requests || (a.name < b.name ? -1 : 1) : a.nano < b.nano ? 1 : -1,
  );
}

export function sumOf(totals: readonly Total[], name: string): Total {
  const sum = newTotal(name);
  for (const total of totals) {
    sum.requests += total.requests;
    sum.failed += total.failed;
    sum.unpriced += total.unpriced;
    sum.input += total.input;
    sum.output += total.output;
    sum.nano += total.nano;
  }
  return sum;
}

/** What a group is called for people: a project by its name, where it still exists. */
export async function namesOf(
  server: Server,
  groupBy: GroupName | undefined,
): Promise<(result: Result) => string> {
  const field = groupBy === undefined ? undefined : GROUPS[groupBy];
  const projects = groupBy === 'project' ? await listProjects(server) : [];
  const names = new Map(projects.map(({ id, name }) => [id, `${name} (${id})`]));
  return (result) => {
    const value = field === undefined ? null : result[field];
    return value === null ? '' : (names.get(value) ?? (value || '(none)'));
  };
}

export function nanoOf(amount: string): bigint {
  return BigInt(amount.replace('.', ''));
}

/** `2026-11-23`, or with the hour `2026-11-23 14:00Z`. */
export function timeText(seconds: number, hourly: boolean): string {
  const iso = new Date(seconds * 1000).toISOString();
  return hourly ? `${iso.slice(0, 16).replace('T', ' ')}Z` : iso.slice(0, 10);
}

function newTotal(name: string): Total {
  return { name, requests: 0, failed: 0, unpriced: 0, input: 0, output: 0, nano: 0n };
}

function add(total: Total, result: Result): void {
  total.requests += result.num_requests;
  total.failed += result.num_failed_requests;
  total.unpriced += result.num_unpriced_requests;
  total.input += result.input_tokens;
  total.output += result.output_tokens;
  total.nano += nanoOf(result.cost.amount);
}
