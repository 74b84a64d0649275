// A project's own fields of keygate: what it is for (development, staging, production), beside what the platform says
// of a project.

import type { Project } from '../access/model.ts';
import { getActiveProject } from '../access/store.ts';
import { append } from '../audit/chain.ts';
import type { Attribution, AuditValue } from '../audit/model.ts';
import type { Environment } from '../keys/model.ts';
import type { ProjectId } from '../platform/ids.ts';
import type { Store, Tx } from '../store/store.ts';

export interface ProjectChange {
  readonly name?: string | undefined;
  readonly environment?: Environment | undefined;
}

/** Changes a project that is in use; its keys are of the new environment before the write resolves. */
export async function updateProject(
  store: Store,
  tx: Tx,
  by: Attribution,
  id: ProjectId,
  change: ProjectChange,
): Promise<Project> {
  const project = await getActiveProject(tx, by.organizationId, id);
  const { name = project.name, environment = project.environment } = change;
  const requested: Record<string, AuditValue> = {};
  const before: Record<string, AuditValue> = {};
  if (name !== project.name) [requested['name'], before['name']] = [name, project.name];
  if (environment !== project.environment)
    [requested['environment'], before['environment']] = [environment, project.environment];
  if (Object.keys(requested).length === 0) return project;
  await tx
    .updateTable('projects')
    .set({ name, environment })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, {
    by,
    projectId: id,
    type: 'project.updated',
    payload: { id, changes_requested: requested, before },
  });
  await store.announce(tx, 'project', id, by.at);
  return { ...project, name, environment };
}
