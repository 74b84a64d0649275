// Whose budget it is that the published API speaks of: the organization's, or a project's. Its hard limit is the one hard
// budget of a month that this owner has.

import { getActiveProject, getProject } from '../../access/store.ts';
import { append } from '../../audit/chain.ts';
import type { Attribution, AuditEventType, AuditValue } from '../../audit/model.ts';
import type { BudgetId, OrganizationId, ProjectId } from '../../platform/ids.ts';
import type { Db, Tx } from '../../store/store.ts';
import { MAX_LIMIT, NANO_PER_CENT } from '../budgets/model.ts';

export interface Owner {
  readonly organizationId: OrganizationId;
  /** Null: the organization itself. */
  readonly projectId: ProjectId | null;
}

/** The largest amount of a limit or an alert, in cents. */
export const MAX_CENTS = Number(MAX_LIMIT / NANO_PER_CENT);

/** 404 if the project is not this organization's. */
export async function assertOwner(db: Db | Tx, { organizationId, projectId }: Owner): Promise<void> {
  if (projectId !== null) await getProject(db, organizationId, projectId);
}

/** Also 400 if the project is archived. */
export async function assertActiveOwner(tx: Tx, { organizationId, projectId }: Owner): Promise<void> {
  if (projectId !== null) await getActiveProject(tx, organizationId, projectId);
}

export function scopeOf({ organizationId, projectId }: Owner) {
  return projectId === null
    ? ({ scope: 'organization', scopeId: organizationId } as const)
    : ({ scope: 'project', scopeId: projectId } as const);
}

/** The id of the owner's hard limit of a month. */
export async function limitIdOf(db: Db | Tx, owner: Owner): Promise<BudgetId | undefined> {
  const { scope, scopeId } = scopeOf(owner);
  const row = await db
    .selectFrom('budgets')
    .select('id')
    .where('organization_id', '=', owner.organizationId)
    .where('scope', '=', scope)
    .where('scope_id', '=', scopeId)
    .where('period', '=', 'month')
    .where('enforcement', '=', 'hard')
    .orderBy('created_at')
    .orderBy('id')
    .limit(1)
    .executeTakeFirst();
  // The column holds what newId made.
  return row && (row.id as BudgetId);
}

/** Within the change's transaction. */
export async function note(
  tx: Tx,
  by: Attribution,
  projectId: ProjectId | null,
  type: AuditEventType,
  id: string,
  changes: { readonly [name: string]: AuditValue } | null,
  before?: { readonly [name: string]: AuditValue },
): Promise<void> {
  const payload = {
    id,
    ...(changes !== null && { changes_requested: changes }),
    ...(before !== undefined && { before }),
  };
  await append(tx, { by, projectId, type, payload });
}
