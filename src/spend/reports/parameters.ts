// The parameters of a report, from its query string. Lists are taken as the official clients send them
// (`project_ids[]=a&project_ids[]=b`), and without the brackets. What does not fit is 400 with the parameter's name:
// a filter that is misspelt and ignored would answer with everybody's numbers.
//
// Buckets are whole minutes, hours or days of UTC; those that the time from `start_time` to `end_time` touches are
// answered, each as a whole.

import { z } from 'zod';
import { badRequest, invalidParameter } from '../../access/validation.ts';
import { bucketOf, reportableMs, WIDTHS, type Width } from '../rollup/model.ts';
import { type Group, IMAGE_SOURCES, type ListFilter, type Report } from './model.ts';

/** The most values of one filter. */
const VALUES = 500;
/** 31 December 9999: what a date can be. */
const LAST_SECOND = 253_402_300_799;

/** By width: how many buckets a page has, and how many it may have. */
const PAGES: Record<Width, { readonly standard: number; readonly most: number }> = {
  '1m': { standard: 60, most: 1440 },
  '1h': { standard: 24, most: 168 },
  '1d': { standard: 7, most: 31 },
};
const COST_PAGES = { standard: 7, most: 180 };

export interface Parameters {
  readonly width: Width;
  /** The start of the page's first bucket, in milliseconds. */
  readonly fromMs: number;
  /** Where the report ends, exclusive, in milliseconds: the last bucket begins before. */
  readonly untilMs: number;
  /** How many buckets the page has at most. */
  readonly limit: number;
  readonly groups: readonly Group[];
  readonly filters: { readonly [F in ListFilter]?: readonly string[] };
  readonly batch: boolean | null;
  /** Calls of test keys too. */
  readonly withTests: boolean;
}

const seconds = z
  .string()
  .regex(/^\d{1,12}$/, 'must be Unix time in whole seconds')
  .transform(Number)
  .refine((value) => value <= LAST_SECOND, 'must be a time before the year 10000');
const flag = z.enum(['true', 'false']).transform((text) => text === 'true');
const values = z.array(z.string().min(1, 'must not be empty').max(512)).max(VALUES);

/** Parameters that are not lists; their name with brackets is unknown. */
const SCALARS: ReadonlySet<string> = new Set([
  'start_time',
  'end_time',
  'bucket_width',
  'limit',
  'page',
  'batch',
  'include_test',
]);

function schemaOf(report: Report) {
  const widths: readonly Width[] = report.kind.of === 'costs' ? ['1d'] : ['1m', '1h', '1d'];
  const filters = Object.fromEntries(report.filters.map((name) => [name, filterSchema(name).optional()]));
  return z.strictObject({
    start_time: seconds,
    end_time: seconds.optional(),
    bucket_width: z.enum(widths).default('1d'),
    limit: z
      .string()
      .regex(/^\d{1,6}$/, 'must be a whole number')
      .transform(Number)
      .optional(),
    page: z.string().max(100).optional(),
    group_by: z.array(z.enum(report.groups)).max(20).default([]),
    include_test: flag.default(false),
    ...(report.batchFilter && { batch: flag.optional() }),
    ...filters,
  });
}

function filterSchema(name: ListFilter) {
  switch (name) {
    case 'sizes':
    case 'context_levels':
    case 'vector_store_ids':
      return z.custom<string[]>(() => false, 'cannot be used: keygate does not record it; leave it out');
    case 'sources':
      return z.array(z.enum(Object.values(IMAGE_SOURCES))).max(VALUES);
    default:
      return values;
  }
}

const schemas = new Map<Report, ReturnType<typeof schemaOf>>();

/**
 * @param queries every parameter of the query string with its values
 * @throws ApiError 400 naming the parameter
 */
export function readParameters(
  report: Report,
  queries: Readonly<Record<string, readonly string[]>>,
  nowMs: number,
): Parameters {
  const schema = schemas.get(report) ?? schemaOf(report);
  schemas.set(report, schema);
  const parsed = schema.safeParse(named(queries));
  if (!parsed.success) throw badRequest(parsed.error.issues);
  const { start_time, end_time, bucket_width: width, limit, page, group_by, include_test } = parsed.data;
  if (end_time !== undefined && end_time <= start_time)
    throw invalidParameter('end_time', "Invalid 'end_time': it must be later than 'start_time'.");
  const pages = report.kind.of === 'costs' ? COST_PAGES : PAGES[width];
  if (limit !== undefined && (limit < 1 || limit > pages.most)) {
    throw invalidParameter(
      'limit',
      `Invalid 'limit': with bucket_width ${width} it must be from 1 to ${pages.most}.`,
    );
  }
  const untilMs = end_time === undefined ? nowMs + 1 : end_time * 1000;
  const firstMs = bucketOf(start_time * 1000, WIDTHS[width].ms);
  const fromMs = page === undefined ? firstMs : placeOf(page, width, firstMs, untilMs);
  refuseForgotten(width, fromMs, nowMs);
  const rest: Readonly<Record<string, unknown>> = parsed.data;
  return {
    width,
    fromMs,
    untilMs,
    limit: limit ?? pages.standard,
    groups: [...new Set(group_by)],
    filters: filtersOf(report, rest),
    batch: typeof rest['batch'] === 'boolean' ? rest['batch'] : null,
    withTests: include_test,
  };
}

function filtersOf(report: Report, data: Readonly<Record<string, unknown>>): Parameters['filters'] {
  const filters: { [F in ListFilter]?: readonly string[] } = {};
  for (const name of report.filters) {
    const given = values.safeParse(data[name]);
    if (given.success && given.data.length > 0) filters[name] = given.data;
  }
  return filters;
}

/** `project_ids[]`, `project_ids[0]` and `project_ids` are one list. */
function named(queries: Readonly<Record<string, readonly string[]>>): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [name, given] of Object.entries(queries)) {
    if (SCALARS.has(name)) {
      if (given.length > 1) throw invalidParameter(name, `Invalid '${name}': it was given more than once.`);
      // The clients write null as nothing.
      if (given[0] !== '') found[name] = given[0];
      continue;
    }
    const list = name.replace(/\[\d{0,3}\]$/, '');
    const before = found[list];
    found[list] = [...(Array.isArray(before) ? before : []), ...given];
  }
  return found;
}

/** Minutes and hours are deleted after a time; an empty answer would say that nothing was used. */
function refuseForgotten(width: Width, fromMs: number, nowMs: number): void {
  const keptMs = reportableMs(width);
  if (keptMs === null || fromMs >= bucketOf(nowMs - keptMs, WIDTHS[width].ms)) return;
  const days = keptMs / WIDTHS['1d'].ms;
  throw invalidParameter(
    'start_time',
    `Invalid 'start_time': buckets of ${width} are kept for ${days} days; begin later, or ask for wider buckets.`,
  );
}

/** The name of the page that begins with the bucket at `startMs`. */
export function pageAt(startMs: number): string {
  return `page_${Buffer.from(String(startMs / 1000)).toString('base64url')}`;
}

function placeOf(page: string, width: Width, firstMs: number, untilMs: number): number {
  const text = page.startsWith('page_') ? Buffer.from(page.slice(5), 'base64url').toString('latin1') : '';
  const startMs = /^\d{1,12}$/.test(text) ? Number(text) * 1000 : Number.NaN;
  const fits = startMs >= firstMs && startMs < untilMs && bucketOf(startMs, WIDTHS[width].ms) === startMs;
  if (fits && pageAt(startMs) === page) return startMs;
  throw invalidParameter(
    'page',
    "Invalid 'page': it must be the 'next_page' of a reply to the same query, as it was given.",
  );
}
