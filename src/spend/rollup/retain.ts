// Retention: raw segments and narrow buckets go when their time is over; days stay for ever.
//
// A segment goes as a whole, when its last event is old enough and it is in the roll-ups; one that is not, or could not be
// read, stays. On PostgreSQL segments go by the day, a partition at a time (partitions.ts). SQLite has no partitions, and
// dropping a table there costs as much as emptying it and holds everybody up meanwhile: its segments, each a group of
// events, go from the oldest on, as many a statement as PIECE_ROWS and PIECE_BYTES allow. Each statement takes a bounded
// piece, so that nothing waits long for the database.

import { sql } from 'kysely';
import type { Db, Store } from '../../store/store.ts';
import { WIDTHS } from './model.ts';
import { dropPartitions, makePartitions } from './partitions.ts';

/** What one statement deletes of segments: SQLite frees each page of them. */
const PIECE_ROWS = 2_000;
const PIECE_BYTES = 8 << 20;
/** How much time one statement clears of a narrow table: one hour of minutes, a day of hours. */
const PIECE = { '1m': WIDTHS['1h'].ms, '1h': WIDTHS['1d'].ms } as const;

export interface Retained {
  /** Days that were dropped as a whole. */
  readonly partitions: number;
  /** Segments that were deleted one by one. */
  readonly segments: number;
  readonly rows: number;
}

/**
 * Deletes what is too old.
 * @param segmentsMs how long raw segments are kept, in milliseconds
 * @param stopped asked between two statements; true ends the work early
 */
export async function retain(
  { db, kind }: Pick<Store, 'db' | 'kind'>,
  nowMs: number,
  segmentsMs: number,
  stopped: () => boolean,
): Promise<Retained> {
  const before = nowMs - segmentsMs;
  if (kind === 'postgres') await makePartitions(db, nowMs);
  const { partitions, left } =
    kind === 'postgres'
      ? await dropPartitions(db, before, stopped)
      : { partitions: 0, left: ['usage_segments'] };
  let segments = 0;
  for (const table of left) {
    for (let deleted = 1; deleted > 0 && !stopped(); segments += deleted)
      deleted = await deleteSegments(db, table, before);
  }
  let rows = 0;
  for (const width of ['1m', '1h'] as const) {
    const before = nowMs - WIDTHS[width].keptMs;
    for (const table of [WIDTHS[width].table, WIDTHS[width].totals]) {
      for (let more = true; more && !stopped(); ) {
        const deleted = await deleteBuckets(db, table, PIECE[width], before);
        more = deleted > 0;
        rows += deleted;
      }
    }
  }
  return { partitions, segments, rows };
}

async function deleteSegments(db: Db, table: string, beforeMs: number): Promise<number> {
  const { rows } = await sql<{ seq: number; bytes: number }>`
    select segment.seq, length(segment.payload) as bytes from ${sql.table(table)} as segment
    where segment.last_at < ${beforeMs}
      and not exists (select 1 from usage_unfolded as unfolded where unfolded.seq = segment.seq)
    order by segment.last_at limit ${sql.lit(PIECE_ROWS)}`.execute(db);
  let bytes = 0;
  const old = rows.filter((segment, at) => {
    bytes += segment.bytes;
    return at === 0 || bytes <= PIECE_BYTES;
  });
  if (old.length === 0) return 0;
  const seqs = old.map(({ seq }) => sql.lit(seq));
  await sql`delete from ${sql.table(table)} where seq in (${sql.join(seqs)})`.execute(db);
  return old.length;
}

type Narrow = (typeof WIDTHS)['1m' | '1h']['table' | 'totals'];

async function deleteBuckets(db: Db, table: Narrow, pieceMs: number, beforeMs: number): Promise<number> {
  const oldest = await db
    .selectFrom(table)
    .select(({ fn }) => fn.min<number | null>('start').as('start'))
    .executeTakeFirst();
  if (oldest?.start == null || oldest.start >= beforeMs) return 0;
  const { numDeletedRows } = await db
    .deleteFrom(table)
    .where('start', '<', Math.min(oldest.start + pieceMs, beforeMs))
    .executeTakeFirst();
  return Number(numDeletedRows);
}
