// Which projects a caller is shown: whoever administers the organization all of them, everybody else those that it
// works in.

import type { KeyRegistry } from '../keys/registry.ts';
import type { ControlContext } from './http.ts';

/** The ids, or `all` of the organization's. */
export function visibleProjects(c: ControlContext, registry: KeyRegistry): readonly string[] | 'all' {
  if (c.get('rights').organization.has('api.management.read')) return 'all';
  return registry.access.projectsOf(c.get('principal').ownerId);
}
