// The HTTP surface of prices, keygate's own: `/v1/keygate/prices`. What a model costs and who says so, what is amiss with
// the lists, and the import of a newer one, tried first without taking effect if one likes. The lists are the
// installation's: they hold for every organization of it.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  IdSchema,
  newApp,
  replies,
  seconds,
  secondsOrNull,
  TimestampSchema,
} from '../../access/http.ts';
import { invalidParameter } from '../../access/validation.ts';
import { ApiError, SetupError } from '../../platform/errors.ts';
import type { Db } from '../../store/store.ts';
import { checkPrices, checkRows } from '../prices/check.ts';
import { dropImport, type Import, keepImport, parseImport, priceTable } from '../prices/import.ts';
import type { PriceList } from '../prices/model.ts';
import { changesOf, effectiveRows, type PriceChange, type PriceRow, statedRows } from '../prices/rows.ts';
import { PriceTable } from '../prices/table.ts';
import { note } from './owner.ts';

export interface PricesDeps {
  /** The configuration's own prices. */
  readonly configured: PriceList | null;
  /** The price lists' name of a provider, by the administrator's own name for it. */
  readonly listName: (table: PriceTable, provider: string) => string;
  /** The providers of the configuration. */
  readonly providers: readonly string[];
  /** Models that providers are known to serve. */
  readonly served: () => readonly { readonly provider: string; readonly model: string }[];
}

const PATH = '/v1/keygate/prices';
export const PRICES_IMPORT = `${PATH}/import`;
/** The largest list, in bytes: as parseImport has it. */
const MAX_BYTES = 16 * 1024 * 1024;
const MAX_ROWS = 1_000;
/** A model that was called within so many days is looked at by the check. */
const LATELY_MS = 30 * 86_400_000;

const Price = z.object({ column: z.string(), dollars: z.string(), unit: z.string() });
const RowSchema = z
  .object({
    provider: z.string(),
    models: z.array(z.string()),
    tier: z.enum(['default', 'flex', 'priority', 'batch']),
    above: z.int().openapi({ description: 'Tokens of input beyond which the whole call costs this.' }),
    from: TimestampSchema.nullable(),
    prices: z.array(Price),
    source: z.string(),
    date: z.string(),
  })
  .openapi('Price');
const ListSchema = z.object({
  object: z.literal('list'),
  data: z.array(RowSchema),
  has_more: z.boolean(),
  version: z.string().openapi({ description: 'Of all lists together: what usage records name.' }),
});
const FindingSchema = z.object({
  level: z.enum(['error', 'warning']),
  model: z.string(),
  message: z.string(),
});
const ChangeSchema = z.object({
  provider: z.string(),
  model: z.string(),
  tier: z.string(),
  above: z.int(),
  column: z.string(),
  unit: z.string(),
  before: z.string().nullable(),
  after: z.string().nullable(),
});
const ImportSchema = z
  .object({
    object: z.literal('keygate.price_import'),
    id: z.string().nullable().openapi({ description: 'Null: it was only tried.' }),
    dry_run: z.boolean(),
    source: z.string(),
    date: z.string(),
    version: z.string(),
    notes: z.array(z.string()),
    changes: z
      .array(ChangeSchema)
      .openapi({ description: `At most ${MAX_ROWS}; \`changed\` says how many.` }),
    changed: z.int(),
  })
  .openapi('PriceImport');
const ImportedSchema = z.object({
  object: z.literal('keygate.price_list'),
  id: IdSchema,
  source: z.string(),
  date: z.string(),
  imported_at: TimestampSchema,
});

const ListQuery = z.object({
  provider: z.string().min(1).max(100).optional(),
  model: z.string().min(1).max(200).optional(),
  at: z.coerce.number<string>().int().min(0).max(253_402_300_799).optional(),
  limit: z.coerce.number<string>().int().min(1).max(MAX_ROWS).default(100),
});
const ImportQuery = z.object({
  dry_run: z.enum(['true', 'false']).default('false'),
  name: z.string().min(1).max(200).default('imported'),
});

export function pricesApi(deps: ControlPlaneDeps & PricesDeps, { admin }: Authentication): ControlApp {
  const { store, clock } = deps;
  const app = newApp();
  const common = { tags: ['Prices'], middleware: [admin] };
  const table = () => priceTable(store.db, deps.configured);

  const list = createRoute({
    ...common,
    method: 'get',
    path: PATH,
    request: { query: ListQuery },
    responses: replies(
      ListSchema,
      'With `model`, what it costs by the list that decides for it; without, what the lists hold.',
    ),
  });
  app.openapi(list, async (c) => {
    const { provider, model, at, limit } = c.req.valid('query');
    const atMs = at === undefined ? clock.now() : at * 1000;
    const prices = await table();
    const name = provider === undefined ? null : deps.listName(prices, provider);
    const rows =
      model === undefined ? statedRows(prices, name, atMs) : effectiveRows(prices, name, model, atMs);
    const data: PriceRow[] = [];
    for (const row of rows) if (data.push(row) > limit) break;
    const shown = data.slice(0, limit).map((row) => ({
      ...row,
      models: [...row.models],
      prices: [...row.prices],
      from: secondsOrNull(row.from),
    }));
    const end = { has_more: data.length > limit, version: prices.version };
    return c.json({ object: 'list' as const, data: shown, ...end }, 200);
  });

  const check = createRoute({
    ...common,
    method: 'get',
    path: `${PATH}/check`,
    responses: replies(
      z.object({ object: z.literal('list'), data: z.array(FindingSchema) }),
      'Models that are served or were called lately and have no price, and rows that do not do what they seem to.',
    ),
  });
  app.openapi(check, async (c) => {
    const prices = await table();
    const served = await servedModels(deps, prices);
    const names = new Set(deps.providers.map((name) => deps.listName(prices, name)));
    const own = prices.lists.slice(0, -1);
    const data = [...checkPrices(prices, served, clock.now()), ...checkRows(own, names, served)];
    return c.json({ object: 'list' as const, data }, 200);
  });

  const lists = createRoute({
    ...common,
    method: 'get',
    path: `${PATH}/lists`,
    responses: replies(
      z.object({ object: z.literal('list'), data: z.array(ImportedSchema) }),
      'The imported lists, the newest first, which decides first.',
    ),
  });
  app.openapi(lists, async (c) => {
    const rows = await store.db
      .selectFrom('price_lists')
      .select(['id', 'source', 'date', 'imported_at'])
      .orderBy('imported_at', 'desc')
      .orderBy('id')
      .execute();
    const data = rows.map(({ id, source, date, imported_at: at }) => ({
      object: 'keygate.price_list' as const,
      id,
      source,
      date,
      imported_at: seconds(at),
    }));
    return c.json({ object: 'list' as const, data }, 200);
  });

  const drop = createRoute({
    ...common,
    method: 'delete',
    path: `${PATH}/lists/{list_id}`,
    request: { params: z.object({ list_id: IdSchema }) },
    responses: replies(
      z.object({ object: z.literal('keygate.price_list.deleted'), id: IdSchema, deleted: z.literal(true) }),
      'The list is taken away: calls from now on are priced without it.',
    ),
  });
  app.openapi(drop, async (c) => {
    const by = attribution(c, clock);
    const { list_id: id } = c.req.valid('param');
    await store.write(async (tx) => {
      if (!(await dropImport(store, tx, id, by.at)))
        throw new ApiError(404, 'No such price list was imported.', { param: 'list_id' });
      await note(tx, by, null, 'price_list.deleted', id, null);
    });
    return c.json({ object: 'keygate.price_list.deleted' as const, id, deleted: true as const }, 200);
  });

  const send = createRoute({
    ...common,
    method: 'post',
    path: PRICES_IMPORT,
    // Read as it comes, and bounded here: the JSON of a list is larger than other bodies may be.
    description: 'The body is a price list (docs/spend.md), or the data file of pydantic/genai-prices: JSON.',
    request: {
      query: ImportQuery,
    },
    responses: replies(
      ImportSchema,
      'What changes, in effect from the next call on unless it was only tried.',
    ),
  });
  app.openapi(send, async (c) => {
    const by = attribution(c, clock);
    const { dry_run, name } = c.req.valid('query');
    const { list: fresh, notes } = parsed(await textOf(c.req.raw), name, by.at);
    const before = await table();
    // The configuration's list decides before it, earlier imports after it.
    const ahead = deps.configured === null ? [] : before.lists.slice(0, 1);
    const after = new PriceTable([...ahead, fresh, ...before.lists.slice(ahead.length)]);
    const changes = changesOf(before, after, fresh, await servedModels(deps, after), by.at);
    const tried = dry_run === 'true';
    const id = tried ? null : await keep(deps, by, fresh, changes);
    const { source, date } = fresh;
    return c.json(
      {
        object: 'keygate.price_import' as const,
        id,
        dry_run: tried,
        source,
        date,
        version: after.version,
        notes: [...notes],
        changes: changes.slice(0, MAX_ROWS),
        changed: changes.length,
      },
      200,
    );
  });

  return app;
}

async function keep(
  { store }: ControlPlaneDeps,
  by: ReturnType<typeof attribution>,
  list: PriceList,
  changes: readonly PriceChange[],
): Promise<string> {
  return await store.write(async (tx) => {
    const id = await keepImport(store, tx, list, by.at);
    const { source, date } = list;
    await note(tx, by, null, 'price_list.imported', id, { source, date, prices_changed: changes.length });
    return id;
  });
}

function parsed(text: string, name: string, atMs: number): Import {
  try {
    return parseImport(text, name, atMs);
  } catch (error) {
    if (error instanceof SetupError) throw invalidParameter('body', error.message);
    throw error;
  }
}

/** The body, bounded as it comes. */
async function textOf(request: Request): Promise<string> {
  if (request.body === null) throw new ApiError(400, 'The request has no body: send the price list.');
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of request.body) {
    bytes += part.length;
    if (bytes > MAX_BYTES) throw new ApiError(413, 'The price list is larger than 16 MB, which none is.');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** Models that providers are known to serve, and those that were called lately, by the lists' names of providers. */
async function servedModels(
  { store, clock, served, listName }: ControlPlaneDeps & PricesDeps,
  table: PriceTable,
): Promise<{ provider: string; model: string }[]> {
  const models = new Map<string, { provider: string; model: string }>();
  for (const { provider, model } of [...served(), ...(await calledLately(store.db, clock.now()))]) {
    const name = listName(table, provider);
    models.set(`${name}\n${model}`, { provider: name, model });
  }
  return [...models.values()];
}

async function calledLately(db: Db, now: number): Promise<{ provider: string; model: string }[]> {
  return await db
    .selectFrom('usage_series as series')
    .innerJoin('usage_days_totals as day', 'day.series', 'series.id')
    .select(['series.provider', 'series.model'])
    .distinct()
    .where('day.start', '>=', now - LATELY_MS)
    .where('series.test', '=', 0)
    .where('series.provider', '!=', 'sandbox')
    .where('series.provider', '!=', '')
    .limit(10_000)
    .execute();
}
