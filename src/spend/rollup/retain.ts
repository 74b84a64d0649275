// Retention: raw segments and narrow buckets go when their time is over; days stay for ever.
//
// A segment is deleted as a whole, when its last event is old enough and it is in the roll-ups; one that is not, or
// could not be read, stays. Each statement takes a bounded piece, so that nothing waits long for the database.

import type { Db } from '../../store/store.ts';
import { WIDTHS } from './model.ts';

const SEGMENTS = 16;
/** How much time one statement clears of a narrow table: one hour of minutes, a day of hours. */
const PIECE = { '1m': WIDTHS['1h'].ms, '1h': WIDTHS['1d'].ms } as const;

export interface Retained {
  readonly segments: number;
  readonly rows: number;
}

/**
 * Deletes what is too old.
 * @param segmentsMs how long raw segments are kept, in milliseconds
 * @param stopped asked between two statements; true ends the work early
 */
export async function retain(
  db: Db,
  nowMs: number,
  segmentsMs: number,
  stopped: () => boolean,
): Promise<Retained> {
  let segments = 0;
  for (let deleted = SEGMENTS; deleted === SEGMENTS && !stopped(); segments += deleted)
    deleted = await deleteSegments(db, nowMs - segmentsMs);
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
  return { segments, rows };
}

async function deleteSegments(db: Db, beforeMs: number): Promise<number> {
  const old = await db
    .selectFrom('usage_segments as segment')
    .select('segment.seq')
    .where('segment.last_at', '<', beforeMs)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('usage_unfolded as unfolded')
            .select('unfolded.seq')
            .whereRef('unfolded.seq', '=', 'segment.seq'),
        ),
      ),
    )
    .orderBy('segment.last_at')
    .limit(SEGMENTS)
    .execute();
  if (old.length === 0) return 0;
  await db
    .deleteFrom('usage_segments')
    .where(
      'seq',
      'in',
      old.map(({ seq }) => seq),
    )
    .execute();
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
