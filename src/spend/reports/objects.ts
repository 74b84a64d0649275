// Reports as the Administration API shows them: a page of buckets, each with a result for each group. What was not
// grouped by is null. Fields that keygate cannot know are left out (which of the cached tokens were audio; for how
// long a cache keeps what was written), never guessed.

import { z } from '@hono/zod-openapi';
import { bucketOf, WIDTHS } from '../rollup/model.ts';
import { dollars, dollarText, type Group, IMAGE_SOURCES, LINE_ITEMS, type Report } from './model.ts';
import { type Parameters, pageAt } from './parameters.ts';
import { columnOf, type Read, type ReportRow } from './read.ts';

export const PageSchema = z
  .object({
    object: z.literal('page'),
    data: z.array(
      z.object({
        object: z.literal('bucket'),
        start_time: z.int(),
        end_time: z.int(),
        results: z.array(z.looseObject({ object: z.string() })),
      }),
    ),
    has_more: z.boolean(),
    next_page: z.string().nullable(),
  })
  .openapi('UsagePage');

export type Page = z.infer<typeof PageSchema>;
type Result = Page['data'][number]['results'][number];

/** Where the page's buckets end at the latest, exclusive. */
export function pageEnd({ width, fromMs, untilMs, limit }: Parameters): number {
  const { ms } = WIDTHS[width];
  const end = bucketOf(untilMs - 1, ms) + ms;
  return Math.min(Math.max(end, fromMs), fromMs + limit * ms);
}

export function pageObject(report: Report, parameters: Parameters, read: Read): Page {
  const { width, fromMs, untilMs } = parameters;
  const { ms } = WIDTHS[width];
  const results = new Map<number, Result[]>();
  for (const row of read.rows) {
    const bucket = results.get(row.start) ?? [];
    results.set(row.start, bucket);
    bucket.push(resultOf(report, parameters.groups, row));
  }
  const data: Page['data'] = [];
  for (let start = fromMs; start < read.untilMs; start += ms) {
    data.push({
      object: 'bucket',
      start_time: start / 1000,
      end_time: (start + ms) / 1000,
      results: results.get(start) ?? [],
    });
  }
  const more = read.untilMs < untilMs;
  return { object: 'page', data, has_more: more, next_page: more ? pageAt(read.untilMs) : null };
}

function resultOf(report: Report, groups: readonly Group[], row: ReportRow): Result {
  const keys: Record<string, string | boolean | null> = {};
  for (const group of report.groups) keys[group] = groups.includes(group) ? keyOf(group, row) : null;
  return { object: report.object, ...amountsOf(report, row), ...keys };
}

function keyOf(group: Group, row: ReportRow): string | boolean | null {
  const column = columnOf(group);
  const value = column && row.by[column];
  switch (group) {
    case 'api_source':
      return 'unlabeled';
    case 'batch':
      return value === 1;
    case 'source':
      return IMAGE_SOURCES[String(value)] ?? null;
    case 'line_item':
      return `${value}, ${LINE_ITEMS.find(({ kind }) => kind === row.line?.kind)?.name ?? row.line?.kind}`;
    default:
      return value === undefined ? null : String(value);
  }
}

function amountsOf({ kind }: Report, row: ReportRow): Record<string, unknown> {
  const { sums } = row;
  switch (kind.of) {
    case 'costs':
      return costs(row);
    case 'searches':
      return { num_requests: sums.searches, num_model_requests: sums.search_requests };
    case 'everything':
      return everything(row);
    case 'nothing':
      return {};
  }
  const num_model_requests = sums.requests;
  switch (kind.family) {
    case 'completions':
      return { ...tokens(row), num_model_requests };
    case 'images':
      return { images: sums.images, num_model_requests };
    case 'audio_speeches':
      return { characters: sums.characters, num_model_requests };
    case 'audio_transcriptions':
      return { seconds: Math.ceil(sums.audio_ms / 1000), num_model_requests };
    default:
      return { input_tokens: sums.input, num_model_requests };
  }
}

/** A part is never shown as larger than the whole, whatever a provider said. */
function tokens({ sums }: ReportRow) {
  const rest = (whole: number, ...parts: number[]) =>
    parts.reduce((left, part) => Math.max(0, left - part), whole);
  const uncached = rest(sums.input, sums.cached_input, sums.cache_write);
  return {
    input_tokens: sums.input,
    output_tokens: sums.output,
    input_cached_tokens: sums.cached_input,
    input_uncached_tokens: uncached,
    input_cache_write_tokens: sums.cache_write,
    input_text_tokens: rest(uncached, sums.audio_input, sums.image_input),
    input_audio_tokens: sums.audio_input,
    input_image_tokens: sums.image_input,
    output_text_tokens: rest(sums.output, sums.audio_output, sums.image_output),
    output_audio_tokens: sums.audio_output,
    output_image_tokens: sums.image_output,
  };
}

function costs({ nano, line, sums }: ReportRow) {
  const item = LINE_ITEMS.find(({ kind }) => kind === line?.kind);
  const quantity = line && (item?.unit === 'duration_seconds' ? line.quantity / 1000 : line.quantity);
  return {
    amount: { value: dollars(nano), currency: 'usd' },
    quantity,
    quantity_unit: item?.unit ?? null,
    // keygate's own: calls that have no price, and are in the sum as nothing.
    ...(sums.unpriced > 0 && { keygate: { unpriced_requests: sums.unpriced } }),
  };
}

function everything({ sums, nano }: ReportRow) {
  return {
    num_requests: sums.requests,
    num_failed_requests: sums.errors,
    num_cut_requests: sums.cut,
    num_counted_requests: sums.counted,
    num_unpriced_requests: sums.unpriced,
    input_tokens: sums.input,
    input_cached_tokens: sums.cached_input,
    input_cache_write_tokens: sums.cache_write,
    output_tokens: sums.output,
    output_reasoning_tokens: sums.reasoning,
    input_audio_tokens: sums.audio_input,
    output_audio_tokens: sums.audio_output,
    input_image_tokens: sums.image_input,
    output_image_tokens: sums.image_output,
    images: sums.images,
    seconds: sums.audio_ms / 1000,
    characters: sums.characters,
    searches: sums.searches,
    // Exact, as decimal text; a double would not hold every amount.
    cost: { amount: dollarText(nano), currency: 'usd' },
  };
}
