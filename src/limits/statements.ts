// Statements of limits as rows, which the Administration API edits: read and written. Each is one entry of a table of
// limits, and overrides the table that the configuration gives. A change is made within the caller's `Store.write`,
// together with its audit entry, and announced there; the object of the announcement is the subject, all of whose
// statements are then read again.

import { z } from 'zod';
import type { Change, Db, Store, Tx } from '../store/store.ts';
import { DIMENSION_NAMES, type Scope } from './model.ts';
import { entry, type Limits } from './tables.ts';

/** Whose statements they are. */
export interface Holder {
  readonly organizationId: string;
  readonly scope: Scope;
  /** For end users: their project's id. */
  readonly subjectId: string;
}

export interface Statement extends Holder {
  /** A model, `prefix*`, `*`, a group, a long-context pool, or `all`. */
  readonly name: string;
  readonly limits: Limits;
}

/** One subject's statements at most: a page of models for each of the world's providers. */
export const MOST_STATEMENTS = 2_000;
const PAGE = 1_000;

/** How a holder is named in the feed of changes. */
export function holderName({ scope, subjectId }: Pick<Holder, 'scope' | 'subjectId'>): string {
  return `${scope}:${subjectId}`;
}

/** Every statement, or every one of an organization, a page at a time; those of one holder follow one another. */
export async function* allStatements(db: Db, organizationId?: string): AsyncGenerator<Statement[]> {
  let last: Statement | undefined;
  for (;;) {
    let query = db.selectFrom('rate_limits').selectAll();
    if (organizationId !== undefined) query = query.where('organization_id', '=', organizationId);
    if (last !== undefined) {
      const { scope, subjectId, name } = last;
      query = query.where(({ eb, refTuple, tuple }) =>
        eb(refTuple('scope', 'subject_id', 'name'), '>', tuple(scope, subjectId, name)),
      );
    }
    const rows = await query.orderBy('scope').orderBy('subject_id').orderBy('name').limit(PAGE).execute();
    if (rows.length > 0) yield rows.map(statementOf);
    if (rows.length < PAGE) return;
    last = rows.map(statementOf).at(-1);
  }
}

/** The statements of one holder, by name. */
export async function statementsOf(
  db: Db | Tx,
  holder: Pick<Holder, 'scope' | 'subjectId'>,
): Promise<Statement[]> {
  const rows = await db
    .selectFrom('rate_limits')
    .selectAll()
    .where('scope', '=', holder.scope)
    .where('subject_id', '=', holder.subjectId)
    .orderBy('name')
    .execute();
  return rows.map(statementOf);
}

/** The holders whose statements changed, each once. */
export function changedHolders(changes: readonly Change[]): Pick<Holder, 'scope' | 'subjectId'>[] {
  const names = new Set(changes.filter(({ kind }) => kind === 'rate_limit').map(({ objectId }) => objectId));
  return [...names].map((name) => {
    const colon = name.indexOf(':');
    return { scope: ScopeSchema.parse(name.slice(0, colon)), subjectId: name.slice(colon + 1) };
  });
}

/** Within a `write`: the statement is this from now on; without any limit it is removed. */
export async function putStatement(
  store: Pick<Store, 'announce'>,
  tx: Tx,
  statement: Statement,
  atMs: number,
): Promise<void> {
  const { organizationId, scope, subjectId, name } = statement;
  const limits = JSON.stringify(statement.limits);
  if (DIMENSION_NAMES.every((dimension) => statement.limits[dimension] === undefined)) {
    await tx
      .deleteFrom('rate_limits')
      .where('organization_id', '=', organizationId)
      .where('scope', '=', scope)
      .where('subject_id', '=', subjectId)
      .where('name', '=', name)
      .execute();
  } else {
    await tx
      .insertInto('rate_limits')
      .values({
        organization_id: organizationId,
        scope,
        subject_id: subjectId,
        name,
        limits,
        updated_at: atMs,
      })
      .onConflict((conflict) =>
        conflict.columns(['scope', 'subject_id', 'name']).doUpdateSet({ limits, updated_at: atMs }),
      )
      .execute();
  }
  await store.announce(tx, 'rate_limit', holderName(statement), atMs);
}

const ScopeSchema = z.enum(['organization', 'project', 'service_account', 'api_key', 'end_user']);

interface Row {
  readonly organization_id: string;
  readonly scope: Scope;
  readonly subject_id: string;
  readonly name: string;
  readonly limits: string;
}

function statementOf(row: Row): Statement {
  return {
    organizationId: row.organization_id,
    scope: row.scope,
    subjectId: row.subject_id,
    name: row.name,
    limits: entry.parse(JSON.parse(row.limits)),
  };
}
