// A provider's own costs and usage, asked of its API as OpenAI publishes it (`/organization/costs`,
// `/organization/usage/completions`): by day, costs by line item and tokens by model, page after page.

import { z } from 'zod';
import { SetupError } from '../../platform/errors.ts';
import { modelOf } from './provider-export.ts';
import type { ProviderDay } from './reconcile.ts';

/** Buckets of a day that one page may have, by the published description. */
const COSTS_LIMIT = 180;
const USAGE_LIMIT = 31;
const MOST_PAGES = 200;

const Amount = z.object({ value: z.coerce.number() });
const CostResult = z.object({ amount: Amount, line_item: z.string().nullish() });
const UsageResult = z.object({
  model: z.string().nullish(),
  input_tokens: z.number(),
  output_tokens: z.number(),
  num_model_requests: z.number(),
});
const page = <R extends z.ZodType>(result: R) =>
  z.object({
    data: z.array(z.object({ start_time: z.number(), results: z.array(result) })),
    has_more: z.boolean(),
    next_page: z.string().nullish(),
  });

export interface ApiRange {
  /** Unix seconds, the beginnings of days of UTC; the end is not in it. */
  readonly startTime: number;
  readonly endTime: number;
  /** Only of these projects of the provider's. */
  readonly projects: readonly string[];
}

/** @param get one answer of the API by its path below /v1, or what it rejects with */
export async function readProviderApi(
  get: (path: string) => Promise<unknown>,
  range: ApiRange,
): Promise<ProviderDay[]> {
  const days = new Map<string, { -readonly [K in keyof ProviderDay]: ProviderDay[K] }>();
  const at = (seconds: number, model: string) => {
    const day = new Date(seconds * 1000).toISOString().slice(0, 10);
    const found = days.get(`${day} ${model}`);
    if (found !== undefined) return found;
    const fresh = {
      day,
      model,
      nano: null,
      requests: null,
      input: null,
      output: null,
      accounts: range.projects,
    };
    days.set(`${day} ${model}`, fresh);
    return fresh as { -readonly [K in keyof ProviderDay]: ProviderDay[K] };
  };
  for await (const { start, result } of buckets(get, 'costs', 'line_item', COSTS_LIMIT, CostResult, range)) {
    const sums = at(start, modelOf('', result.line_item ?? ''));
    sums.nano = (sums.nano ?? 0n) + BigInt(Math.round(result.amount.value * 1e9));
  }
  const usage = buckets(get, 'usage/completions', 'model', USAGE_LIMIT, UsageResult, range);
  for await (const { start, result } of usage) {
    const sums = at(start, result.model ?? '(none)');
    sums.requests = (sums.requests ?? 0) + result.num_model_requests;
    sums.input = (sums.input ?? 0) + result.input_tokens;
    sums.output = (sums.output ?? 0) + result.output_tokens;
  }
  return [...days.values()];
}

async function* buckets<R extends z.ZodType>(
  get: (path: string) => Promise<unknown>,
  report: string,
  group: string,
  limit: number,
  result: R,
  { startTime, endTime, projects }: ApiRange,
): AsyncGenerator<{ start: number; result: z.infer<R> }> {
  const query = new URLSearchParams({
    start_time: String(startTime),
    end_time: String(endTime),
    bucket_width: '1d',
    limit: String(limit),
  });
  query.append('group_by[]', group);
  for (const project of projects) query.append('project_ids[]', project);
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const parsed = page(result).safeParse(await get(`/organization/${report}?${query}`));
    if (!parsed.success)
      throw new SetupError(`The provider’s /organization/${report} answers in a form that is not known.`);
    for (const bucket of parsed.data.data) {
      for (const one of bucket.results) yield { start: bucket.start_time, result: one };
    }
    if (!parsed.data.has_more || !parsed.data.next_page) return;
    query.set('page', parsed.data.next_page);
  }
  throw new SetupError(
    `The provider’s /organization/${report} has more pages than are read: ask for fewer days.`,
  );
}
