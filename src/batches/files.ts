// Queries of files. Each is by (project, id); a file that has expired is gone at that instant, whenever its row is.

import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { FileTable } from '../store/schema-files.ts';
import type { Db, Tx } from '../store/store.ts';
import type { ContentName, ContentStore } from './contents.ts';

export type FileRow = FileTable;

/** Files that one sweep lets go of. */
const EXPIRED_AT_ONCE = 100;

export async function findFile(
  db: Db | Tx,
  projectId: string,
  id: string,
  nowMs: number,
): Promise<FileRow | undefined> {
  const file = await db
    .selectFrom('files')
    .selectAll()
    .where('project_id', '=', projectId)
    .where('id', '=', id)
    .executeTakeFirst();
  return file !== undefined && isThere(file, nowMs) ? file : undefined;
}

function isThere({ expires_at }: FileRow, nowMs: number): boolean {
  return expires_at === null || expires_at > nowMs;
}

export interface FileQuery {
  readonly purpose: string | null;
  readonly after: FileRow | null;
  readonly order: 'asc' | 'desc';
  readonly limit: number;
}

/** One more than the limit, where there are more. */
export async function listFiles(
  db: Db,
  projectId: string,
  nowMs: number,
  { purpose, after, order, limit }: FileQuery,
): Promise<readonly FileRow[]> {
  let query = db
    .selectFrom('files')
    .selectAll()
    .where('project_id', '=', projectId)
    .where(({ or, eb }) => or([eb('expires_at', 'is', null), eb('expires_at', '>', nowMs)]))
    .orderBy('created_at', order)
    .orderBy('id', order)
    .limit(limit + 1);
  if (purpose !== null) query = query.where('purpose', '=', purpose);
  if (after !== null) {
    const sign = order === 'asc' ? '>' : '<';
    query = query.where(({ or, and, eb }) =>
      or([
        eb('created_at', sign, after.created_at),
        and([eb('created_at', '=', after.created_at), eb('id', sign, after.id)]),
      ]),
    );
  }
  return await query.execute();
}

/** Within the transaction: the file is there, with the content that was written under its id. */
export async function insertFile(tx: Tx, contents: ContentStore, file: FileRow): Promise<void> {
  await contents.keep(tx, file.id);
  await tx.insertInto('files').values(file).execute();
}

/** Within the transaction: the file is gone, and its content goes. */
export async function removeFile(
  tx: Tx,
  contents: ContentStore,
  { id, project_id }: FileRow,
  nowMs: number,
): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom('files')
    .where('project_id', '=', project_id)
    .where('id', '=', id)
    .executeTakeFirst();
  if (numDeletedRows === 0n) return false;
  await contents.release(tx, [id], nowMs);
  return true;
}

/** Lets go of files whose time is over. True: there may be more. */
export async function expireFiles(db: Db, contents: ContentStore, nowMs: number): Promise<boolean> {
  const expired = await db
    .selectFrom('files')
    .select('id')
    .where('expires_at', '<=', nowMs)
    .orderBy('expires_at')
    .limit(EXPIRED_AT_ONCE)
    .execute();
  if (expired.length === 0) return false;
  const ids = expired.map(({ id }) => id);
  await db.transaction().execute(async (tx) => {
    await tx.deleteFrom('files').where('id', 'in', ids).execute();
    await contents.release(tx, ids, nowMs);
  });
  return expired.length === EXPIRED_AT_ONCE;
}

/** What a row's content is called. The ids are what they were stored under. */
export function contentOf(row: {
  readonly id: string;
  readonly organization_id: string;
  readonly project_id: string;
}): ContentName {
  return {
    organizationId: row.organization_id as OrganizationId,
    projectId: row.project_id as ProjectId,
    id: row.id,
  };
}
