// Which models there are, as far as limits know: those that a table or a statement names, and those that can be called.

import type { LimitMap, LimitTables, ModelSet } from './tables.ts';

/** What a test key's calls draw on: limits of their own, so that a test never uses up what production needs. */
export const TEST_MODEL = 'sandbox-test';

/** The models whose limits can be listed for a project, or for the whole organization, in the order of their names. */
export function knownModels(
  tables: LimitTables,
  organizationId: string,
  projectId: string | null,
  callable: Iterable<string>,
): string[] {
  const found = new Set(callable);
  const maps: (LimitMap | undefined)[] = [
    ...tables.tiers.map(({ limits }) => limits),
    tables.organizations.get(organizationId)?.limits,
    projectId === null ? undefined : tables.projects.get(projectId),
    tables.projects.get('*'),
  ];
  for (const map of maps) for (const name of map?.named.keys() ?? []) found.add(name);
  for (const name of poolNames(tables)) found.delete(name);
  for (const set of [...tables.groups, ...tables.longContext]) for (const name of set.exact) found.add(name);
  return [...found].sort((a, b) => (a < b ? -1 : 1));
}

/** Names that stand for a pool of several models, or of all. */
export function poolNames(tables: LimitTables): Set<string> {
  const sets: readonly ModelSet[] = [...tables.groups, ...tables.longContext];
  return new Set(['all', ...sets.map(({ name }) => name)]);
}

/** Whether a name in a table stands for this one model and nothing else. */
export function isModelName(tables: LimitTables, name: string): boolean {
  return !name.endsWith('*') && !poolNames(tables).has(name);
}
