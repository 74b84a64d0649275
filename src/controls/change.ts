// Changing a setting: the setting, its audit entry and its announcement in one transaction. What it was before is in the
// entry too, so that the log alone says how things stood at any time.

import type { ControlPlaneDeps } from '../access/http.ts';
import { getActiveProject } from '../access/store.ts';
import { append } from '../audit/chain.ts';
import type { Attribution, AuditValue } from '../audit/model.ts';
import type { ProjectId } from '../platform/ids.ts';
import type {
  OrganizationSettingName,
  OrganizationSettings,
  ProjectSettingName,
  ProjectSettings,
} from './settings.ts';
import {
  getOrganizationSettings,
  getProjectSettings,
  setOrganizationSetting,
  setProjectSetting,
} from './store.ts';

type Deps = Pick<ControlPlaneDeps, 'store'>;

/**
 * Changes one setting of a project that is in use; 404 or 400 if it is not.
 * @param change what it shall be, given what it is; null: as if it had never been set
 * @returns what it is now
 */
export async function changeProjectSetting<N extends ProjectSettingName>(
  { store }: Deps,
  by: Attribution,
  projectId: ProjectId,
  name: N,
  change: (now: ProjectSettings[N]) => NonNullable<ProjectSettings[N]> | null,
): Promise<ProjectSettings[N] | undefined> {
  return await store.write(async (tx) => {
    await getActiveProject(tx, by.organizationId, projectId);
    const before: ProjectSettings[N] = (await getProjectSettings(tx, by.organizationId, projectId))[name];
    const after = change(before);
    const place = { organizationId: by.organizationId, projectId, at: by.at };
    await setProjectSetting(store, tx, place, name, after);
    await append(tx, {
      by,
      projectId,
      type: 'project.updated',
      payload: {
        id: projectId,
        changes_requested: { [name]: audited(after) },
        before: { [name]: audited(before) },
      },
    });
    return after ?? undefined;
  });
}

/** The same for a setting of the organization. */
export async function changeOrganizationSetting<N extends OrganizationSettingName>(
  { store }: Deps,
  by: Attribution,
  name: N,
  change: (now: OrganizationSettings[N]) => NonNullable<OrganizationSettings[N]> | null,
): Promise<OrganizationSettings[N] | undefined> {
  return await store.write(async (tx) => {
    const before: OrganizationSettings[N] = (await getOrganizationSettings(tx, by.organizationId))[name];
    const after = change(before);
    await setOrganizationSetting(store, tx, by, name, after);
    await append(tx, {
      by,
      projectId: null,
      type: 'organization.updated',
      payload: {
        id: by.organizationId,
        changes_requested: { [name]: audited(after) },
        before: { [name]: audited(before) },
      },
    });
    return after ?? undefined;
  });
}

/** Settings are plain JSON; what is not set is null in the log. */
function audited(value: AuditValue | undefined): AuditValue {
  return value ?? null;
}
