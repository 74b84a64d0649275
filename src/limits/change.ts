// Changing a statement of limits: what may be said, and the change itself within the caller's `Store.write`, with its
// audit entry.
//
// A project, account, key or end user can only lower what its organization has for a model: all pools of a call must
// have room, so a larger number would be a promise that nobody keeps, and it is refused.

import { invalidParameter } from '../access/validation.ts';
import { append } from '../audit/chain.ts';
import type { Attribution, AuditValue } from '../audit/model.ts';
import type { ProjectId } from '../platform/ids.ts';
import type { Store, Tx } from '../store/store.ts';
import { drawnPools, type TierOf } from './draw.ts';
import { isModelName } from './known-models.ts';
import { DIMENSION_NAMES, type Dimension } from './model.ts';
import { type Holder, MOST_STATEMENTS, putStatement, type Statement, statementsOf } from './statements.ts';
import type { LimitTables } from './tables.ts';

/** New amounts by dimension; null takes the statement about that dimension away. */
export type Amounts = Readonly<Partial<Record<Dimension, number | null | undefined>>>;

/** The limits in effect, to check a change against. */
export interface InEffect {
  readonly tables: LimitTables;
  readonly tierOf: TierOf;
}

/** What an organization has of one model, dimension by dimension: the least of its pools. */
export function organizationLimits(
  { tables, tierOf }: InEffect,
  organizationId: string,
  model: string,
): Map<Dimension, number> {
  const nobody = { projectId: '', keyId: '', ownerType: 'user', ownerId: '', endUser: null } as const;
  const least = new Map<Dimension, number>();
  for (const { subject, line, rate } of drawnPools(
    tables,
    { ...nobody, organizationId, model },
    false,
    tierOf,
  )) {
    if (subject.scope !== 'organization') continue;
    least.set(line.dimension, Math.min(least.get(line.dimension) ?? rate.amount, rate.amount));
  }
  return least;
}

/**
 * @param fieldOf what the request calls a dimension, and how it states an amount
 * @throws ApiError 400 that names the first field that asks for more than the organization has
 */
export function refuseRaising(
  inEffect: InEffect,
  holder: Holder,
  name: string,
  amounts: Amounts,
  fieldOf: (dimension: Dimension) => string,
): void {
  if (holder.scope === 'organization' || !isModelName(inEffect.tables, name)) return;
  const most = organizationLimits(inEffect, holder.organizationId, name);
  for (const dimension of DIMENSION_NAMES) {
    const asked = amounts[dimension];
    const has = most.get(dimension);
    if (asked == null || has === undefined || asked <= has) continue;
    throw invalidParameter(
      fieldOf(dimension),
      `'${fieldOf(dimension)}' is more than the organization has for this model, which is ${has} (${dimension}): ` +
        'it can only be lowered here. Raise the limit of the organization first.',
    );
  }
}

export interface StatementChange {
  readonly holder: Holder;
  /** The project that the holder is in; null for the organization. */
  readonly projectId: ProjectId | null;
  readonly name: string;
  readonly amounts: Amounts;
  /** The change in the request's own words, for the audit log. */
  readonly requested: { readonly [name: string]: AuditValue };
}

/** Within a `write`: changes what is stated, and returns what is stated now. */
export async function changeStatement(
  store: Pick<Store, 'announce'>,
  tx: Tx,
  by: Attribution,
  { holder, projectId, name, amounts, requested }: StatementChange,
): Promise<Statement> {
  const stated = await statementsOf(tx, holder);
  const before = stated.find((each) => each.name === name);
  if (before === undefined && stated.length >= MOST_STATEMENTS) {
    throw invalidParameter('name', `There can be at most ${MOST_STATEMENTS} names with limits here.`);
  }
  const limits: Partial<Record<Dimension, number>> = {};
  for (const dimension of DIMENSION_NAMES) {
    const asked = amounts[dimension];
    const amount = asked === undefined ? before?.limits[dimension] : asked;
    if (amount != null) limits[dimension] = amount;
  }
  const after: Statement = { ...holder, name, limits };
  const isEmpty = Object.keys(limits).length === 0;
  if (isEmpty && before === undefined) return after;
  await putStatement(store, tx, after, by.at);
  await append(tx, {
    by,
    projectId,
    type: isEmpty ? 'rate_limit.deleted' : 'rate_limit.updated',
    payload: {
      id: rateLimitId(name),
      scope: holder.scope,
      subject_id: holder.subjectId,
      changes_requested: requested,
      before: Object.fromEntries(
        Object.entries(before?.limits ?? {}).flatMap(([name, amount]) =>
          amount === undefined ? [] : [[name, amount] as const],
        ),
      ),
    },
  });
  return after;
}

/** The published ids of rate limits begin so; ours say the model's name, which makes them stable. */
const ID_PREFIX = 'rl-';

export function rateLimitId(name: string): string {
  return ID_PREFIX + name;
}

/** The model that a rate limit's id is about; undefined if it is no such id. */
export function modelOfRateLimit(id: string): string | undefined {
  return id.startsWith(ID_PREFIX) && id.length > ID_PREFIX.length ? id.slice(ID_PREFIX.length) : undefined;
}
