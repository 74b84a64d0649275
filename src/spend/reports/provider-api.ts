// A provider's own costs and usage, asked of its API as OpenAI publishes it (`/organization/costs`,
// `/organization/usage/completions`): by day and API key, costs by line item and tokens by
// model, page after page.

import { z } from 'zod';
import { SetupError } from '../../platform/errors.ts';
import { type DaySums, dayIn, modelOf } from './provider-export.ts';
import type { ProviderDay } from './reconcile.ts';

/** Buckets of a day that one page may have, by the published description. */
const COSTS_LIMIT = 180;
const USAGE_LIMIT = 31;
const MOST_PAGES = 200;

const Amount = z.object({ value: z.coerce.number() });
/** Whose the provider's key is: its own ids, null where a result is of no key. */
const Who = z.object({ api_key_id: z.string().nullish(), project_id: z.string().nullish() });
const CostResult = Who.extend({ amount: Amount, line_item: z.string().nullish() });
const UsageResult = Who.extend({
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
  /** Only of these keys or projects of the provider's; empty: of all. */
  readonly accounts: readonly string[];
}

/** @param get one answer of the API by its path below /v1, or what it rejects with */
export async function readProviderApi(
  get: (path: string) => Promise<unknown>,
  range: ApiRange,
): Promise<ProviderDay[]> {
  const days: DaySums = new Map();
  const wanted = new Set(range.accounts);
  /** The sums that a result belongs to; null: it is of a key or project that was not asked for. */
  const sumsOf = (start: number, model: string, { api_key_id, project_id }: z.infer<typeof Who>) => {
    const named = [project_id ?? '', api_key_id ?? ''].filter((account) => account !== '');
    if (wanted.size > 0 && !named.some((account) => wanted.has(account))) return null;
    const sums = dayIn(days, new Date(start * 1000).toISOString().slice(0, 10), model, api_key_id ?? '');
    sums.accounts = [...new Set([...sums.accounts, ...named])];
    return sums;
  };
  let known = false;
  for await (const { start, result } of buckets(get, 'costs', 'line_item', COSTS_LIMIT, CostResult, range)) {
    known = true;
    const sums = sumsOf(start, modelOf('', result.line_item ?? ''), result);
    if (sums) sums.nano = (sums.nano ?? 0n) + BigInt(Math.round(result.amount.value * 1e9));
  }
  const usage = buckets(get, 'usage/completions', 'model', USAGE_LIMIT, UsageResult, range);
  for await (const { start, result } of usage) {
    known = true;
    const sums = sumsOf(start, result.model ?? '(none)', result);
    if (sums === null) continue;
    sums.requests = (sums.requests ?? 0) + result.num_model_requests;
    sums.input = (sums.input ?? 0) + result.input_tokens;
    sums.output = (sums.output ?? 0) + result.output_tokens;
  }
  if (known && days.size === 0)
    throw new SetupError(
      'The provider has nothing of the keys or projects that were named: check their ids.',
    );
  return [...days.values()];
}

async function* buckets<R extends z.ZodType>(
  get: (path: string) => Promise<unknown>,
  report: string,
  group: string,
  limit: number,
  result: R,
  { startTime, endTime }: ApiRange,
): AsyncGenerator<{ start: number; result: z.infer<R> }> {
  const query = new URLSearchParams({
    start_time: String(startTime),
    end_time: String(endTime),
    bucket_width: '1d',
    limit: String(limit),
  });
  for (const by of [group, 'api_key_id', 'project_id']) query.append('group_by[]', by);
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
