// Publishes an event: within the transaction of what happened, one message to each webhook endpoint that asked for
// events of its type.

import { newId } from '../platform/ids.ts';
import type { Tx } from '../store/store.ts';
import { eventTypesOf } from './endpoints.ts';
import { eventBody, type NotifyEvent } from './model.ts';
import { enqueue } from './outbox.ts';

/** @returns the event's id, by which its copies at several endpoints are known as one */
export async function publish(tx: Tx, event: NotifyEvent): Promise<string> {
  const id = newId('evt_');
  const endpoints = await tx
    .selectFrom('webhook_endpoints')
    .selectAll()
    .where('organization_id', '=', event.organizationId)
    .where((eb) =>
      event.projectId === null
        ? eb('project_id', 'is', null)
        : eb.or([eb('project_id', 'is', null), eb('project_id', '=', event.projectId)]),
    )
    .execute();
  const body = eventBody(id, event);
  const deliveries = endpoints
    .filter((endpoint) => eventTypesOf(endpoint).includes(event.type))
    .map((endpoint) => ({
      organizationId: event.organizationId,
      projectId: event.projectId,
      channel: 'webhook' as const,
      target: endpoint.id,
      eventId: id,
      eventType: event.type,
      body,
    }));
  await enqueue(tx, deliveries, event.at);
  return id;
}
