// GET /v1/keygate/deliveries: what was told to whom, what waits and what could not be delivered; and trying again.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  IdSchema,
  newApp,
  replies,
  seconds,
  secondsOrNull,
  TimestampSchema,
} from '../access/http.ts';
import { beyond, cut, listOf, listSchema, PageQuery, unknownAfter } from '../access/page.ts';
import { append } from '../audit/chain.ts';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { DeliveryTable } from '../store/schema-notify.ts';
import type { Db, Store, Tx } from '../store/store.ts';

export interface DeliveryDeps {
  readonly store: Store;
  readonly clock: Clock;
  /** Something is due now. */
  readonly wake: () => void;
}

const Delivery = z
  .object({
    id: IdSchema,
    object: z.literal('keygate.delivery'),
    project_id: IdSchema.nullable(),
    channel: z.enum(['webhook', 'email']),
    target: z.string(),
    event_id: IdSchema,
    event_type: z.string(),
    state: z.enum(['waiting', 'sent', 'dead']),
    attempts: z.int(),
    next_attempt_at: TimestampSchema.nullable(),
    last_error: z.string().nullable(),
    created_at: TimestampSchema,
    ended_at: TimestampSchema.nullable(),
  })
  .openapi('KeygateDelivery');

const Query = PageQuery.extend({
  state: z.enum(['waiting', 'sent', 'dead']).optional(),
  channel: z.enum(['webhook', 'email']).optional(),
  target: z.string().max(320).optional().openapi({ description: "An endpoint's id, or an e-mail address." }),
});

const Path = z.object({ delivery_id: IdSchema });

export function deliveriesApi({ store, clock, wake }: DeliveryDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const common = { tags: ['keygate webhooks'], middleware: [admin] };

  const list = createRoute({
    ...common,
    method: 'get',
    path: '/v1/keygate/deliveries',
    request: { query: Query },
    responses: replies(listSchema(Delivery), 'Deliveries, the newest first; of 30 days.'),
  });
  app.openapi(list, async (c) => {
    const { after, limit, state, channel, target } = c.req.valid('query');
    const { organizationId } = c.get('principal');
    let query = within(store.db, organizationId);
    if (state !== undefined) query = query.where('state', '=', state);
    if (channel !== undefined) query = query.where('channel', '=', channel);
    if (target !== undefined) query = query.where('target', '=', target);
    if (after !== undefined) {
      const place = await within(store.db, organizationId).where('id', '=', after).executeTakeFirst();
      if (place === undefined) throw unknownAfter();
      query = query.where(beyond('deliveries', place, 'desc'));
    }
    const rows = await query
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(limit + 1)
      .execute();
    const page = cut(rows, limit);
    return c.json(listOf(page.rows.map(object), page.hasMore), 200);
  });

  const retry = createRoute({
    ...common,
    method: 'post',
    path: '/v1/keygate/deliveries/{delivery_id}/retry',
    request: { params: Path },
    responses: replies(Delivery, 'The delivery: it is tried again now, and for 72 hours.'),
  });
  app.openapi(retry, async (c) => {
    const by = attribution(c, clock);
    const id = c.req.valid('param').delivery_id;
    const row = await store.write(async (tx) => {
      const found = await within(tx, by.organizationId).where('id', '=', id).executeTakeFirst();
      if (found === undefined) throw new ApiError(404, 'No such delivery.', { param: 'delivery_id' });
      if (found.state === 'sent')
        throw new ApiError(400, 'This delivery was made already.', { param: 'delivery_id' });
      const again = { state: 'waiting', next_at: by.at, created_at: by.at, ended_at: null } as const;
      await tx.updateTable('deliveries').set(again).where('id', '=', id).execute();
      await append(tx, {
        by,
        // The column holds what newId made.
        projectId: found.project_id as ProjectId | null,
        type: 'delivery.retried',
        payload: { id, data: { event_type: found.event_type, attempts: found.attempts } },
      });
      return { ...found, ...again };
    });
    wake();
    return c.json(object(row), 200);
  });

  return app;
}

function within(db: Db | Tx, organizationId: OrganizationId) {
  return db.selectFrom('deliveries').selectAll().where('organization_id', '=', organizationId);
}

function object(row: DeliveryTable): z.infer<typeof Delivery> {
  return {
    id: row.id,
    object: 'keygate.delivery',
    project_id: row.project_id,
    channel: row.channel,
    target: row.target,
    event_id: row.event_id,
    event_type: row.event_type,
    state: row.state,
    attempts: row.attempts,
    next_attempt_at: secondsOrNull(row.next_at),
    last_error: row.last_error,
    created_at: seconds(row.created_at),
    ended_at: secondsOrNull(row.ended_at),
  };
}
