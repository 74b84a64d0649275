// The outbox: messages are written in the transaction of what they tell of, so that either both happened or neither,
// and worked off afterwards (courier.ts). A message is marked when its receiver has it; whoever dies between the two
// leaves it unmarked, and it is sent again: at least once.

import { append } from '../audit/chain.ts';
import { type DeliveryId, newId, type OrganizationId, type ProjectId } from '../platform/ids.ts';
import type { DeliveryTable } from '../store/schema-notify.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import { type Attempt, type Delivery, nextAttempt } from './model.ts';

/** What is over is kept so long, for whoever looks for it: 30 days. */
const KEPT_MS = 30 * 86_400_000;
const PURGE_GROUP = 500;

export type NewDelivery = Pick<
  Delivery,
  'organizationId' | 'projectId' | 'channel' | 'target' | 'eventId' | 'eventType' | 'body'
>;

/** Within the transaction of the event. */
export async function enqueue(tx: Tx, deliveries: readonly NewDelivery[], at: number): Promise<void> {
  if (deliveries.length === 0) return;
  await tx
    .insertInto('deliveries')
    .values(
      deliveries.map((one) => ({
        id: newId('dlv_'),
        organization_id: one.organizationId,
        project_id: one.projectId,
        channel: one.channel,
        target: one.target,
        event_id: one.eventId,
        event_type: one.eventType,
        body: one.body,
        state: 'waiting' as const,
        attempts: 0,
        next_at: at,
        last_error: null,
        created_at: at,
        ended_at: null,
      })),
    )
    .execute();
}

/** Messages that are due, the longest due first; none of the targets that are to be left alone. */
export async function due(
  db: Db,
  now: number,
  limit: number,
  except: { readonly ids: readonly string[]; readonly targets: readonly string[] },
): Promise<Delivery[]> {
  let query = db.selectFrom('deliveries').selectAll().where('next_at', '<=', now);
  if (except.ids.length > 0) query = query.where('id', 'not in', except.ids);
  if (except.targets.length > 0) query = query.where('target', 'not in', except.targets);
  return (await query.orderBy('next_at').orderBy('id').limit(limit).execute()).map(fromRow);
}

/** Writes down how an attempt ended. @returns what became of the message */
export async function settle(
  store: Store,
  delivery: Delivery,
  attempt: Attempt,
  now: number,
  random: number,
): Promise<DeliveryTable['state']> {
  const attempts = delivery.attempts + 1;
  if (attempt.kind === 'sent') {
    const over = { state: 'sent', attempts, next_at: null, last_error: null, ended_at: now } as const;
    await store.db.updateTable('deliveries').set(over).where('id', '=', delivery.id).execute();
    return 'sent';
  }
  const last_error = attempt.reason.slice(0, 500);
  const next = attempt.final ? null : nextAttempt(delivery, attempts, now, random, attempt.retryAfterMs);
  if (next !== null) {
    await store.db
      .updateTable('deliveries')
      .set({ attempts, next_at: next, last_error })
      .where('id', '=', delivery.id)
      .execute();
    return 'waiting';
  }
  await store.write(async (tx) => {
    const over = { state: 'dead', attempts, next_at: null, last_error, ended_at: now } as const;
    const { numUpdatedRows } = await tx
      .updateTable('deliveries')
      .set(over)
      .where('id', '=', delivery.id)
      .where('state', '=', 'waiting')
      .executeTakeFirst();
    if (numUpdatedRows === 0n) return;
    await append(tx, {
      by: { organizationId: delivery.organizationId, actor: { type: 'server' }, at: now },
      projectId: delivery.projectId,
      type: 'delivery.failed',
      payload: {
        id: delivery.id,
        data: {
          channel: delivery.channel,
          // An address is a person's; an endpoint's id is not.
          target: delivery.channel === 'webhook' ? delivery.target : null,
          event_id: delivery.eventId,
          event_type: delivery.eventType,
          attempts,
          reason: last_error,
        },
      },
    });
  });
  return 'dead';
}

/** How much waits, and since when the oldest of it was to be sent; null: nothing waits. */
export async function backlog(db: Db): Promise<{ depth: number; oldestAt: number | null }> {
  const row = await db
    .selectFrom('deliveries')
    .select(({ fn }) => [fn.countAll<number>().as('depth'), fn.min<number | null>('created_at').as('oldest')])
    .where('next_at', 'is not', null)
    .executeTakeFirst();
  return { depth: Number(row?.depth ?? 0), oldestAt: row?.oldest ?? null };
}

/** Removes what was over long ago. @returns whether there may be more */
export async function purge(db: Db, now: number): Promise<boolean> {
  const old = await db
    .selectFrom('deliveries')
    .select('id')
    .where('ended_at', '<', now - KEPT_MS)
    .limit(PURGE_GROUP)
    .execute();
  if (old.length === 0) return false;
  await db
    .deleteFrom('deliveries')
    .where(
      'id',
      'in',
      old.map(({ id }) => id),
    )
    .execute();
  return old.length === PURGE_GROUP;
}

function fromRow(row: DeliveryTable): Delivery {
  return {
    // The columns hold what newId made.
    id: row.id as DeliveryId,
    organizationId: row.organization_id as OrganizationId,
    projectId: row.project_id as ProjectId | null,
    channel: row.channel,
    target: row.target,
    eventId: row.event_id,
    eventType: row.event_type,
    body: row.body,
    attempts: row.attempts,
    createdAt: row.created_at,
  };
}
