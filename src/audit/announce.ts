// Entries of the audit log as events for webhook endpoints that asked for `audit_log.created`: put into the outbox in one
// transaction with how far that has come, so that each entry is announced once.

import { publish } from '../notify/publish.ts';
import type { Clock } from '../platform/clock.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Store, Tx } from '../store/store.ts';
import { readHead } from './chain.ts';
import { wholeEntry } from './read.ts';

const NAME = 'endpoints';
const GROUP = 100;
/** What could not be delivered is not announced: it would be one more that cannot be. */
const SILENT = ['delivery.failed'];

export async function announceEntries(store: Store, clock: Clock): Promise<void> {
  for (;;) {
    const behind = await store.db
      .selectFrom('audit_log')
      .select('seq')
      .where('seq', '>', (eb) =>
        eb.fn.coalesce(eb.selectFrom('audit_streams').select('seq').where('name', '=', NAME), eb.val(0)),
      )
      .limit(1)
      .executeTakeFirst();
    if (behind === undefined) return;
    await store.write((tx) => announceGroup(tx, clock.now()));
  }
}

async function announceGroup(tx: Tx, now: number): Promise<void> {
  const row = await tx.selectFrom('audit_streams').select('seq').where('name', '=', NAME).executeTakeFirst();
  const wanted = await tx
    .selectFrom('webhook_endpoints')
    .select('id')
    .where('event_types', 'like', '%"audit_log.created"%')
    .limit(1)
    .executeTakeFirst();
  // Nobody asked, or nothing was announced before: from now on.
  if (wanted === undefined || row === undefined) return await keep(tx, (await readHead(tx)).seq, now);
  const entries = await tx
    .selectFrom('audit_log')
    .selectAll()
    .where('seq', '>', row.seq)
    .orderBy('seq')
    .limit(GROUP)
    .execute();
  for (const entry of entries) {
    if (SILENT.includes(entry.type)) continue;
    await publish(tx, {
      // The columns hold what newId made.
      organizationId: entry.organization_id as OrganizationId,
      projectId: entry.project_id as ProjectId | null,
      type: 'audit_log.created',
      at: entry.at,
      data: JSON.parse(JSON.stringify(wholeEntry(entry))),
    });
  }
  await keep(tx, entries.at(-1)?.seq ?? row.seq, now);
}

async function keep(tx: Tx, seq: number, now: number): Promise<void> {
  const row = { seq, updated_at: now, last_error: null };
  await tx
    .insertInto('audit_streams')
    .values({ name: NAME, ...row })
    .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
    .execute();
}
