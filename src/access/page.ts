// Lists in pages, as the platform has them: `after` is the id of the last object of the page before, `limit` is 1 to
// 100. Pages are cut by (created_at, id), so an object that is added or removed meanwhile shifts nothing.

import { z } from '@hono/zod-openapi';
import { type RawBuilder, type SqlBool, sql } from 'kysely';
import { invalidParameter } from './validation.ts';

const LIMIT_DEFAULT = 20;
const LIMIT_MAX = 100;

export const PageQuery = z.object({
  after: z
    .string()
    .min(1)
    .max(128)
    .optional()
    .openapi({ description: 'The id of the last object of the page before.' }),
  limit: z.coerce
    .number<string>()
    .int()
    .min(1)
    .max(LIMIT_MAX)
    .default(LIMIT_DEFAULT)
    .openapi({ type: 'integer' }),
});

/** Lists by a cursor, `next`, that the following request gives as `after`: roles, groups and who is in them. */
export function nextPageQuery(limitDefault: number, limitMax = 1000, order: Order = 'asc') {
  return z.object({
    after: z.string().min(1).max(128).optional().openapi({ description: 'The `next` of the page before.' }),
    limit: z.coerce
      .number<string>()
      .int()
      .min(0)
      .max(limitMax)
      .default(limitDefault)
      .openapi({ type: 'integer' }),
    order: z.enum(['asc', 'desc']).default(order),
  });
}

/** The list object of such a page. */
export function nextListOf<T>(data: T[], hasMore: boolean, lastId: string | undefined) {
  return {
    object: 'list' as const,
    data,
    has_more: hasMore,
    next: hasMore ? (lastId ?? null) : null,
  };
}

/** The schema of `nextListOf`. */
export function nextListSchema<S extends z.ZodType>(item: S) {
  return z.object({
    object: z.literal('list'),
    data: z.array(item),
    has_more: z.boolean(),
    next: z.string().nullable(),
  });
}

export type Order = 'asc' | 'desc';

/** Where a page begins: behind the object with this id. */
export interface PageRequest {
  readonly after?: string | undefined;
  readonly limit: number;
  readonly order?: Order;
}

export interface Place {
  readonly id: string;
  readonly created_at: number;
}

export interface Page<Row> {
  readonly rows: readonly Row[];
  readonly hasMore: boolean;
}

/** The condition for what comes behind `place` in a table's order of creation. */
export function beyond(table: string, place: Place, order: Order, id = 'id'): RawBuilder<SqlBool> {
  const row = sql`(${sql.ref(`${table}.created_at`)}, ${sql.ref(`${table}.${id}`)})`;
  const last = sql`(${sql.val(place.created_at)}, ${sql.val(place.id)})`;
  return order === 'asc' ? sql<SqlBool>`${row} > ${last}` : sql<SqlBool>`${row} < ${last}`;
}

/** A page out of `limit + 1` rows: the one too many says that there is more. */
export function cut<Row>(rows: readonly Row[], limit: number): Page<Row> {
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}

/** Objects are looked up in the caller's scope only: an id from elsewhere is as unknown as one that never was. */
export function unknownAfter(): Error {
  return invalidParameter('after', "Invalid 'after': no object of this list has this id.");
}

/** The list object around a page's objects. */
export function listOf<T extends { readonly id: string }>(data: T[], hasMore: boolean) {
  return {
    object: 'list' as const,
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: hasMore,
  };
}

/** The schema of `listOf`. */
export function listSchema<S extends z.ZodType>(item: S) {
  return z.object({
    object: z.literal('list'),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  });
}
