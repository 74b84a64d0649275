// What the e-mail of a spend alert says.

import type { Email } from '../../notify/model.ts';
import type { BudgetTable } from '../../store/schema-money.ts';
import { dollars } from '../refusal.ts';

export interface AlertFacts {
  readonly budget: Pick<BudgetTable, 'scope' | 'scope_id' | 'period' | 'project_id' | 'organization_id'>;
  readonly organizationName: string;
  readonly projectName: string | null;
  /** Nano-dollars; null: calls are refused, because the limit does not bear them. */
  readonly threshold: bigint | null;
  readonly settled: bigint;
  readonly windowStart: number;
  readonly crossedAt: number;
}

/** @param prefix what the alert's own channel puts before the subject */
export function alertEmail(facts: AlertFacts, prefix: string | null | undefined): Email {
  const { budget, threshold, settled, crossedAt } = facts;
  const owner = ownerName(facts);
  const window = windowName(facts);
  const what =
    threshold === null
      ? `Spend limit of ${owner} reached`
      : `Spend of ${owner} passed ${dollars(threshold)}${window}`;
  const lines = [
    `${what}.`,
    '',
    `Spent so far: ${dollars(settled)}`,
    ...(threshold === null ? [] : [`Alert at:     ${dollars(threshold)}`]),
    `Noticed at:   ${new Date(crossedAt).toISOString()}`,
    `Organization: ${facts.organizationName} (${budget.organization_id})`,
    ...(budget.project_id === null
      ? []
      : [`Project:      ${facts.projectName ?? ''} (${budget.project_id})`]),
    '',
    'This alert comes once in each window. An administrator can change it with the Administration API',
    '(spend_alerts), and set a hard limit (spend_limit) beyond which calls are refused.',
    '',
  ];
  const head = oneLine(prefix ?? '');
  return { subject: oneLine(head === '' ? what : `${head} ${what}`), text: lines.join('\n') };
}

function ownerName({ budget, organizationName, projectName }: AlertFacts): string {
  switch (budget.scope) {
    case 'organization':
      return organizationName;
    case 'project':
      return `project ${projectName ?? budget.scope_id}`;
    default:
      return `${budget.scope.replace('_', ' ')} ${budget.scope_id}`;
  }
}

function windowName({ budget, windowStart }: AlertFacts): string {
  const day = new Date(windowStart).toISOString().slice(0, 10);
  switch (budget.period) {
    case 'day':
      return ` on ${day}`;
    case 'week':
      return ` in the week from ${day}`;
    case 'month':
      return ` in ${day.slice(0, 7)}`;
    case 'total':
      return '';
  }
}

/** Names are people's: a line break in one must not begin another header. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim();
}
