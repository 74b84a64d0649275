// The table of limits that holds: the configuration's, with the statements and pins of the Administration API over it.
// A statement overrides, dimension by dimension, what the table says under the same name for the same holder.

import type { Scope } from './model.ts';
import type { Holder, Statement } from './statements.ts';
import type { LimitMap, Limits, LimitTables } from './tables.ts';

type Organization = LimitTables['organizations'] extends ReadonlyMap<string, infer O> ? O : never;

export class Overlay {
  /** One object for good, whose maps change: whoever keeps what follows from it is told by the caller. */
  readonly tables: LimitTables;
  private readonly base: LimitTables;
  private readonly pins = new Map<string, string>();
  private readonly organizations: Map<string, Organization>;
  private readonly byScope: Readonly<Record<Exclude<Scope, 'organization'>, Map<string, LimitMap>>>;

  constructor(base: LimitTables) {
    this.base = base;
    this.organizations = new Map(base.organizations);
    this.byScope = {
      project: new Map(base.projects),
      service_account: new Map(base.serviceAccounts),
      api_key: new Map(base.apiKeys),
      end_user: new Map(base.endUsers),
    };
    this.tables = {
      ...base,
      organizations: this.organizations,
      projects: this.byScope.project,
      serviceAccounts: this.byScope.service_account,
      apiKeys: this.byScope.api_key,
      endUsers: this.byScope.end_user,
    };
  }

  /** From now on these are all statements of the holder. */
  set({ scope, subjectId }: Pick<Holder, 'scope' | 'subjectId'>, statements: readonly Statement[]): void {
    if (scope === 'organization') {
      const base = this.base.organizations.get(subjectId);
      const limits = over(base?.limits, statements);
      this.setOrganization(subjectId, limits);
      return;
    }
    const base = this.baseOf(scope).get(subjectId);
    const limits = over(base, statements);
    if (limits === undefined) this.byScope[scope].delete(subjectId);
    else this.byScope[scope].set(subjectId, limits);
  }

  /** The tier that an administrator pinned; null takes the pin away. One that the table does not have counts as none. */
  pin(organizationId: string, tier: string | null): void {
    const known = tier !== null && this.base.tiers.some(({ name }) => name === tier);
    if (known) this.pins.set(organizationId, tier);
    else this.pins.delete(organizationId);
    this.setOrganization(organizationId, this.organizations.get(organizationId)?.limits);
  }

  private setOrganization(id: string, limits: LimitMap | undefined): void {
    const tier = this.pins.get(id) ?? this.base.organizations.get(id)?.tier ?? null;
    if (limits === undefined && tier === null) this.organizations.delete(id);
    else this.organizations.set(id, { tier, limits: limits ?? NO_LIMITS });
  }

  private baseOf(scope: Exclude<Scope, 'organization'>): ReadonlyMap<string, LimitMap> {
    switch (scope) {
      case 'project':
        return this.base.projects;
      case 'service_account':
        return this.base.serviceAccounts;
      case 'api_key':
        return this.base.apiKeys;
      case 'end_user':
        return this.base.endUsers;
    }
  }
}

const NO_LIMITS: LimitMap = { named: new Map(), patterns: [] };

function over(base: LimitMap | undefined, statements: readonly Statement[]): LimitMap | undefined {
  if (statements.length === 0) return base;
  const named = new Map(base?.named);
  const patterns = new Map<string, Limits>(base?.patterns.map(({ prefix, limits }) => [prefix, limits]));
  for (const { name, limits } of statements) {
    if (name.endsWith('*')) {
      const prefix = name.slice(0, -1);
      patterns.set(prefix, { ...patterns.get(prefix), ...limits });
    } else named.set(name, { ...named.get(name), ...limits });
  }
  return {
    named,
    patterns: [...patterns]
      .map(([prefix, limits]) => ({ prefix, limits }))
      .sort((a, b) => b.prefix.length - a.prefix.length),
  };
}
