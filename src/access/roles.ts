// Roles: lists of permissions with a name, of the organization or of one project. The predefined ones are always there
// and never change; custom ones are rows. Each verb does its row, its audit entry and its announcement inside the
// caller's `Store.write`.

import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import { parseList } from '../keys/rows.ts';
import { ApiError } from '../platform/errors.ts';
import { newId, type OrganizationId, type ProjectId } from '../platform/ids.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import { type CustomRole, notFound } from './model.ts';
import { cut, type Page, type PageRequest, unknownAfter } from './page.ts';
import {
  canonical,
  isGrantable,
  levelOf,
  PREDEFINED_ROLES,
  type PredefinedRole,
} from './permission-names.ts';
import { invalidParameter } from './validation.ts';

/** Custom roles of the organization, or of one project, at most. */
const ROLES_MAX = 500;

/** Where a role lives: in a project, or with `projectId` null in the organization. */
export interface RoleScope {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId | null;
}

/** A role as it is shown, predefined or custom. */
export interface Role {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly permissions: readonly string[];
  readonly predefined: boolean;
  readonly level: 'organization' | 'project';
  /** Null for a predefined role. */
  readonly created_at: number | null;
  readonly updated_at: number | null;
  readonly created_by: string | null;
}

function customRole(row: CustomRole): Role {
  const { id, name, description, created_at, updated_at, created_by } = row;
  const level = row.project_id === null ? 'organization' : 'project';
  const permissions = parseList(row.permissions);
  return { id, name, description, permissions, predefined: false, level, created_at, updated_at, created_by };
}

function predefinedRole({ id, name, description, permissions, level }: PredefinedRole): Role {
  const never = { created_at: null, updated_at: null, created_by: null };
  return { id, name, description, permissions, predefined: true, level, ...never };
}

/** The predefined roles of this scope. */
export function predefinedRoles({ projectId }: Pick<RoleScope, 'projectId'>): readonly Role[] {
  const level = projectId === null ? 'organization' : 'project';
  return Object.values(PREDEFINED_ROLES)
    .filter((role) => role.level === level)
    .map(predefinedRole);
}

function customRoles(db: Db | Tx, { organizationId, projectId }: RoleScope) {
  return db
    .selectFrom('roles')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('project_id', projectId === null ? 'is' : '=', projectId);
}

async function findRole(db: Db | Tx, scope: RoleScope, id: string): Promise<Role | undefined> {
  const predefined = predefinedRoles(scope).find((role) => role.id === id);
  if (predefined !== undefined) return predefined;
  const row = await customRoles(db, scope).where('id', '=', id).executeTakeFirst();
  return row && customRole(row);
}

/** The role of this scope: of a project only its own, of the organization only the organization's. */
export async function getRole(db: Db | Tx, scope: RoleScope, id: string): Promise<Role> {
  const role = await findRole(db, scope, id);
  if (role === undefined) throw notFound('role', id);
  return role;
}

/** What a role of this organization grants, wherever it lives; nothing for a role that is not there. */
export async function permissionsOfRole(
  db: Db | Tx,
  organizationId: OrganizationId,
  id: string,
): Promise<readonly string[]> {
  const predefined = Object.values(PREDEFINED_ROLES).find((role) => role.id === id);
  if (predefined !== undefined) return predefined.permissions;
  const row = await db
    .selectFrom('roles')
    .select('permissions')
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
  return row === undefined ? [] : parseList(row.permissions);
}

/** The predefined roles, then the custom ones, oldest first; with `order` desc the other way round. */
export async function listRoles(db: Db, scope: RoleScope, page: PageRequest): Promise<Page<Role>> {
  const rows = await customRoles(db, scope).orderBy('created_at').orderBy('id').limit(ROLES_MAX).execute();
  return pageOf([...predefinedRoles(scope), ...rows.map(customRole)], page);
}

/** A page of a list that is short enough to be read whole. */
export function pageOf<T extends { readonly id: string }>(all: readonly T[], page: PageRequest): Page<T> {
  const ordered = page.order === 'desc' ? all.toReversed() : all;
  let from = 0;
  if (page.after !== undefined) {
    from = ordered.findIndex(({ id }) => id === page.after) + 1;
    if (from === 0) throw unknownAfter();
  }
  return cut(ordered.slice(from, from + page.limit + 1), page.limit);
}

export interface RoleOrder {
  readonly name: string;
  readonly description: string | null;
  readonly permissions: readonly string[];
}

/** Permissions by their canonical names, each once; 400 naming the entry that is none, or is none of this scope. */
export function checkedPermissions(names: readonly string[], projectId: ProjectId | null): string[] {
  for (const [at, name] of names.entries()) {
    const param = `permissions[${at}]`;
    if (!isGrantable(name)) {
      throw invalidParameter(param, `Invalid '${param}': there is no permission of this name.`);
    }
    if (projectId !== null && levelOf(name) === 'organization') {
      throw invalidParameter(
        param,
        `Invalid '${param}': ${canonical(name)} is a permission of the organization, and this is a role of a project.`,
      );
    }
  }
  return [...new Set(names.map(canonical))];
}

async function refuseTakenName(tx: Tx, scope: RoleScope, name: string, except = ''): Promise<void> {
  const taken =
    predefinedRoles(scope).some((role) => role.name === name) ||
    (await customRoles(tx, scope).where('name', '=', name).where('id', '<>', except).executeTakeFirst()) !==
      undefined;
  if (taken) throw invalidParameter('role_name', "Invalid 'role_name': a role has this name already.");
}

export async function createRole(
  store: Store,
  tx: Tx,
  by: Attribution,
  projectId: ProjectId | null,
  order: RoleOrder,
): Promise<Role> {
  const scope = { organizationId: by.organizationId, projectId };
  await refuseTakenName(tx, scope, order.name);
  const count = await customRoles(tx, scope)
    .clearSelect()
    .select(({ fn }) => fn.countAll<number>().as('n'))
    .executeTakeFirstOrThrow();
  if (Number(count.n) >= ROLES_MAX)
    throw new ApiError(400, `There can be at most ${ROLES_MAX} custom roles here.`);
  const permissions = checkedPermissions(order.permissions, projectId);
  const row = {
    id: newId('role_'),
    organization_id: by.organizationId,
    project_id: projectId,
    name: order.name,
    description: order.description,
    permissions: JSON.stringify(permissions),
    created_at: by.at,
    updated_at: by.at,
    created_by: by.actor.type === 'api_key' ? by.actor.api_key.owner_id : null,
  } satisfies CustomRole;
  await tx.insertInto('roles').values(row).execute();
  await append(tx, {
    by,
    projectId,
    type: 'role.created',
    payload: {
      id: row.id,
      role_name: row.name,
      permissions,
      resource_type: projectId === null ? 'api.organization' : 'api.project',
      resource_id: projectId ?? by.organizationId,
    },
  });
  await store.announce(tx, 'role', row.id, by.at);
  return customRole(row);
}

/** The custom role of this scope; 400 for a predefined one, which nobody changes. */
async function getCustomRole(tx: Tx, scope: RoleScope, id: string): Promise<Role> {
  const role = await getRole(tx, scope, id);
  if (!role.predefined) return role;
  throw new ApiError(400, `The role ${role.name} is predefined: it cannot be changed or deleted.`, {
    param: 'role_id',
  });
}

export async function changeRole(
  store: Store,
  tx: Tx,
  by: Attribution,
  projectId: ProjectId | null,
  id: string,
  changes: Partial<RoleOrder>,
): Promise<Role> {
  const scope = { organizationId: by.organizationId, projectId };
  const role = await getCustomRole(tx, scope, id);
  if (Object.keys(changes).length === 0) return role;
  if (changes.name !== undefined) await refuseTakenName(tx, scope, changes.name, id);
  const permissions =
    changes.permissions === undefined ? role.permissions : checkedPermissions(changes.permissions, projectId);
  const { name = role.name, description = role.description } = changes;
  await tx
    .updateTable('roles')
    .set({ name, description, permissions: JSON.stringify(permissions), updated_at: by.at })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, {
    by,
    projectId,
    type: 'role.updated',
    payload: {
      id,
      changes_requested: {
        ...(changes.name !== undefined && { role_name: name }),
        ...(changes.description !== undefined && { description }),
        permissions_added: permissions.filter((one) => !role.permissions.includes(one)),
        permissions_removed: role.permissions.filter((one) => !permissions.includes(one)),
      },
    },
  });
  await store.announce(tx, 'role', id, by.at);
  return { ...role, name, description, permissions, updated_at: by.at };
}

/** Deletes a custom role: whoever had it has it no longer, at once. */
export async function deleteRole(
  store: Store,
  tx: Tx,
  by: Attribution,
  projectId: ProjectId | null,
  id: string,
): Promise<void> {
  await getCustomRole(tx, { organizationId: by.organizationId, projectId }, id);
  const holders = await tx
    .selectFrom('role_assignments')
    .select('principal_id')
    .distinct()
    .where('organization_id', '=', by.organizationId)
    .where('role_id', '=', id)
    .execute();
  await tx
    .deleteFrom('role_assignments')
    .where('organization_id', '=', by.organizationId)
    .where('role_id', '=', id)
    .execute();
  await tx
    .deleteFrom('roles')
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, { by, projectId, type: 'role.deleted', payload: { id } });
  await store.announce(tx, 'role', id, by.at);
  for (const { principal_id } of holders) await store.announce(tx, 'access', principal_id, by.at);
}
