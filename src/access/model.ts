// Organizations, projects, users and service accounts: what they are, and the rules about them that need no store.
//
// An organization owns everything. A project holds keys, service accounts and all that is made with them; archiving
// it is final and stops its keys. A user belongs to the organization; a service account to one project.

import type { Selectable } from 'kysely';
import { ApiError } from '../platform/errors.ts';
import type { ProjectTable, ServiceAccountTable, UserTable } from '../store/schema.ts';
import type { GroupTable, InviteTable, RoleTable } from '../store/schema-access.ts';

export type Project = Selectable<ProjectTable>;
export type User = Selectable<UserTable>;
export type Group = Selectable<GroupTable>;
export type Invite = Selectable<InviteTable>;
export type CustomRole = Selectable<RoleTable>;
export type ServiceAccount = Selectable<ServiceAccountTable>;

/** 404 in the platform's words, the same for what never was and for what belongs to somebody else. */
export function notFound(
  what: 'project' | 'user' | 'service account' | 'API key' | 'group' | 'role' | 'role assignment' | 'invite',
  id: string,
): ApiError {
  return new ApiError(404, `The ${what} ${shown(id)} was not found.`);
}

/** Nothing is added to an archived project, and nothing in it is changed. */
export function assertActive(project: Project): void {
  if (project.status === 'archived') {
    throw new ApiError(
      400,
      `The project ${project.id} is archived: archived projects cannot be used or updated.`,
      {
        param: 'project_id',
      },
    );
  }
}

/** The default project stays: callers that name none are in it. */
export function assertArchivable(project: Project): void {
  if (project.is_default === 1) {
    throw new ApiError(400, 'The default project cannot be archived.', { param: 'project_id' });
  }
}

/** An id as it may be repeated in a message: ours have these characters, and anything else is not repeated. */
function shown(id: string): string {
  return /^[0-9A-Za-z_-]{1,64}$/.test(id) ? `'${id}'` : 'with this id';
}
