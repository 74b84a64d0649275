// Whose keys of a project a caller may see and change. Whoever administers the project, everybody's; a member, whose
// role only lets it have keys (api.organization.projects.api_keys), its own.

import { ApiError } from '../platform/errors.ts';
import type { ProjectId } from '../platform/ids.ts';
import type { ControlContext } from './http.ts';
import { notFound } from './model.ts';

/** Null: everybody's keys; else only this user's. */
export function keysOf(c: ControlContext, projectId: ProjectId, action: 'read' | 'write'): string | null {
  const within = c.get('rights').within(projectId);
  if (within?.has(`api.management.${action}`) || within?.has(`api.organization.projects.${action}`))
    return null;
  return c.get('principal').ownerId;
}

/** 404 for a key that is not the caller's, where it may see only its own. */
export function assertOwn(
  only: string | null,
  key: { readonly id: string; readonly owner_id: string },
): void {
  if (only !== null && key.owner_id !== only) throw notFound('API key', key.id);
}

/** 403 where a key is asked for in somebody else's name without the right. */
export function assertForSelf(only: string | null, ownerId: string): void {
  if (only === null || ownerId === only) return;
  throw new ApiError(403, 'In this project you can create keys for yourself only: leave owner_user_id out.', {
    param: 'owner_user_id',
  });
}
