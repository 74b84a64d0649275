// Queries of batches. What a caller asks is by (project, id); what a worker changes is by (id, lease), so that a node
// whose lease is over changes nothing any more.

import type { UpdateObject } from 'kysely';
import { sql } from 'kysely';
import type { Schema } from '../store/schema.ts';
import type { BatchTable } from '../store/schema-files.ts';
import type { Db, Tx } from '../store/store.ts';
import { OPEN } from './model.ts';

export type BatchRow = BatchTable;

/** This node no longer holds the batch: another does, or will. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
}

export async function findBatch(db: Db | Tx, projectId: string, id: string): Promise<BatchRow | undefined> {
  return await db
    .selectFrom('batches')
    .selectAll()
    .where('project_id', '=', projectId)
    .where('id', '=', id)
    .executeTakeFirst();
}

/** One more than the limit, where there are more; the newest first. */
export async function listBatches(
  db: Db,
  projectId: string,
  after: BatchRow | null,
  limit: number,
): Promise<readonly BatchRow[]> {
  let query = db
    .selectFrom('batches')
    .selectAll()
    .where('project_id', '=', projectId)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit + 1);
  if (after !== null) {
    query = query.where(({ or, and, eb }) =>
      or([
        eb('created_at', '<', after.created_at),
        and([eb('created_at', '=', after.created_at), eb('id', '<', after.id)]),
      ]),
    );
  }
  return await query.execute();
}

/** The id of a batch that still reads this file. */
export async function batchUsing(db: Db, projectId: string, fileId: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('batches')
    .select('id')
    .where('project_id', '=', projectId)
    .where('input_file_id', '=', fileId)
    .where('status', 'in', [...OPEN])
    .executeTakeFirst();
  return row?.id;
}

/** Every batch that holds a part of its queue's limits. */
export async function queuedBatches(db: Db): Promise<readonly BatchRow[]> {
  return await db
    .selectFrom('batches')
    .selectAll()
    .where('status', 'in', [...OPEN])
    .where('queue_tokens', '>', 0)
    .execute();
}

/**
 * Takes the next batch that nobody works on: of the project that has fewest under work, the oldest.
 * @param leaseMs how long it is taken for; it is renewed while it is worked on
 */
export async function claim(
  db: Db,
  lease: string,
  nowMs: number,
  leaseMs: number,
): Promise<BatchRow | undefined> {
  const free = sql<boolean>`(lease_until is null or lease_until < ${nowMs})`;
  const next = await db
    .selectFrom('batches')
    .select('id')
    .where('status', 'in', [...OPEN])
    .where(free)
    .orderBy(
      sql`(select count(*) from batches as other where other.project_id = batches.project_id
        and other.lease_until >= ${nowMs} and other.status in ('validating', 'in_progress', 'finalizing', 'cancelling'))`,
    )
    .orderBy('created_at')
    .orderBy('id')
    .limit(1)
    .executeTakeFirst();
  if (next === undefined) return undefined;
  return await db
    .updateTable('batches')
    .set({ lease, lease_until: nowMs + leaseMs })
    .where('id', '=', next.id)
    .where('status', 'in', [...OPEN])
    .where(free)
    .returningAll()
    .executeTakeFirst();
}

/** Changes a batch as its holder. Throws LeaseLost when it is not. Gives the row as it is then. */
export async function changeHeld(
  db: Db | Tx,
  { id, lease }: { readonly id: string; readonly lease: string },
  change: UpdateObject<Schema, 'batches'>,
): Promise<BatchRow> {
  const row = await db
    .updateTable('batches')
    .set(change)
    .where('id', '=', id)
    .where('lease', '=', lease)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) throw new LeaseLost(`batch ${id} is held by another`);
  return row;
}

/** The lines that have a result already. */
export async function doneLines(db: Db, batchId: string): Promise<Set<number>> {
  const done = new Set<number>();
  for (let after = 0; ; ) {
    const rows = await db
      .selectFrom('batch_results')
      .select('line')
      .where('batch_id', '=', batchId)
      .where('line', '>', after)
      .orderBy('line')
      .limit(10_000)
      .execute();
    for (const { line } of rows) done.add(line);
    const last = rows.at(-1);
    if (last === undefined) return done;
    after = last.line;
  }
}
