// Webhook endpoints: who is told of what, and with which secret it is signed. One of a project is told of that
// project; one of the organization, of the organization and all its projects.

import { beyond, cut, type Page, type PageRequest, unknownAfter } from '../access/page.ts';
import { getActiveProject } from '../access/store.ts';
import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import { ApiError } from '../platform/errors.ts';
import { newId, type OrganizationId, type ProjectId, type WebhookEndpointId } from '../platform/ids.ts';
import type { Place } from '../secrets/purpose.ts';
import type { Seals } from '../secrets/seals.ts';
import type { WebhookEndpointTable } from '../store/schema-notify.ts';
import type { Db, Tx } from '../store/store.ts';
import type { EventType } from './model.ts';
import { hintOf, mintSigningSecret } from './signature.ts';

/** An old secret signs beside the new one for so long, where that was asked for. */
export const OLD_SECRET_MS = 24 * 3_600_000;
const MAX_ENDPOINTS = 100;

/** Whose endpoints: a project's, the organization's own, or (where the whole organization is looked at) all. */
export interface Scope {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId | null | 'any';
}

export interface Terms {
  readonly name: string;
  readonly url: string;
  readonly eventTypes: readonly EventType[];
}

export type Sealing = Pick<Seals, 'seal' | 'open'>;

/** A new secret with its sealed form: sealing waits, and a transaction must not. */
export interface Sealed {
  readonly secret: string;
  readonly sealed: Uint8Array;
}

type Of = Pick<Place, 'organizationId' | 'projectId' | 'id'>;

export async function newSecret(seals: Sealing, of: Of): Promise<Sealed> {
  const secret = mintSigningSecret();
  return { secret, sealed: await seals.seal({ ...of, purpose: 'delivery' }, secret) };
}

/** The secrets that sign for an endpoint at this time, the newest first. */
export async function signingSecrets(
  seals: Sealing,
  row: WebhookEndpointTable,
  now: number,
): Promise<string[]> {
  const place: Place = {
    // The columns hold what newId made.
    organizationId: row.organization_id as OrganizationId,
    projectId: row.project_id as ProjectId | null,
    purpose: 'delivery',
    id: row.id,
  };
  const secrets = [(await seals.open(place, row.secret)).toString()];
  if (row.old_secret !== null && row.old_secret_until !== null && row.old_secret_until > now) {
    secrets.push((await seals.open(place, row.old_secret)).toString());
  }
  return secrets;
}

export async function listEndpoints(
  db: Db,
  scope: Scope,
  page: PageRequest,
): Promise<Page<WebhookEndpointTable>> {
  let query = within(db, scope);
  if (page.after !== undefined) {
    const place = await within(db, scope).where('id', '=', page.after).executeTakeFirst();
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('webhook_endpoints', place, 'desc'));
  }
  const rows = await query
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}

/** The endpoint of this id in this scope, or 404. */
export async function getEndpoint(db: Db | Tx, scope: Scope, id: string): Promise<WebhookEndpointTable> {
  const row = await within(db, scope).where('id', '=', id).executeTakeFirst();
  if (row === undefined)
    throw new ApiError(404, 'No such webhook endpoint.', { param: 'webhook_endpoint_id' });
  return row;
}

export function newEndpointId(): WebhookEndpointId {
  return newId('whe_');
}

export async function createEndpoint(
  tx: Tx,
  by: Attribution,
  order: Terms & Sealed & { readonly id: WebhookEndpointId; readonly projectId: ProjectId | null },
): Promise<WebhookEndpointTable> {
  const { organizationId } = by;
  const { projectId } = order;
  if (projectId !== null) await getActiveProject(tx, organizationId, projectId);
  const there = await within(tx, { organizationId, projectId }).limit(MAX_ENDPOINTS).execute();
  if (there.length >= MAX_ENDPOINTS)
    throw new ApiError(400, `There are ${MAX_ENDPOINTS} webhook endpoints already: delete one first.`);
  const row: WebhookEndpointTable = {
    id: order.id,
    organization_id: organizationId,
    project_id: projectId,
    name: order.name,
    url: order.url,
    event_types: JSON.stringify(order.eventTypes),
    secret: order.sealed,
    secret_hint: hintOf(order.secret),
    old_secret: null,
    old_secret_until: null,
    created_at: by.at,
    updated_at: by.at,
  };
  await tx.insertInto('webhook_endpoints').values(row).execute();
  await append(tx, {
    by,
    projectId,
    type: 'webhook_endpoint.created',
    payload: { id: row.id, data: said(order) },
  });
  return row;
}

export async function updateEndpoint(
  tx: Tx,
  by: Attribution,
  scope: Scope,
  id: string,
  changes: Partial<Terms>,
): Promise<WebhookEndpointTable> {
  const row = await getEndpoint(tx, scope, id);
  const before: Terms = { name: row.name, url: row.url, eventTypes: eventTypesOf(row) };
  const after: Terms = { ...before, ...changes };
  if (JSON.stringify(before) === JSON.stringify(after)) return row;
  const set = {
    name: after.name,
    url: after.url,
    event_types: JSON.stringify(after.eventTypes),
    updated_at: by.at,
  };
  await tx.updateTable('webhook_endpoints').set(set).where('id', '=', id).execute();
  await append(tx, {
    by,
    projectId: projectOf(row),
    type: 'webhook_endpoint.updated',
    payload: { id, changes_requested: said(after), before: said(before) },
  });
  return { ...row, ...set };
}

export async function rotateSecret(
  tx: Tx,
  by: Attribution,
  scope: Scope,
  id: string,
  fresh: Sealed,
  keepOld: boolean,
): Promise<WebhookEndpointTable> {
  const row = await getEndpoint(tx, scope, id);
  const set = {
    secret: fresh.sealed,
    secret_hint: hintOf(fresh.secret),
    old_secret: keepOld ? row.secret : null,
    old_secret_until: keepOld ? by.at + OLD_SECRET_MS : null,
    updated_at: by.at,
  };
  await tx.updateTable('webhook_endpoints').set(set).where('id', '=', id).execute();
  await append(tx, {
    by,
    projectId: projectOf(row),
    type: 'webhook_endpoint.secret_rotated',
    payload: { id, data: { old_secret_kept: keepOld } },
  });
  return { ...row, ...set };
}

/** Removes the endpoint, and what waits for it. */
export async function deleteEndpoint(tx: Tx, by: Attribution, scope: Scope, id: string): Promise<void> {
  const row = await getEndpoint(tx, scope, id);
  await tx.deleteFrom('webhook_endpoints').where('id', '=', id).execute();
  await tx.deleteFrom('deliveries').where('target', '=', id).where('state', '=', 'waiting').execute();
  await append(tx, { by, projectId: projectOf(row), type: 'webhook_endpoint.deleted', payload: { id } });
}

export function eventTypesOf(row: WebhookEndpointTable): EventType[] {
  // The column holds what createEndpoint wrote.
  return JSON.parse(row.event_types) as EventType[];
}

/** The path and query of an address may hold a secret (chat services' do): the log has its origin. */
function said({ name, url, eventTypes }: Terms) {
  return { name, origin: new URL(url).origin, event_types: eventTypes };
}

function projectOf(row: WebhookEndpointTable): ProjectId | null {
  // The column holds what newId made.
  return row.project_id as ProjectId | null;
}

function within(db: Db | Tx, { organizationId, projectId }: Scope) {
  const query = db.selectFrom('webhook_endpoints').selectAll().where('organization_id', '=', organizationId);
  if (projectId === 'any') return query;
  return projectId === null
    ? query.where('project_id', 'is', null)
    : query.where('project_id', '=', projectId);
}
