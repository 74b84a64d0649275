// Reading the audit log: the newest first, filtered as the official client filters.

import { cut, type Page } from '../access/page.ts';
import { invalidParameter } from '../access/validation.ts';
import type { OrganizationId } from '../platform/ids.ts';
import type { AuditTable } from '../store/schema.ts';
import type { Db } from '../store/store.ts';
import { type Names, PUBLISHED_TYPES } from './published.ts';

export interface AuditFilter {
  readonly projectIds: readonly string[];
  /** Empty: those of `types`. */
  readonly eventTypes: readonly string[];
  /** Where no event types are named: those that the published API has, or all. */
  readonly types: 'published' | 'all';
  readonly actorIds: readonly string[];
  readonly actorEmails: readonly string[];
  readonly resourceIds: readonly string[];
  /** Milliseconds since the epoch, both ends included. */
  readonly from: number | null;
  readonly to: number | null;
}

export interface AuditPage {
  readonly limit: number;
  readonly after?: string | undefined;
  readonly before?: string | undefined;
}

export async function listAudit(
  db: Db,
  organizationId: OrganizationId,
  filter: AuditFilter,
  page: AuditPage,
): Promise<Page<AuditTable>> {
  let query = db.selectFrom('audit_log').selectAll().where('organization_id', '=', organizationId);
  if (filter.projectIds.length > 0) query = query.where('project_id', 'in', filter.projectIds);
  if (filter.eventTypes.length > 0) query = query.where('type', 'in', filter.eventTypes);
  else if (filter.types === 'published') query = query.where('type', 'in', PUBLISHED_TYPES);
  if (filter.from !== null) query = query.where('at', '>=', filter.from);
  if (filter.to !== null) query = query.where('at', '<=', filter.to);
  const about = (kind: 'actor' | 'resource' | 'email', values: readonly string[]) =>
    db.selectFrom('audit_subjects').select('seq').where('kind', '=', kind).where('value', 'in', values);
  if (filter.actorIds.length > 0) query = query.where('seq', 'in', about('actor', filter.actorIds));
  if (filter.resourceIds.length > 0) query = query.where('seq', 'in', about('resource', filter.resourceIds));
  if (filter.actorEmails.length > 0) {
    const emails = filter.actorEmails.map((email) => email.toLowerCase());
    const users = await db
      .selectFrom('users')
      .select('id')
      .where('organization_id', '=', organizationId)
      .where(({ fn, eb }) => eb(fn<string>('lower', ['email']), 'in', emails))
      .execute();
    // Whoever signed in is known by the address that stands in the entry, also when the user is gone.
    query = query.where((eb) =>
      eb.or([
        eb('seq', 'in', about('email', emails)),
        ...(users.length === 0
          ? []
          : [
              eb(
                'seq',
                'in',
                about(
                  'actor',
                  users.map(({ id }) => id),
                ),
              ),
            ]),
      ]),
    );
  }
  const back = page.before !== undefined && page.after === undefined;
  if (page.after !== undefined)
    query = query.where('seq', '<', await placeOf(db, organizationId, 'after', page.after));
  if (page.before !== undefined)
    query = query.where('seq', '>', await placeOf(db, organizationId, 'before', page.before));
  const rows = await query
    .orderBy('seq', back ? 'asc' : 'desc')
    .limit(page.limit + 1)
    .execute();
  const found = cut(rows, page.limit);
  return back ? { rows: found.rows.toReversed(), hasMore: found.hasMore } : found;
}

async function placeOf(
  db: Db,
  organizationId: OrganizationId,
  param: 'after' | 'before',
  id: string,
): Promise<number> {
  const row = await db
    .selectFrom('audit_log')
    .select('seq')
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
  if (row === undefined) throw invalidParameter(param, `Invalid '${param}': no entry has this id.`);
  return row.seq;
}

/** The names that the published form of these entries wants. */
export async function namesFor(db: Db, rows: readonly AuditTable[]): Promise<Names> {
  const projectIds = [
    ...new Set(rows.flatMap(({ project_id }) => (project_id === null ? [] : [project_id]))),
  ];
  const owners = [...new Set(rows.flatMap(({ actor }) => actor.match(/user-[A-Za-z0-9]+/) ?? []))];
  const projects =
    projectIds.length === 0
      ? []
      : await db.selectFrom('projects').select(['id', 'name']).where('id', 'in', projectIds).execute();
  const users =
    owners.length === 0
      ? []
      : await db.selectFrom('users').select(['id', 'email']).where('id', 'in', owners).execute();
  return {
    projects: new Map(projects.map(({ id, name }) => [id, name])),
    emails: new Map(users.map(({ id, email }) => [id, email])),
  };
}

/** An entry in keygate's own form: all of it, with its place in the chain. */
export function wholeEntry(row: AuditTable) {
  return {
    object: 'keygate.audit_log' as const,
    seq: row.seq,
    id: row.id,
    type: row.type,
    at: row.at,
    organization_id: row.organization_id,
    project_id: row.project_id,
    actor: JSON.parse(row.actor) as Record<string, unknown>,
    payload: JSON.parse(row.payload) as Record<string, unknown>,
    previous_hash: row.previous_hash,
    hash: row.hash,
  };
}
