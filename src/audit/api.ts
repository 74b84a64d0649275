// The HTTP surface of the audit log: the published list, and keygate's own routes beside it for the whole entries, the
// head of the chain and the export.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  IdSchema,
  newApp,
  replies,
  TimestampSchema,
} from '../access/http.ts';
import { listOf, PageQuery } from '../access/page.ts';
import { badRequest } from '../access/validation.ts';
import type { OrganizationId } from '../platform/ids.ts';
import type { AuditTable } from '../store/schema.ts';
import type { Db } from '../store/store.ts';
import { append, entriesAfter, readBase, readHead } from './chain.ts';
import { publishedEntry } from './published.ts';
import { type AuditFilter, listAudit, namesFor, wholeEntry } from './read.ts';

const Values = z.union([
  z.string().min(1).max(320).array().max(100, 'must name at most 100'),
  z
    .string()
    .min(1)
    .max(320)
    .transform((one) => [one]),
]);
const Time = z.coerce.number<string>().int('must be Unix time in seconds').min(0).max(1e11).optional();

/** The official clients write lists and ranges with brackets. */
const Query = PageQuery.extend({
  before: IdSchema.optional().openapi({ description: 'The id of the first object of the page after.' }),
  'effective_at[gt]': Time,
  'effective_at[gte]': Time,
  'effective_at[lt]': Time,
  'effective_at[lte]': Time,
  'project_ids[]': Values.optional(),
  'event_types[]': Values.optional(),
  'actor_ids[]': Values.optional(),
  'actor_emails[]': Values.optional(),
  'resource_ids[]': Values.optional(),
  project_ids: Values.optional(),
  event_types: Values.optional(),
  actor_ids: Values.optional(),
  actor_emails: Values.optional(),
  resource_ids: Values.optional(),
  tenant_only: z.enum(['true', 'false']).default('false'),
});

const Person = z.object({ id: z.string(), email: z.string().optional() });
const Actor = z
  .object({
    type: z.enum(['session', 'api_key']),
    session: z.object({ user: Person, ip_address: z.string().optional() }).optional(),
    api_key: z
      .object({
        id: z.string(),
        type: z.enum(['user', 'service_account']),
        user: Person.optional(),
        service_account: z.object({ id: z.string() }).optional(),
      })
      .optional(),
  })
  .openapi('AuditLogActor');
const Entry = z
  .object({
    id: IdSchema,
    type: z.string(),
    effective_at: TimestampSchema,
    project: z.object({ id: z.string(), name: z.string().optional() }).optional(),
    actor: Actor.nullable(),
  })
  .openapi('AuditLog', {
    additionalProperties: true,
    description: 'Its details are under the name of its type.',
  });

const Whole = z
  .object({
    object: z.literal('keygate.audit_log'),
    seq: z.int(),
    id: IdSchema,
    type: z.string(),
    at: z.int().openapi({ description: 'Unix time in milliseconds.' }),
    organization_id: IdSchema,
    project_id: IdSchema.nullable(),
    actor: z.record(z.string(), z.unknown()),
    payload: z.record(z.string(), z.unknown()),
    previous_hash: z.string(),
    hash: z.string(),
  })
  .openapi('KeygateAuditLog');

const page = <S extends z.ZodType>(item: S) =>
  z.object({
    object: z.literal('list'),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  });

const Place = z.object({ seq: z.int(), hash: z.string() });
const Head = z
  .object({ object: z.literal('keygate.audit_head'), head: Place, base: Place })
  .openapi('KeygateAuditHead');

const Range = z.object({
  after_seq: z.coerce.number<string>().int().min(0).default(0).openapi({ type: 'integer' }),
  until_seq: z.coerce.number<string>().int().min(0).optional().openapi({ type: 'integer' }),
  from: Time.openapi({ description: 'Unix time in seconds: entries from then on.' }),
  to: Time.openapi({ description: 'Unix time in seconds: entries before then.' }),
});

export const EXPORT = '/v1/keygate/audit_logs/export';

export function auditApi({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const common = { tags: ['Audit logs'], middleware: [admin] };

  const list = createRoute({
    ...common,
    method: 'get',
    path: '/v1/organization/audit_logs',
    request: { query: Query },
    responses: replies(page(Entry), 'Entries of the published event types, the newest first.'),
  });
  app.openapi(list, async (c) => {
    const query = c.req.valid('query');
    const { organizationId } = c.get('principal');
    // Nothing here is of a tenant above organizations.
    if (query.tenant_only === 'true') return c.json(listOf([], false), 200);
    const { rows, hasMore } = await listAudit(store.db, organizationId, filterOf(query, 'published'), query);
    const names = await namesFor(store.db, rows);
    return c.json(
      listOf(
        rows.map((row) => publishedEntry(row, names)),
        hasMore,
      ),
      200,
    );
  });

  const whole = createRoute({
    ...common,
    method: 'get',
    path: '/v1/keygate/audit_logs',
    request: { query: Query.omit({ tenant_only: true }) },
    responses: replies(page(Whole), 'Entries of all event types, whole, the newest first.'),
  });
  app.openapi(whole, async (c) => {
    const query = c.req.valid('query');
    const { organizationId } = c.get('principal');
    const { rows, hasMore } = await listAudit(store.db, organizationId, filterOf(query, 'all'), query);
    return c.json(listOf(rows.map(wholeEntry), hasMore), 200);
  });

  const head = createRoute({
    ...common,
    method: 'get',
    path: '/v1/keygate/audit_logs/head',
    responses: replies(
      Head,
      'The newest entry’s place and hash, to be kept outside; and where the log begins.',
    ),
  });
  app.openapi(head, async (c) => {
    const [newest, base] = await Promise.all([readHead(store.db), readBase(store.db)]);
    return c.json({ object: 'keygate.audit_head' as const, head: newest, base }, 200);
  });

  // A stream is no reply that the route's types know: registered for the description, and served by hand.
  app.openAPIRegistry.registerPath({
    tags: common.tags,
    method: 'get',
    path: EXPORT,
    request: { query: Range },
    responses: {
      ...replies(Whole, ''),
      200: {
        description:
          'Entries in order, one JSON object a line; those of other organizations only as their place.',
        content: { 'application/x-ndjson': { schema: z.string() } },
      },
    },
  });
  app.get(EXPORT, admin, async (c) => {
    const parsed = Range.safeParse(c.req.query());
    if (!parsed.success) throw badRequest(parsed.error.issues);
    const range = parsed.data;
    const by = attribution(c, clock);
    await store.write((tx) =>
      append(tx, {
        by,
        projectId: null,
        type: 'audit_log.exported',
        payload: { id: by.organizationId, data: { after_seq: range.after_seq } },
      }),
    );
    const body = exportStream(store.db, by.organizationId, range, (await readHead(store.db)).seq);
    return c.body(body, 200, { 'content-type': 'application/x-ndjson' });
  });

  return app;
}

/** One page after another, as the reader takes them. */
function exportStream(
  db: Db,
  organizationId: OrganizationId,
  range: z.infer<typeof Range>,
  newest: number,
): ReadableStream<Uint8Array> {
  const until = Math.min(newest, range.until_seq ?? newest);
  const [from, to] = [(range.from ?? 0) * 1000, range.to === undefined ? Infinity : range.to * 1000];
  const pages = entriesAfter(db, range.after_seq, 500);
  const encoder = new TextEncoder();
  const line = (row: AuditTable): string => {
    const { seq, previous_hash, hash } = row;
    const own = row.organization_id === organizationId;
    return `${JSON.stringify(own ? wholeEntry(row) : { object: 'keygate.audit_log.hidden', seq, previous_hash, hash })}\n`;
  };
  return new ReadableStream({
    async pull(controller) {
      for (;;) {
        const next = await pages.next();
        const rows: AuditTable[] = next.done ? [] : next.value;
        const wanted = rows.filter((row) => row.seq <= until && row.at >= from && row.at < to);
        if (wanted.length > 0) controller.enqueue(encoder.encode(wanted.map(line).join('')));
        if (next.done || (rows.at(-1)?.seq ?? until) >= until) return controller.close();
        if (wanted.length > 0) return;
      }
    },
    cancel: async () => void (await pages.return(undefined)),
  });
}

function filterOf(query: Partial<z.infer<typeof Query>>, types: AuditFilter['types']): AuditFilter {
  const bounds = {
    from: [query['effective_at[gte]'], after(query['effective_at[gt]'])],
    to: [query['effective_at[lt]'], after(query['effective_at[lte]'])],
  };
  const least = bounds.from.filter((at) => at !== undefined);
  const most = bounds.to.filter((at) => at !== undefined);
  return {
    types,
    projectIds: [...(query.project_ids ?? []), ...(query['project_ids[]'] ?? [])],
    eventTypes: [...(query.event_types ?? []), ...(query['event_types[]'] ?? [])],
    actorIds: [...(query.actor_ids ?? []), ...(query['actor_ids[]'] ?? [])],
    actorEmails: [...(query.actor_emails ?? []), ...(query['actor_emails[]'] ?? [])],
    resourceIds: [...(query.resource_ids ?? []), ...(query['resource_ids[]'] ?? [])],
    from: least.length === 0 ? null : Math.max(...least) * 1000,
    to: most.length === 0 ? null : Math.min(...most) * 1000 - 1,
  };
}

/** Times are in whole seconds: later than one is from the next on. */
function after(second: number | undefined): number | undefined {
  return second === undefined ? undefined : second + 1;
}
