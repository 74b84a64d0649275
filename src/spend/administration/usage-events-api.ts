// GET /v1/keygate/usage/events?request_id=…: one call as it was metered, and how its cost comes about: each kind of what
// it used, the price of a unit, whose list says so, and what was charged. Keygate's own.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  type ControlApp,
  type ControlPlaneDeps,
  newApp,
  replies,
  seconds,
} from '../../access/http.ts';
import { ApiError } from '../../platform/errors.ts';
import { requestIdTime } from '../../platform/ids.ts';
import type { Db } from '../../store/store.ts';
import { priceTable } from '../prices/import.ts';
import { writtenPrices } from '../prices/list.ts';
import { type Line, Rates } from '../prices/rates.ts';
import type { PriceTable } from '../prices/table.ts';
import { bounded, costOf, modelOf } from '../rollup/price.ts';
import { readSegment } from '../segment/read.ts';
import type { UsageEvent } from '../usage.ts';
import { dollarsOf } from './dollars.ts';
import type { PricesDeps } from './prices-api.ts';

/** A record is written within so long after its call arrived: calls take an hour at most, and clocks differ. */
const WRITTEN_WITHIN_MS = 2 * 3_600_000;
const MARGIN_MS = 60_000;

const LineSchema = z.object({
  kind: z.string(),
  quantity: z.int(),
  price: z.string().openapi({ description: 'Dollars for `per`.' }),
  per: z.string(),
  amount: z.string().openapi({ description: 'Dollars.' }),
});
const EventSchema = z
  .object({
    object: z.literal('keygate.usage_event'),
    request_id: z.string(),
    at: z.int(),
    project_id: z.string(),
    api_key_id: z.string(),
    owner_id: z.string(),
    operation: z.string(),
    model_asked: z.string(),
    model_served: z.string(),
    provider: z.string(),
    service_tier: z.string(),
    status: z.int(),
    outcome: z.string(),
    streamed: z.boolean(),
    duration_ms: z.int(),
    test: z.boolean(),
    usage: z.record(z.string(), z.int()),
    usage_source: z.enum(['provider', 'counted', 'none']),
    cost: z.object({
      amount: z.string().openapi({ description: 'Dollars.' }),
      currency: z.literal('USD'),
      charged_to_budgets: z.boolean(),
      unpriced: z.boolean(),
      price_version: z.string(),
      price_source: z.string().nullable(),
      price_date: z.string().nullable(),
      prices_changed_since: z.boolean(),
      lines: z.array(LineSchema),
    }),
    explanation: z.array(z.string()),
  })
  .openapi('UsageEvent');

export function usageEventsApi(deps: ControlPlaneDeps & PricesDeps, { admin }: Authentication): ControlApp {
  const { store } = deps;
  const app = newApp();
  const route = createRoute({
    method: 'get',
    path: '/v1/keygate/usage/events',
    tags: ['Usage'],
    middleware: [admin] as const,
    request: { query: z.object({ request_id: z.string().min(1).max(128) }) },
    responses: replies(
      z.object({ object: z.literal('list'), data: z.array(EventSchema) }),
      'The call: as a list, of one.',
    ),
  });
  app.openapi(route, async (c) => {
    const { request_id: id } = c.req.valid('query');
    const event = await eventOf(store.db, id);
    if (event === undefined || event.organizationId !== c.get('principal').organizationId)
      throw new ApiError(
        404,
        'No call of this id is on record: it is written about a tenth of a second after the call ended, and kept as long as `usage_retention` says.',
        { param: 'request_id' },
      );
    const table = await priceTable(store.db, deps.configured);
    return c.json({ object: 'list' as const, data: [explained(table, deps, event)] }, 200);
  });
  return app;
}

/** The id says when the call began: only segments of that time are looked through. */
async function eventOf(db: Db, id: string): Promise<UsageEvent | undefined> {
  const at = requestIdTime(id);
  if (at === undefined) return undefined;
  let after = 0;
  for (;;) {
    const segment = await db
      .selectFrom('usage_segments')
      .selectAll()
      .where('first_at', '<=', at + WRITTEN_WITHIN_MS)
      .where('last_at', '>=', at - MARGIN_MS)
      .where('seq', '>', after)
      .orderBy('seq')
      .limit(1)
      .executeTakeFirst();
    if (segment === undefined) return undefined;
    after = segment.seq;
    if (!Buffer.from(segment.payload).includes(id)) continue;
    const event = readSegment(segment).find(({ requestId }) => requestId === id);
    if (event !== undefined) return event;
  }
}

function explained(
  table: PriceTable,
  { listName }: PricesDeps,
  event: UsageEvent,
): z.infer<typeof EventSchema> {
  const prices = { table, names: { [event.provider]: listName(table, event.provider) } };
  const usage = bounded(event.usage);
  const cost = costOf(prices, event, event.at, usage, event.spend);
  const model = modelOf(prices, event, event.at);
  const rates = model.kind === 'priced' ? model.rates(event.serviceTier) : null;
  const free = event.test || event.status >= 400;
  const lines = rates instanceof Rates && !free ? rates.cost(usage).lines : [];
  const version = event.spend?.priceVersion || cost.version;
  const changed = version !== '' && version !== table.version;
  return {
    object: 'keygate.usage_event',
    request_id: event.requestId,
    at: seconds(event.at),
    project_id: event.projectId,
    api_key_id: event.keyId,
    owner_id: event.ownerId,
    operation: event.operation,
    model_asked: event.modelAsked,
    model_served: event.modelServed,
    provider: event.provider,
    service_tier: event.serviceTier,
    status: event.status,
    outcome: event.outcome,
    streamed: event.streamed,
    duration_ms: event.durationMs,
    test: event.test,
    usage: Object.fromEntries(Object.entries(event.usage).filter(([, count]) => count > 0)),
    usage_source: event.source,
    cost: {
      amount: dollarsOf(cost.nano),
      currency: 'USD',
      charged_to_budgets: event.spend !== null,
      unpriced: cost.unpriced,
      price_version: version,
      price_source: model.kind === 'priced' ? model.list.source : null,
      price_date: model.kind === 'priced' ? model.list.date : null,
      prices_changed_since: changed,
      lines: lines.map(lineOf),
    },
    explanation: sentences(event, cost.unpriced, changed),
  };
}

function lineOf({ kind, quantity, price, nano }: Line): z.infer<typeof LineSchema> {
  const [written] = writtenPrices({ [kind]: price });
  return {
    kind: written?.column ?? kind,
    quantity,
    price: written?.dollars ?? '0',
    per: written?.unit ?? '',
    amount: dollarsOf(nano),
  };
}

/** Why it was charged what it was, for people. */
function sentences(event: UsageEvent, unpriced: boolean, changed: boolean): string[] {
  const said = [HOW_IT_ENDED[event.outcome]];
  if (event.test) said.push('It was a test key’s call: the sandbox answered, and nothing is charged.');
  else if (event.source === 'provider') said.push('The provider stated what was used.');
  else if (event.source === 'counted')
    said.push('The provider stated no usage: a tokenizer counted the prompt and what was written.');
  else said.push('Nothing was used that is billed.');
  if (unpriced) said.push('Something that was used has no price: it is not in the amount.');
  if (event.spend === null && !event.test)
    said.push('No budget applied to it; the amount is what the reports count.');
  if (changed)
    said.push('The price lists have changed since: the lines show what it would cost by those of today.');
  return said;
}

const HOW_IT_ENDED: Readonly<Record<UsageEvent['outcome'], string>> = {
  ok: 'The call was answered to its end.',
  provider_error: 'The provider refused the call: it charges nothing for that.',
  client_closed:
    'The caller left before the end: what was written until then is charged, and hard limits count all that was reserved where nothing of the answer had been seen.',
  provider_cut:
    'The provider broke off or could not be reached: what it had written is charged, and nothing if it had not begun.',
  timeout:
    'The time for the call was up: what was written until then is charged, and hard limits count all that was reserved where nothing of the answer had been seen.',
  budget_stop:
    'The spend limits bore no more of a reply that had no bound: what was written until then is charged, and hard limits count what the provider may have written until it noticed.',
};
