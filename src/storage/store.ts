// The queries about external storage.

import { beyond, cut, type Page, type PageRequest, unknownAfter } from '../access/page.ts';
import { append } from '../audit/chain.ts';
import type { Attribution, AuditValue } from '../audit/model.ts';
import { ApiError } from '../platform/errors.ts';
import { newId, type OrganizationId, type ProjectId } from '../platform/ids.ts';
import type { ExternalStorageTable } from '../store/schema-secrets.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import { type ExternalStorage, readStorage, type StorageLocation } from './model.ts';

/** Configurations of one project. */
const MAX = 20;

export async function getStorage(
  db: Db | Tx,
  organizationId: OrganizationId,
  id: string,
): Promise<ExternalStorage> {
  const row = await db
    .selectFrom('external_storage')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
  if (row === undefined) {
    throw new ApiError(404, 'No such external storage in this organization.', {
      param: 'external_storage_id',
    });
  }
  return readStorage(row);
}

export async function listStorage(
  db: Db,
  organizationId: OrganizationId,
  page: PageRequest & { readonly projectId?: string | undefined },
): Promise<Page<ExternalStorage>> {
  const order = page.order ?? 'asc';
  let query = db.selectFrom('external_storage').selectAll().where('organization_id', '=', organizationId);
  if (page.projectId !== undefined) query = query.where('project_id', '=', page.projectId);
  if (page.after !== undefined) {
    const place = await db
      .selectFrom('external_storage')
      .select(['id', 'created_at'])
      .where('organization_id', '=', organizationId)
      .where('id', '=', page.after)
      .executeTakeFirst();
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('external_storage', place, order));
  }
  const rows = await query
    .orderBy('created_at', order)
    .orderBy('id', order)
    .limit(page.limit + 1)
    .execute();
  const found = cut(rows, page.limit);
  return { rows: found.rows.map(readStorage), hasMore: found.hasMore };
}

/** The project's configurations, the newest first. */
export async function storageOfProject(
  db: Db,
  organizationId: OrganizationId,
  projectId: ProjectId,
): Promise<ExternalStorage[]> {
  const rows = await db
    .selectFrom('external_storage')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('project_id', '=', projectId)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(MAX)
    .execute();
  return rows.map(readStorage);
}

export async function createStorage(
  store: Store,
  tx: Tx,
  by: Attribution,
  order: { readonly projectId: ProjectId; readonly location: StorageLocation; readonly region: string },
): Promise<ExternalStorage> {
  const { projectId, location, region } = order;
  const { count } = await tx
    .selectFrom('external_storage')
    .select(({ fn }) => fn.countAll<number | string | bigint>().as('count'))
    .where('project_id', '=', projectId)
    .executeTakeFirstOrThrow();
  if (Number(count) >= MAX) throw new ApiError(400, `A project has at most ${MAX} external storages.`);
  const row: ExternalStorageTable = {
    id: newId('extstorage_'),
    organization_id: by.organizationId,
    project_id: projectId,
    type: location.type,
    config: JSON.stringify(location.config),
    region,
    status: 'pending',
    created_at: by.at,
  };
  await tx.insertInto('external_storage').values(row).execute();
  // Through JSON: what was not given is left out.
  const config: Record<string, AuditValue> = JSON.parse(row.config);
  await append(tx, {
    by,
    projectId,
    type: 'external_storage.registered',
    payload: {
      id: row.id,
      data: { project_id: projectId, provider: { type: location.type, region, ...config } },
    },
  });
  await store.announce(tx, 'external_storage', projectId, by.at);
  return readStorage(row);
}

export async function deleteStorage(store: Store, tx: Tx, by: Attribution, id: string): Promise<void> {
  const storage = await getStorage(tx, by.organizationId, id);
  await tx.deleteFrom('external_storage').where('id', '=', id).execute();
  await append(tx, { by, projectId: storage.projectId, type: 'external_storage.removed', payload: { id } });
  await store.announce(tx, 'external_storage', storage.projectId, by.at);
}

export async function setStorageStatus(
  store: Store,
  storage: ExternalStorage,
  change: { readonly status: ExternalStorage['status']; readonly region?: string },
  nowMs: number,
): Promise<ExternalStorage> {
  const region = change.region ?? storage.region;
  if (storage.status === change.status && storage.region === region) return storage;
  await store.write(async (tx) => {
    await tx
      .updateTable('external_storage')
      .set({ status: change.status, region })
      .where('id', '=', storage.id)
      .execute();
    await store.announce(tx, 'external_storage', storage.projectId, nowMs);
  });
  return { ...storage, status: change.status, region };
}
