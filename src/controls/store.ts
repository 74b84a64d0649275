// The queries about settings. A change is made inside the caller's `Store.write` and announced as a change of its
// project or organization, so that it holds on this node before the answer and within a second on every other.

import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import {
  ORGANIZATION_SETTINGS,
  type OrganizationSettingName,
  type OrganizationSettings,
  PROJECT_SETTINGS,
  type ProjectSettingName,
  type ProjectSettings,
  readOrganizationSettings,
  readProjectSettings,
  type StoredSetting,
} from './settings.ts';

/** Rows of the projects whose ids lie between `first` and `last`: of one page of them. */
export async function settingsOfProjects(
  db: Db,
  first: string,
  last: string,
): Promise<ReadonlyMap<string, readonly StoredSetting[]>> {
  const rows = await db
    .selectFrom('project_settings')
    .select(['project_id as owner', 'name', 'value'])
    .where('project_id', '>=', first)
    .where('project_id', '<=', last)
    .execute();
  return byOwner(rows);
}

export async function settingsOfOrganizations(
  db: Db,
  ids?: readonly string[],
): Promise<ReadonlyMap<string, readonly StoredSetting[]>> {
  let query = db.selectFrom('organization_settings').select(['organization_id as owner', 'name', 'value']);
  if (ids !== undefined) query = query.where('organization_id', 'in', ids);
  return byOwner(await query.execute());
}

function byOwner(
  rows: readonly (StoredSetting & { readonly owner: string })[],
): ReadonlyMap<string, readonly StoredSetting[]> {
  return Map.groupBy(rows, ({ owner }) => owner);
}

/** The project's settings; an empty object where none is stored. The caller has looked the project up. */
export async function getProjectSettings(
  db: Db | Tx,
  organizationId: OrganizationId,
  projectId: ProjectId,
): Promise<ProjectSettings> {
  const rows = await db
    .selectFrom('project_settings')
    .select(['name', 'value'])
    .where('organization_id', '=', organizationId)
    .where('project_id', '=', projectId)
    .execute();
  return readProjectSettings(rows) ?? {};
}

export async function getOrganizationSettings(
  db: Db | Tx,
  organizationId: OrganizationId,
): Promise<OrganizationSettings> {
  const rows = await db
    .selectFrom('organization_settings')
    .select(['name', 'value'])
    .where('organization_id', '=', organizationId)
    .execute();
  return readOrganizationSettings(rows) ?? {};
}

/** Where a project's setting is written. */
export interface ProjectPlace {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Sets one setting, or takes it away (null). The caller appends the audit entry. */
export async function setProjectSetting<N extends ProjectSettingName>(
  store: Store,
  tx: Tx,
  { organizationId, projectId, at }: ProjectPlace,
  name: N,
  value: NonNullable<ProjectSettings[N]> | null,
): Promise<void> {
  if (value === null) {
    await tx
      .deleteFrom('project_settings')
      .where('organization_id', '=', organizationId)
      .where('project_id', '=', projectId)
      .where('name', '=', name)
      .execute();
  } else {
    const set = { value: JSON.stringify(PROJECT_SETTINGS[name].parse(value)), updated_at: at };
    await tx
      .insertInto('project_settings')
      .values({ organization_id: organizationId, project_id: projectId, name, ...set })
      .onConflict((conflict) => conflict.columns(['project_id', 'name']).doUpdateSet(set))
      .execute();
  }
  await store.announce(tx, 'project', projectId, at);
}

/** Sets one setting of the organization, or takes it away (null). The caller appends the audit entry. */
export async function setOrganizationSetting<N extends OrganizationSettingName>(
  store: Store,
  tx: Tx,
  { organizationId, at }: { readonly organizationId: OrganizationId; readonly at: number },
  name: N,
  value: NonNullable<OrganizationSettings[N]> | null,
): Promise<void> {
  if (value === null) {
    await tx
      .deleteFrom('organization_settings')
      .where('organization_id', '=', organizationId)
      .where('name', '=', name)
      .execute();
  } else {
    const set = { value: JSON.stringify(ORGANIZATION_SETTINGS[name].parse(value)), updated_at: at };
    await tx
      .insertInto('organization_settings')
      .values({ organization_id: organizationId, name, ...set })
      .onConflict((conflict) => conflict.columns(['organization_id', 'name']).doUpdateSet(set))
      .execute();
  }
  await store.announce(tx, 'organization', organizationId, at);
}
