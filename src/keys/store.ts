// The queries about keys. Every look-up names the organization and, for a project's key, the project; what comes
// back holds a digest at most.

import { type Selectable, type SqlBool, sql } from 'kysely';
import { notFound } from '../access/model.ts';
import { beyond, cut, type Page, type PageRequest, unknownAfter } from '../access/page.ts';
import { PREDEFINED_ROLES } from '../access/permission-names.ts';
import { type ProjectSettings, readProjectSettings } from '../controls/settings.ts';
import { settingsOfProjects } from '../controls/store.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { ApiKeyTable } from '../store/schema.ts';
import type { Db, KeyRow, Tx } from '../store/store.ts';
import { digestBytes } from './format.ts';
import type { Environment } from './model.ts';

export type StoredKey = Selectable<ApiKeyTable>;

/** A key as it is stored now, and whether it was revoked. */
export interface CurrentKey {
  readonly row: KeyRow;
  readonly revoked: boolean;
}

export interface StoredProject {
  readonly id: string;
  readonly organizationId: string;
  readonly active: boolean;
  readonly environment: Environment;
  readonly settings: ProjectSettings | null;
  readonly externalKeyId: string | null;
}

const PAGE = 1000;

const CURRENT = [
  'id',
  'digest',
  'type',
  'organization_id',
  'project_id',
  'owner_type',
  'owner_id',
  'scopes',
  'models',
  'addresses',
  'expires_at',
  'confirmation',
  'revoked_at',
] as const;

/** The row that the registry takes. */
export function keyRow(key: Pick<StoredKey, Exclude<(typeof CURRENT)[number], 'revoked_at'>>): KeyRow {
  return [
    key.id,
    Buffer.from(key.digest).toString('hex'),
    key.type,
    key.organization_id,
    key.project_id,
    key.owner_type,
    key.owner_id,
    key.scopes,
    key.models,
    key.addresses,
    key.expires_at,
    key.confirmation,
  ];
}

/** These keys as they are now, by id alone: for the registry, which serves every organization. */
export async function keysById(db: Db, ids: readonly string[]): Promise<CurrentKey[]> {
  const keys = await db.selectFrom('api_keys').select(CURRENT).where('id', 'in', ids).execute();
  return keys.map((key) => ({ row: keyRow(key), revoked: key.revoked_at !== null }));
}

/** These owners' keys as they are now, in pages: for the registry. */
export async function* keysByOwner(db: Db, ownerIds: readonly string[]): AsyncGenerator<CurrentKey[]> {
  for (let after = ''; ; ) {
    const keys = await db
      .selectFrom('api_keys')
      .select(CURRENT)
      .where('owner_id', 'in', ownerIds)
      .where('id', '>', after)
      .orderBy('id')
      .limit(PAGE)
      .execute();
    const last = keys.at(-1);
    if (last === undefined) return;
    yield keys.map((key) => ({ row: keyRow(key), revoked: key.revoked_at !== null }));
    after = last.id;
  }
}

/** These projects, or all of them, as they are now, in pages: for the registry. */
export async function* projectStates(db: Db, ids?: readonly string[]): AsyncGenerator<StoredProject[]> {
  for (let after = ''; ; ) {
    let query = db
      .selectFrom('projects')
      .select(['id', 'organization_id', 'status', 'environment', 'external_key_id'])
      .where('id', '>', after);
    if (ids !== undefined) query = query.where('id', 'in', ids);
    const projects = await query.orderBy('id').limit(PAGE).execute();
    const [first] = projects;
    const last = projects.at(-1);
    if (first === undefined || last === undefined) return;
    const settings = await settingsOfProjects(db, first.id, last.id);
    yield projects.map((project) => ({
      id: project.id,
      organizationId: project.organization_id,
      active: project.status === 'active',
      environment: project.environment,
      settings: readProjectSettings(settings.get(project.id) ?? []),
      externalKeyId: project.external_key_id,
    }));
    after = last.id;
  }
}

/** Whether any key was ever stored with this digest, and what became of it. */
export async function keyByDigest(db: Db | Tx, digest: string): Promise<StoredKey | undefined> {
  return await db
    .selectFrom('api_keys')
    .selectAll()
    .where('digest', '=', digestBytes(digest))
    .executeTakeFirst();
}

/** A key with what is known of its owner; the owner's own columns are null if the owner was deleted. */
export interface OwnedKey extends StoredKey {
  /** What its project is for; null for an admin key. */
  readonly environment: Environment | null;
  readonly user_name: string | null;
  readonly user_email: string | null;
  readonly user_role: string | null;
  readonly user_created_at: number | null;
  readonly account_name: string | null;
  readonly account_role: string | null;
  readonly account_created_at: number | null;
  /** Whether its owner has a role that opens the key's project: by itself, or by a group. */
  readonly owner_has_access: number;
  /** A user's strongest role in the project, as clients know those by name. */
  readonly owner_project_role: string | null;
}

/** Whose keys: a project's, or with `projectId` null the organization's admin keys. */
export interface KeyScope {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId | null;
}

export interface KeyFilter {
  readonly revoked: 'without' | 'with';
  readonly owner: 'active' | 'inactive' | 'any';
  /** This user's only; null: everybody's. */
  readonly only: string | null;
}

/** The owner itself and the groups that it is in. */
const OWNERS = sql`(select api_keys.owner_id union all
  select m.group_id from group_members m where m.member_id = api_keys.owner_id)`;

/** As the book of access has it (src/access/book.ts), for lists that are made by the database. */
function ownerHasAccess() {
  return sql<SqlBool>`(coalesce(service_accounts.role, 'none') <> 'none' or exists (
    select 1 from role_assignments a
    where a.organization_id = api_keys.organization_id and a.principal_id in ${OWNERS}
      and (users.id is not null or service_accounts.id is not null)
      and (a.project_id = api_keys.project_id
        or (a.project_id is null and users.id is not null and a.role_id <> ${PREDEFINED_ROLES.organizationReader.id}))
  ))`;
}

function projectRole() {
  const { projectOwner, projectMember, projectViewer } = PREDEFINED_ROLES;
  const rank = sql`case a.role_id when ${projectOwner.id} then 1 when ${projectMember.id} then 2
    when ${projectViewer.id} then 3 else 4 end`;
  return sql`(select case ${rank} when 1 then 'owner' when 2 then 'member' when 3 then 'viewer' else 'custom' end
    from role_assignments a
    where a.organization_id = api_keys.organization_id and a.project_id = api_keys.project_id
      and a.principal_id in ${OWNERS}
    order by ${rank} limit 1)`;
}

function scopedKeys(db: Db | Tx, scope: KeyScope) {
  return db
    .selectFrom('api_keys')
    .leftJoin('users', (join) =>
      join
        .onRef('users.id', '=', 'api_keys.owner_id')
        .onRef('users.organization_id', '=', 'api_keys.organization_id')
        .on('api_keys.owner_type', '=', 'user'),
    )
    .leftJoin('service_accounts', (join) =>
      join
        .onRef('service_accounts.id', '=', 'api_keys.owner_id')
        .onRef('service_accounts.project_id', '=', 'api_keys.project_id')
        .on('api_keys.owner_type', '=', 'service_account'),
    )
    .leftJoin('projects', (join) =>
      join
        .onRef('projects.id', '=', 'api_keys.project_id')
        .onRef('projects.organization_id', '=', 'api_keys.organization_id'),
    )
    .selectAll('api_keys')
    .select([
      'projects.environment as environment',
      'users.name as user_name',
      'users.email as user_email',
      'users.role as user_role',
      'users.created_at as user_created_at',
      'service_accounts.name as account_name',
      'service_accounts.role as account_role',
      'service_accounts.created_at as account_created_at',
      sql<number>`case when ${ownerHasAccess()} then 1 else 0 end`.as('owner_has_access'),
      sql<string | null>`case when users.role = 'owner' then 'owner' else ${projectRole()} end`.as(
        'owner_project_role',
      ),
    ])
    .where('api_keys.organization_id', '=', scope.organizationId)
    .where('api_keys.project_id', scope.projectId === null ? 'is' : '=', scope.projectId)
    .$if(scope.projectId === null, (query) => query.where('api_keys.type', '=', 'admin'));
}

/** The key of this scope; 404 if there is none, or it was revoked and revoked ones were not asked for. */
export async function getKey(
  db: Db | Tx,
  scope: KeyScope,
  id: string,
  revoked: KeyFilter['revoked'] = 'without',
): Promise<OwnedKey> {
  const key = await scopedKeys(db, scope).where('api_keys.id', '=', id).executeTakeFirst();
  if (key === undefined || (key.revoked_at !== null && revoked === 'without')) throw notFound('API key', id);
  return key;
}

export async function listKeys(
  db: Db,
  scope: KeyScope,
  filter: KeyFilter,
  page: PageRequest,
): Promise<Page<OwnedKey>> {
  const order = page.order ?? 'asc';
  let query = scopedKeys(db, scope);
  if (filter.revoked === 'without') query = query.where('api_keys.revoked_at', 'is', null);
  if (filter.owner !== 'any') {
    const active = ownerHasAccess();
    query = query.where(filter.owner === 'active' ? active : sql<SqlBool>`not ${active}`);
  }
  if (filter.only !== null) query = query.where('api_keys.owner_id', '=', filter.only);
  if (page.after !== undefined) {
    const place = await scopedKeys(db, scope).where('api_keys.id', '=', page.after).executeTakeFirst();
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('api_keys', place, order));
  }
  const rows = await query
    .orderBy('api_keys.created_at', order)
    .orderBy('api_keys.id', order)
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}

/** Admin keys that could be used at this time. */
export async function countAdminKeys(tx: Tx, organizationId: OrganizationId, nowMs: number): Promise<number> {
  const { count } = await tx
    .selectFrom('api_keys')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('organization_id', '=', organizationId)
    .where('type', '=', 'admin')
    .where('revoked_at', 'is', null)
    .where(({ eb, or }) => or([eb('expires_at', 'is', null), eb('expires_at', '>', nowMs)]))
    .executeTakeFirstOrThrow();
  return Number(count);
}
