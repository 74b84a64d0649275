// The queries about projects, users and service accounts. Every look-up names the organization, and for what belongs
// to a project the project too. A change is made inside the caller's `Store.write` together with its audit entry and
// its announcement.

import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import type { Environment } from '../keys/model.ts';
import { newId, type OrganizationId, type ProjectId } from '../platform/ids.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import { assertActive, assertArchivable, notFound, type Project, type User } from './model.ts';
import { beyond, cut, type Page, type PageRequest, unknownAfter } from './page.ts';

/** The project of this organization; 404 if there is none. */
export async function getProject(
  db: Db | Tx,
  organizationId: OrganizationId,
  id: ProjectId,
): Promise<Project> {
  const project = await findProject(db, organizationId, id);
  if (project === undefined) throw notFound('project', id);
  return project;
}

/** The project of this organization, if there is one. */
export const findProjectIn = findProject;

function findProject(db: Db | Tx, organizationId: OrganizationId, id: string): Promise<Project | undefined> {
  return db
    .selectFrom('projects')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
}

/** The project of this organization if it can be used; 404 or 400 otherwise. */
export async function getActiveProject(
  tx: Tx,
  organizationId: OrganizationId,
  id: ProjectId,
): Promise<Project> {
  const project = await getProject(tx, organizationId, id);
  assertActive(project);
  return project;
}

export async function listProjects(
  db: Db,
  organizationId: OrganizationId,
  page: PageRequest & { readonly includeArchived: boolean; readonly only: readonly string[] | 'all' },
): Promise<Page<Project>> {
  let query = db.selectFrom('projects').selectAll().where('organization_id', '=', organizationId);
  if (!page.includeArchived) query = query.where('status', '=', 'active');
  if (page.only !== 'all') {
    if (page.only.length === 0) return { rows: [], hasMore: false };
    query = query.where('id', 'in', page.only);
  }
  if (page.after !== undefined) {
    const place = await findProject(db, organizationId, page.after);
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('projects', place, 'asc'));
  }
  const rows = await query
    .orderBy('created_at')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}

export async function createProject(
  store: Store,
  tx: Tx,
  by: Attribution,
  order: {
    readonly name: string;
    readonly environment?: Environment;
    readonly isDefault?: boolean;
    readonly id?: ProjectId;
  },
): Promise<Project & { readonly id: ProjectId }> {
  const id = order.id ?? newId('proj_');
  const project = {
    id,
    organization_id: by.organizationId,
    name: order.name,
    status: 'active',
    environment: order.environment ?? 'production',
    is_default: order.isDefault ? 1 : 0,
    created_at: by.at,
    archived_at: null,
    external_key_id: null,
  } satisfies Project;
  await tx.insertInto('projects').values(project).execute();
  await append(tx, {
    by,
    projectId: id,
    type: 'project.created',
    payload: { id, data: { name: project.name, environment: project.environment } },
  });
  await store.announce(tx, 'project', id, by.at);
  return project;
}

export async function renameProject(
  store: Store,
  tx: Tx,
  by: Attribution,
  id: ProjectId,
  name: string,
): Promise<Project> {
  const project = await getActiveProject(tx, by.organizationId, id);
  await tx
    .updateTable('projects')
    .set({ name })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, {
    by,
    projectId: id,
    type: 'project.updated',
    payload: { id, changes_requested: { name }, before: { name: project.name } },
  });
  await store.announce(tx, 'project', id, by.at);
  return { ...project, name };
}

/** Notes that a project's external key was set or taken away; the change itself was made in this transaction. */
export async function noteExternalKey(
  store: Store,
  tx: Tx,
  by: Attribution,
  id: ProjectId,
  externalKeyId: string | null,
): Promise<void> {
  await append(tx, {
    by,
    projectId: id,
    type: 'project.updated',
    payload: { id, changes_requested: { external_key_id: externalKeyId } },
  });
  await store.announce(tx, 'project', id, by.at);
}

/** Archives for good; its keys stop with it. An archived project stays as it is. */
export async function archiveProject(store: Store, tx: Tx, by: Attribution, id: ProjectId): Promise<Project> {
  const project = await getProject(tx, by.organizationId, id);
  if (project.status === 'archived') return project;
  assertArchivable(project);
  await tx
    .updateTable('projects')
    .set({ status: 'archived', archived_at: by.at })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, { by, projectId: id, type: 'project.archived', payload: { id } });
  await store.announce(tx, 'project', id, by.at);
  return { ...project, status: 'archived', archived_at: by.at };
}

function findUser(db: Db | Tx, organizationId: OrganizationId, id: string): Promise<User | undefined> {
  return db
    .selectFrom('users')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
}

export async function getUser(db: Db | Tx, organizationId: OrganizationId, id: string): Promise<User> {
  const user = await findUser(db, organizationId, id);
  if (user === undefined) throw notFound('user', id);
  return user;
}

/** The organization's first owner: who owns a key for which nobody else was named. */
export async function firstOwner(db: Db | Tx, organizationId: OrganizationId): Promise<User | undefined> {
  return await db
    .selectFrom('users')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('role', '=', 'owner')
    .orderBy('created_at')
    .orderBy('id')
    .limit(1)
    .executeTakeFirst();
}

export async function listUsers(
  db: Db,
  organizationId: OrganizationId,
  page: PageRequest & { readonly emails: readonly string[] },
): Promise<Page<User>> {
  let query = db.selectFrom('users').selectAll().where('organization_id', '=', organizationId);
  if (page.emails.length > 0) query = query.where('email', 'in', page.emails);
  if (page.after !== undefined) {
    const place = await findUser(db, organizationId, page.after);
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('users', place, 'asc'));
  }
  const rows = await query
    .orderBy('created_at')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}
