// From a table of limits and a call to the pools that the call draws on. Pure: same table, same call, same pools.
//
// For each scope (organization, project, service account, API key, end user) and each dimension, in this order:
//   1. The statements that apply, most specific source first: the organization's own, then its tier's; for the other
//      scopes the one under the id, then the one under `*`.
//   2. Within a source the first that states the dimension: the model's long-context pool (if the prompt is above its
//      threshold), its shared group, its own name, the longest matching `prefix*`.
//   3. It gives one pool. What it covers follows from where it was stated: a long-context pool and a group are shared
//      by their models; a model's name and a pattern give the model a pool of its own.
//   4. `all` in a source gives one more pool, for every model together.
// Every scope is asked: all pools that are found must have room, so a project or a key can only lower what its
// organization has.

import { createHash } from 'node:crypto';
import { type Rate, rateOf } from './bucket.ts';
import {
  type Cover,
  DIMENSION_NAMES,
  DIMENSIONS,
  type Dimension,
  type LimitedCall,
  type Line,
  lineOf,
  Pool,
  type Scope,
  type Subject,
  subjectOf,
} from './model.ts';
import { coveringSet, type LimitMap, type Limits, type LimitTables, type Tier } from './tables.ts';

/** Who calls, and what: the part of a call that decides its pools. */
export interface Caller extends Pick<LimitedCall, 'ownerType' | 'ownerId' | 'endUser' | 'model'> {
  readonly organizationId: string;
  readonly projectId: string;
  readonly keyId: string;
}

/** The tier that an organization sits in, when it is not pinned by the table. */
export type TierOf = (organizationId: string) => string | undefined;

/** One limit that a call meets, before it is known whose bucket it is. */
interface Found {
  readonly cover: Cover;
  readonly name: string;
  readonly dimension: Dimension;
  readonly amount: number;
}

/** The organization's tier: pinned by the table, else by `tierOf`, else the lowest. */
export function tierOfOrganization(tables: LimitTables, organizationId: string, tierOf?: TierOf): Tier {
  const pinned = tables.organizations.get(organizationId)?.tier ?? tierOf?.(organizationId);
  const tier = tables.tiers.find((row) => row.name === pinned) ?? tables.tiers[0];
  if (tier === undefined) throw new RangeError('a table of limits has at least one tier');
  return tier;
}

/** Above how many prompt tokens calls to `model` draw on a long-context pool; Infinity when there is none. */
export function longContextAbove(tables: LimitTables, model: string | null): number {
  if (model === null) return Number.POSITIVE_INFINITY;
  return coveringSet(tables.longContext, model)?.above ?? Number.POSITIVE_INFINITY;
}

/**
 * The pools of a call, the widest scope first; each at most once.
 * @param long whether the prompt is above the model's long-context threshold
 */
export function drawnPools(
  tables: LimitTables,
  caller: Caller,
  long: boolean,
  tierOf?: TierOf,
  make: MakePool = (subject, line, rate) => new Pool(subject, line, rate),
): Pool[] {
  return scopesOf(tables, caller, tierOf).flatMap(({ scope, id, sources }) => {
    const found = sources.length === 0 ? [] : findLimits(tables, sources, caller.model, long);
    if (found.length === 0) return [];
    const subject = subjectOf(scope, id, caller.organizationId);
    return found.map((limit) => make(subject, lineFor(scope, limit), rateFor(limit)));
  });
}

/** Makes a pool, or gives one that is equal. */
export type MakePool = (subject: Subject, line: Line, rate: Rate) => Pool;

/** The kinds of pool that each end user of the caller's project has for this model. */
export function endUserLines(tables: LimitTables, caller: Caller, long: boolean): readonly EndUserLine[] {
  return findLimits(tables, endUserSources(tables, caller.projectId), caller.model, long).map((limit) => ({
    line: lineFor('end_user', limit),
    rate: rateFor(limit),
  }));
}

export type EndUserLine = Pick<Pool, 'line' | 'rate'>;

/** The subject that stands for an end user of a project; names above 64 characters count by their SHA-256. */
export function endUserSubject(
  caller: Pick<Caller, 'organizationId' | 'projectId'>,
  endUser: string,
): Subject {
  return subjectOf('end_user', endUserId(caller.projectId, endUser), caller.organizationId);
}

function endUserId(projectId: string, endUser: string): string {
  const short = endUser.length <= 64 ? endUser : createHash('sha256').update(endUser).digest('base64url');
  return `${projectId}:${short}`;
}

/** A limit as it holds in a project for a model. */
export interface EffectiveLimit {
  readonly dimension: Dimension;
  readonly amount: number;
  readonly setBy: 'organization' | 'project';
  readonly cover: Cover;
  readonly name: string;
}

/** What a project may use of a model, dimension by dimension: the lower of its organization's limit and its own. */
export function effectiveLimits(
  tables: LimitTables,
  where: { readonly organizationId: string; readonly projectId: string; readonly model: string },
  tierOf?: TierOf,
): EffectiveLimit[] {
  const caller: Caller = { ...where, keyId: '', ownerType: 'user', ownerId: '', endUser: null };
  const lowest = new Map<Dimension, EffectiveLimit>();
  for (const { scope, sources } of scopesOf(tables, caller, tierOf)) {
    if (scope !== 'organization' && scope !== 'project') continue;
    for (const { dimension, amount, cover, name } of findLimits(tables, sources, where.model, false)) {
      const known = lowest.get(dimension);
      if (known === undefined || amount < known.amount) {
        lowest.set(dimension, { dimension, amount, setBy: scope, cover, name });
      }
    }
  }
  return DIMENSION_NAMES.flatMap((dimension) => lowest.get(dimension) ?? []);
}

interface ScopeSources {
  readonly scope: Scope;
  readonly id: string;
  readonly sources: readonly LimitMap[];
}

function scopesOf(tables: LimitTables, caller: Caller, tierOf: TierOf | undefined): ScopeSources[] {
  const { organizationId, projectId, ownerId, keyId } = caller;
  const own = tables.organizations.get(organizationId)?.limits;
  const tier = tierOfOrganization(tables, organizationId, tierOf).limits;
  const scopes: ScopeSources[] = [
    { scope: 'organization', id: organizationId, sources: own === undefined ? [tier] : [own, tier] },
    { scope: 'project', id: projectId, sources: byIdThenAny(tables.projects, projectId) },
  ];
  if (caller.ownerType === 'service_account') {
    scopes.push({
      scope: 'service_account',
      id: ownerId,
      sources: byIdThenAny(tables.serviceAccounts, ownerId),
    });
  }
  scopes.push({ scope: 'api_key', id: keyId, sources: byIdThenAny(tables.apiKeys, keyId) });
  if (caller.endUser !== null) {
    const sources = endUserSources(tables, projectId);
    if (sources.length > 0) {
      scopes.push({ scope: 'end_user', id: endUserId(projectId, caller.endUser), sources });
    }
  }
  return scopes;
}

function endUserSources(tables: LimitTables, projectId: string): readonly LimitMap[] {
  return byIdThenAny(tables.endUsers, projectId);
}

function byIdThenAny(rows: ReadonlyMap<string, LimitMap>, id: string): readonly LimitMap[] {
  return [rows.get(id), rows.get('*')].filter((map) => map !== undefined);
}

function findLimits(
  tables: LimitTables,
  sources: readonly LimitMap[],
  model: string | null,
  long: boolean,
): readonly Found[] {
  const group = model === null ? null : coveringSet(tables.groups, model);
  const context = model === null || !long ? null : coveringSet(tables.longContext, model);
  const found: Found[] = [];
  for (const dimension of DIMENSION_NAMES) {
    if (model !== null) {
      const own = firstStated(sources, (source) =>
        statedFor(source, dimension, model, group?.name, context?.name),
      );
      if (own !== undefined) found.push(own);
    }
    const all = firstStated(sources, (source) => stated(source.named.get('all'), dimension, 'all', 'all'));
    if (all !== undefined) found.push(all);
  }
  return found;
}

function firstStated(
  sources: readonly LimitMap[],
  ask: (source: LimitMap) => Found | undefined,
): Found | undefined {
  for (const source of sources) {
    const found = ask(source);
    if (found !== undefined) return found;
  }
  return undefined;
}

function statedFor(
  source: LimitMap,
  dimension: Dimension,
  model: string,
  group: string | undefined,
  context: string | undefined,
): Found | undefined {
  const named = (pool: string | undefined): Limits | undefined =>
    pool === undefined ? undefined : source.named.get(pool);
  return (
    stated(named(context), dimension, 'long_context', context ?? '') ??
    stated(named(group), dimension, 'group', group ?? '') ??
    // `all` is the pool of every model, so a model of that name has only what patterns give it.
    stated(model === 'all' ? undefined : source.named.get(model), dimension, 'model', model) ??
    stated(
      source.patterns.find(
        ({ prefix, limits }) => model.startsWith(prefix) && limits[dimension] !== undefined,
      )?.limits,
      dimension,
      'model',
      model,
    )
  );
}

function stated(
  limits: Limits | undefined,
  dimension: Dimension,
  cover: Cover,
  name: string,
): Found | undefined {
  const amount = limits?.[dimension];
  return amount === undefined ? undefined : { cover, name, dimension, amount };
}

function lineFor(scope: Scope, limit: Found): Line {
  return lineOf(scope, limit.cover, limit.name, limit.dimension);
}

function rateFor(limit: Found): Rate {
  return rateOf(limit.amount, DIMENSIONS[limit.dimension].periodMs);
}
