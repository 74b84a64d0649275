// The queries about external keys and the keys of projects' content that they wrap.

import { beyond, cut, type Page, type PageRequest, unknownAfter } from '../../access/page.ts';
import { append } from '../../audit/chain.ts';
import type { Attribution, AuditValue } from '../../audit/model.ts';
import { ApiError } from '../../platform/errors.ts';
import { newId, type OrganizationId, type ProjectId } from '../../platform/ids.ts';
import type { ContentKeyTable, ExternalKeyTable } from '../../store/schema-secrets.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import type { Place } from '../purpose.ts';
import type { SealedColumn } from '../rewrap.ts';
import { type ExternalKey, type KeyLocation, type Purpose, readExternalKey } from './model.ts';

/** External keys of one organization. */
const MAX = 1000;

export function noSuchKey(): ApiError {
  return new ApiError(404, 'No such external key in this organization.', { param: 'external_key_id' });
}

export async function getExternalKey(
  db: Db | Tx,
  organizationId: OrganizationId,
  id: string,
): Promise<ExternalKey> {
  const row = await db
    .selectFrom('external_keys')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
  if (row === undefined) throw noSuchKey();
  return readExternalKey(row);
}

export async function listExternalKeys(
  db: Db,
  organizationId: OrganizationId,
  page: PageRequest & { readonly purpose?: Purpose | undefined },
): Promise<Page<ExternalKey>> {
  const order = page.order ?? 'asc';
  let query = db.selectFrom('external_keys').selectAll().where('organization_id', '=', organizationId);
  if (page.purpose !== undefined) query = query.where('purpose', '=', page.purpose);
  if (page.after !== undefined) {
    const place = await db
      .selectFrom('external_keys')
      .select(['id', 'created_at'])
      .where('organization_id', '=', organizationId)
      .where('id', '=', page.after)
      .executeTakeFirst();
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('external_keys', place, order));
  }
  const rows = await query
    .orderBy('created_at', order)
    .orderBy('id', order)
    .limit(page.limit + 1)
    .execute();
  const found = cut(rows, page.limit);
  return { rows: found.rows.map(readExternalKey), hasMore: found.hasMore };
}

/** The projects that have each of these keys, by the key's id. */
export async function projectsOfKeys(
  db: Db | Tx,
  organizationId: OrganizationId,
  ids: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  if (ids.length === 0) return new Map();
  const rows = await db
    .selectFrom('projects')
    .select(['id', 'external_key_id'])
    .where('organization_id', '=', organizationId)
    .where('external_key_id', 'in', ids)
    .orderBy('id')
    .execute();
  const found = new Map<string, string[]>();
  for (const { id, external_key_id: key } of rows) {
    if (key === null) continue;
    const ofKey = found.get(key) ?? [];
    ofKey.push(id);
    found.set(key, ofKey);
  }
  return found;
}

export async function createExternalKey(
  store: Store,
  tx: Tx,
  by: Attribution,
  order: { readonly name: string; readonly purpose: Purpose; readonly location: KeyLocation },
): Promise<ExternalKey> {
  const { count } = await tx
    .selectFrom('external_keys')
    .select(({ fn }) => fn.countAll<number | string | bigint>().as('count'))
    .where('organization_id', '=', by.organizationId)
    .executeTakeFirstOrThrow();
  if (Number(count) >= MAX) {
    throw new ApiError(400, `An organization has at most ${MAX} external keys: delete one first.`);
  }
  const { location, name, purpose } = order;
  const row: ExternalKeyTable = {
    id: newId('extkey_'),
    organization_id: by.organizationId,
    name,
    type: location.type,
    purpose,
    config: JSON.stringify(location.config),
    created_at: by.at,
  };
  await tx.insertInto('external_keys').values(row).execute();
  // Through JSON: what was not given is left out.
  const config: Record<string, AuditValue> = JSON.parse(row.config);
  const data = { name, type: location.type, purpose, ...config };
  await append(tx, {
    by,
    projectId: null,
    type: 'external_key.registered',
    payload: { id: row.id, data },
  });
  await store.announce(tx, 'external_key', row.id, by.at);
  return readExternalKey(row);
}

/** A key that a project still has is kept: without it, that project's content could never be read again. */
export async function deleteExternalKey(
  store: Store,
  tx: Tx,
  by: Attribution,
  id: string,
): Promise<ExternalKey> {
  const key = await getExternalKey(tx, by.organizationId, id);
  const used = (await projectsOfKeys(tx, by.organizationId, [id])).get(id) ?? [];
  if (used.length > 0) {
    const some = used.slice(0, 5).join(', ');
    throw new ApiError(
      400,
      `The external key is in use by ${some}${used.length > 5 ? ' and more' : ''}: take it from them first (external_key_id: null).`,
      { code: 'external_key_in_use', param: 'external_key_id' },
    );
  }
  await tx.deleteFrom('external_keys').where('id', '=', id).execute();
  await append(tx, { by, projectId: null, type: 'external_key.removed', payload: { id } });
  await store.announce(tx, 'external_key', id, by.at);
  return key;
}

/** What belongs to a key's own row in the seal around its wrapped form. */
export function contentKeyPlace(row: Pick<ContentKeyTable, 'id' | 'organization_id' | 'project_id'>): Place {
  return {
    organizationId: row.organization_id as OrganizationId,
    projectId: row.project_id as ProjectId,
    purpose: 'content_key',
    id: row.id,
  };
}

/** The keys of a project's content that this external key wraps, the newest first. */
export async function contentKeysOf(
  db: Db | Tx,
  projectId: ProjectId,
  externalKeyId: string,
): Promise<ContentKeyTable[]> {
  return await db
    .selectFrom('content_keys')
    .selectAll()
    .where('project_id', '=', projectId)
    .where('external_key_id', '=', externalKeyId)
    .orderBy('created_at', 'desc')
    .orderBy('id')
    .limit(100)
    .execute();
}

/** For wrapping again with a new root key: the seal around what external keys wrapped, which stays as it is. */
export const contentKeysColumn: SealedColumn = {
  name: 'content keys',
  async page(db, after, limit) {
    const rows = await db
      .selectFrom('content_keys')
      .selectAll()
      .where('id', '>', after)
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ key: row.id, place: contentKeyPlace(row), sealed: row.wrapped }));
  },
  async replace(tx, id, before, after) {
    await tx
      .updateTable('content_keys')
      .set({ wrapped: after })
      .where('id', '=', id)
      .where('wrapped', '=', before)
      .execute();
  },
};
