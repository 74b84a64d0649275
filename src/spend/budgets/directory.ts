// Which budgets are above a call: every budget in memory, by owner, so that the road finds those of a call in a few
// map look-ups. Kept current by whoever follows the store's changes.

import type { BudgetId } from '../../platform/ids.ts';
import { type Applying, type Budget, EACH, type Spender } from './model.ts';

/** End users are named by callers: a longer name is cut, so that it cannot fill the store. */
const MAX_SUBJECT = 128;

export class BudgetDirectory {
  private readonly byId = new Map<BudgetId, Budget>();
  private readonly byOwner = new Map<string, Budget[]>();

  get size(): number {
    return this.byId.size;
  }

  get(id: BudgetId): Budget | undefined {
    return this.byId.get(id);
  }

  /** Adds a budget, or replaces the one with its id. */
  set(budget: Budget): void {
    this.delete(budget.id);
    this.byId.set(budget.id, budget);
    const key = ownerKey(budget);
    const beside = this.byOwner.get(key);
    if (beside === undefined) this.byOwner.set(key, [budget]);
    else beside.push(budget);
  }

  delete(id: BudgetId): void {
    const budget = this.byId.get(id);
    if (budget === undefined) return;
    this.byId.delete(id);
    const key = ownerKey(budget);
    const left = this.byOwner.get(key)?.filter((each) => each.id !== id) ?? [];
    if (left.length === 0) this.byOwner.delete(key);
    else this.byOwner.set(key, left);
  }

  /** The budgets above a call, the organization's first. */
  applying(spender: Spender): Applying[] {
    const found: Applying[] = [];
    const { organizationId: organization, projectId: project } = spender;
    this.add(found, `credits:${organization}`, '');
    this.add(found, `organization:${organization}`, '');
    if (project !== null) this.add(found, `project:${project}`, '');
    for (const group of spender.groupIds) this.add(found, `group:${group}`, '');
    if (spender.serviceAccountId !== null) this.add(found, `service_account:${spender.serviceAccountId}`, '');
    this.add(found, `api_key:${spender.keyId}`, '');
    this.each(found, 'project', project, spender);
    this.each(found, 'api_key', spender.keyId, spender);
    this.each(found, 'service_account', spender.serviceAccountId, spender);
    for (const group of spender.groupIds) this.each(found, 'group', group, spender);
    if (spender.endUser !== null && spender.endUser !== '') {
      const user = spender.endUser.slice(0, MAX_SUBJECT);
      this.add(found, `end_user:${project ?? organization}:${user}`, '');
      this.each(found, 'end_user', user, spender);
    }
    return found;
  }

  /** Budgets that each owner of a kind has for itself, in the project and in the organization. */
  private each(found: Applying[], scope: Budget['scope'], subject: string | null, spender: Spender): void {
    if (subject === null) return;
    if (spender.projectId !== null) this.add(found, `${scope}:${EACH}:${spender.projectId}`, subject);
    this.add(found, `${scope}:${EACH}:${spender.organizationId}`, subject);
  }

  private add(found: Applying[], key: string, subject: string): void {
    const budgets = this.byOwner.get(key);
    if (budgets === undefined) return;
    for (const budget of budgets) found.push({ budget, subject });
  }
}

/** An id is the owner's in the whole installation; an end user's name only within its project. */
function ownerKey(budget: Budget): string {
  const within = budget.projectId ?? budget.organizationId;
  if (budget.scopeId === EACH) return `${budget.scope}:${EACH}:${within}`;
  return budget.scope === 'end_user'
    ? `end_user:${within}:${budget.scopeId}`
    : `${budget.scope}:${budget.scopeId}`;
}
