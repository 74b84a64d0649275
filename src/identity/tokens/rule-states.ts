// Federation rules as the road needs them: whether the tokens given under one still stand. Read at the start, and again
// when a rule, its provider or its service account changes; so a rule or provider that is switched off, changed or
// deleted, and an account that is deleted or loses its role, end their tokens at once.

import { sql } from 'kysely';
import type { ProjectState } from '../../keys/model.ts';
import { parseList } from '../../keys/rows.ts';
import type { ProjectId } from '../../platform/ids.ts';
import type { Change, Store } from '../../store/store.ts';

export interface RuleState {
  readonly id: string;
  readonly serviceAccountId: string;
  readonly project: ProjectState;
  /** Empty: what the service account may do. */
  readonly scopes: readonly string[];
  /** `rule.provider` */
  readonly generation: string;
  /** False once another state took its place, or the rule gives no tokens any more. */
  alive: boolean;
}

interface CurrentRule {
  readonly id: string;
  readonly project_id: string;
  readonly service_account_id: string;
  readonly scopes: string | null;
  readonly generation: number;
  readonly provider_generation: number;
  /** Null: the account was deleted. */
  readonly role: 'owner' | 'member' | 'none' | null;
  readonly enabled: number;
}

export type FindProject = (id: ProjectId) => ProjectState | undefined;

const PAGE = 500;

export class RuleStates {
  readonly #store: Store;
  readonly #project: FindProject;
  readonly #rules = new Map<string, RuleState>();

  constructor(store: Store, project: FindProject) {
    this.#store = store;
    this.#project = project;
  }

  get size(): number {
    return this.#rules.size;
  }

  get(id: string): RuleState | undefined {
    return this.#rules.get(id);
  }

  /** Reads every rule. */
  async read(): Promise<void> {
    for (let after = ''; ; ) {
      const rows = await this.#query()
        .where('federation_rules.id', '>', after)
        .orderBy('federation_rules.id')
        .limit(PAGE)
        .execute();
      const last = rows.at(-1);
      if (last === undefined) return;
      for (const row of rows) this.#keep(row);
      after = last.id;
    }
  }

  /** Reads what changed again. */
  async take(changes: readonly Change[]): Promise<void> {
    for (const { kind, objectId } of changes) {
      if (kind === 'federation_rule') await this.#again('id', objectId);
      else if (kind === 'workload_identity_provider') await this.#again('provider_id', objectId);
      else if (kind === 'service_account') await this.#again('service_account_id', objectId);
    }
  }

  async #again(column: 'id' | 'provider_id' | 'service_account_id', value: string): Promise<void> {
    const rows = await this.#query().where(`federation_rules.${column}`, '=', value).execute();
    for (const row of rows) this.#keep(row);
    if (column === 'id' && rows.length === 0) this.#drop(value);
  }

  #query() {
    return this.#store.db
      .selectFrom('federation_rules')
      .innerJoin('workload_identity_providers as providers', 'providers.id', 'federation_rules.provider_id')
      .leftJoin('service_accounts', (join) =>
        join
          .onRef('service_accounts.id', '=', 'federation_rules.service_account_id')
          .onRef('service_accounts.project_id', '=', 'federation_rules.project_id'),
      )
      .select([
        'federation_rules.id',
        'federation_rules.project_id',
        'federation_rules.service_account_id',
        'federation_rules.scopes',
        'federation_rules.generation',
        'providers.generation as provider_generation',
        'service_accounts.role',
        sql<number>`federation_rules.enabled * providers.enabled`.as('enabled'),
      ]);
  }

  #keep(row: CurrentRule): void {
    this.#drop(row.id);
    // The column holds what newId made.
    const project = this.#project(row.project_id as ProjectId);
    const usable = Number(row.enabled) === 1 && row.role !== null && row.role !== 'none';
    if (!usable || project === undefined) return;
    this.#rules.set(row.id, {
      id: row.id,
      serviceAccountId: row.service_account_id,
      project,
      scopes: row.scopes === null ? [] : parseList(row.scopes),
      generation: `${row.generation}.${row.provider_generation}`,
      alive: true,
    });
  }

  #drop(id: string): void {
    const known = this.#rules.get(id);
    if (known === undefined) return;
    known.alive = false;
    this.#rules.delete(id);
  }
}
