// Service accounts: owners of keys that belong to a project and to no person. Deleting one revokes all its keys in
// the same transaction.

import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import { type IssuedKey, issueKey, type KeyLimits, revokeKeysOfOwner } from '../keys/issue.ts';
import { ApiError } from '../platform/errors.ts';
import { newId, type OrganizationId, type ProjectId } from '../platform/ids.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import { leaveGroups } from './groups.ts';
import { notFound, type ServiceAccount } from './model.ts';
import { beyond, cut, type Page, type PageRequest, unknownAfter } from './page.ts';
import { getActiveProject } from './store.ts';

/** Where a service account is looked up: by all three, never by its id alone. */
export interface ServiceAccountPath {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId;
  readonly id: string;
}

function findServiceAccount(db: Db | Tx, path: ServiceAccountPath): Promise<ServiceAccount | undefined> {
  return db
    .selectFrom('service_accounts')
    .selectAll()
    .where('organization_id', '=', path.organizationId)
    .where('project_id', '=', path.projectId)
    .where('id', '=', path.id)
    .executeTakeFirst();
}

export async function getServiceAccount(db: Db | Tx, path: ServiceAccountPath): Promise<ServiceAccount> {
  const account = await findServiceAccount(db, path);
  if (account === undefined) throw notFound('service account', path.id);
  return account;
}

export async function listServiceAccounts(
  db: Db,
  organizationId: OrganizationId,
  projectId: ProjectId,
  page: PageRequest,
): Promise<Page<ServiceAccount>> {
  let query = db
    .selectFrom('service_accounts')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('project_id', '=', projectId);
  if (page.after !== undefined) {
    const place = await findServiceAccount(db, { organizationId, projectId, id: page.after });
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('service_accounts', place, 'asc'));
  }
  const rows = await query
    .orderBy('created_at')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}

/** A new service account, with its first key unless only the account was asked for. */
export async function createServiceAccount(
  store: Store,
  tx: Tx,
  by: Attribution,
  order: {
    readonly projectId: ProjectId;
    readonly name: string;
    readonly accountOnly: boolean;
    readonly expiresInSeconds: number | null;
  },
): Promise<{ readonly account: ServiceAccount; readonly issued: IssuedKey | null }> {
  const { projectId, name } = order;
  await getActiveProject(tx, by.organizationId, projectId);
  const account = {
    id: newId('svc_acct_'),
    organization_id: by.organizationId,
    project_id: projectId,
    name,
    role: order.accountOnly ? 'none' : 'member',
    created_at: by.at,
  } satisfies ServiceAccount;
  await tx.insertInto('service_accounts').values(account).execute();
  await append(tx, {
    by,
    projectId,
    type: 'service_account.created',
    payload: { id: account.id, data: { name, role: account.role } },
  });
  await store.announce(tx, 'service_account', account.id, by.at);
  if (order.accountOnly) return { account, issued: null };
  const issued = await issueServiceAccountKey(store, tx, by, account, {
    expiresInSeconds: order.expiresInSeconds,
  });
  return { account, issued };
}

/** A further key for a service account. */
export async function addServiceAccountKey(
  store: Store,
  tx: Tx,
  by: Attribution,
  path: ServiceAccountPath,
  order: KeyLimits & { readonly name?: string | undefined },
): Promise<IssuedKey> {
  await getActiveProject(tx, by.organizationId, path.projectId);
  const account = await getServiceAccount(tx, path);
  if (account.role === 'none') {
    throw new ApiError(
      400,
      "This service account has no role in its project: set its role to 'member' or 'owner' first.",
    );
  }
  return await issueServiceAccountKey(store, tx, by, account, order);
}

function issueServiceAccountKey(
  store: Store,
  tx: Tx,
  by: Attribution,
  account: ServiceAccount,
  order: KeyLimits & { readonly name?: string | undefined },
): Promise<IssuedKey> {
  const { name = 'Secret Key', ...limits } = order;
  return issueKey(store, tx, by, {
    ...limits,
    type: 'service_account',
    name,
    // The column holds what newId made.
    projectId: account.project_id as ProjectId,
    owner: { type: 'service_account', id: account.id },
  });
}

export async function changeServiceAccount(
  store: Store,
  tx: Tx,
  by: Attribution,
  path: ServiceAccountPath,
  changes: { readonly name?: string; readonly role?: 'owner' | 'member' },
): Promise<ServiceAccount> {
  await getActiveProject(tx, by.organizationId, path.projectId);
  const account = await getServiceAccount(tx, path);
  if (Object.keys(changes).length === 0) return account;
  await tx
    .updateTable('service_accounts')
    .set(changes)
    .where('project_id', '=', path.projectId)
    .where('id', '=', path.id)
    .execute();
  await append(tx, {
    by,
    projectId: path.projectId,
    type: 'service_account.updated',
    payload: {
      id: path.id,
      changes_requested: { ...changes },
      before: {
        ...(changes.name !== undefined && { name: account.name }),
        ...(changes.role !== undefined && { role: account.role }),
      },
    },
  });
  await store.announce(tx, 'service_account', path.id, by.at);
  return { ...account, ...changes };
}

export async function deleteServiceAccount(
  store: Store,
  tx: Tx,
  by: Attribution,
  path: ServiceAccountPath,
): Promise<void> {
  await getServiceAccount(tx, path);
  const revoked = await revokeKeysOfOwner(tx, by, path.id);
  await leaveGroups(tx, path.id);
  await tx
    .deleteFrom('service_accounts')
    .where('project_id', '=', path.projectId)
    .where('id', '=', path.id)
    .execute();
  await append(tx, {
    by,
    projectId: path.projectId,
    type: 'service_account.deleted',
    payload: { id: path.id, data: { revoked_api_keys: revoked } },
  });
  await store.announce(tx, 'service_account', path.id, by.at);
  await store.announce(tx, 'access', path.id, by.at);
}
