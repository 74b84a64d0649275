// The plain model of who may do what, for the matrix tests: written without the program's own sets and caches, from the
// table's rows, the names of permissions and the roles' lists alone.

import { RULES } from '../../src/access/permissions.ts';

/** Whether this name, in a key's scopes or a role, gives that permission. */
export function gives(name: string, permission: string): boolean {
  if (name === permission) return true;
  if (permission.endsWith('.read'))
    return name === 'api.all.read' || `${permission.slice(0, -4)}write` === name;
  return (
    name === 'api.model.request' && permission.startsWith('api.model.') && permission.endsWith('.request')
  );
}

export interface Caller {
  readonly name: string;
  /** The key; null: none. */
  readonly key: string | null;
  readonly kind: 'admin' | 'project' | 'none';
  /** What the key is narrowed to; empty: nothing. */
  readonly scopes: readonly string[];
  /** What its owner's roles in the organization grant, and those of them that count in projects. */
  readonly organization: readonly string[];
  readonly everywhere: readonly string[];
  /** What its owner's roles in the tested project grant; null: it has none there. */
  readonly project: readonly string[] | null;
}

function has(caller: Caller, roles: readonly string[], permission: string): boolean {
  const byScope = caller.scopes.length === 0 || caller.scopes.some((name) => gives(name, permission));
  return byScope && roles.some((name) => gives(name, permission));
}

/** `open`: it may go on; `unseen`: the project is as if it were not there; `refused`: 403; `unknown`: 401. */
export type Answer = 'open' | 'unseen' | 'refused' | 'unknown';

/** What the control plane answers this caller for this operation on the tested project. */
export function onControlPlane(caller: Caller, operation: string): Answer {
  const rule = RULES[operation];
  if (rule === 'no key') return 'open';
  if (caller.kind === 'none') return 'unknown';
  if (rule === 'any key') return 'open';
  if (rule !== undefined && 'projectKey' in rule) {
    return onRoad(caller, rule.projectKey);
  }
  if (rule === undefined || caller.kind === 'project') return 'refused';
  if (!operation.includes('{project_id}')) {
    return rule.some((permission) => has(caller, caller.organization, permission)) ? 'open' : 'refused';
  }
  const roles = [...caller.everywhere, ...(caller.project ?? [])];
  if (caller.project === null && caller.everywhere.length === 0) return 'unseen';
  return rule.some((permission) => has(caller, roles, permission)) ? 'open' : 'refused';
}

/** What the road answers this caller for an operation that asks for this permission. */
export function onRoad(caller: Caller, permission: string): Answer {
  if (caller.kind === 'none') return 'unknown';
  if (caller.kind === 'admin') return 'refused';
  if (caller.project === null && caller.everywhere.length === 0) return 'unknown';
  const roles = [...caller.everywhere, ...(caller.project ?? [])];
  return has(caller, roles, permission) ? 'open' : 'refused';
}
