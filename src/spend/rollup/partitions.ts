// PostgreSQL: the partitions of usage segments, one a day of UTC. They are made two days ahead, and dropped whole when their
// day is over for as long as segments are kept: what that costs does not depend on how much is in them.
//
// A partition is made and dropped under a lock of the whole table, held for an instant; where it is not had within
// LOCK_MS the work waits for the next hour, and nobody waits for it.

import { type RawBuilder, sql } from 'kysely';
import { ApiError } from '../../platform/errors.ts';
import { ConstraintError, QueryError } from '../../store/errors.ts';
import type { Db } from '../../store/store.ts';
import { WIDTHS } from './model.ts';

const DAY_MS = WIDTHS['1d'].ms;
const AHEAD_DAYS = 2;
const LOCK_MS = 2_000;
/** What fits no day's partition: a node whose clock is far off, or what came before its day's partition was made. */
const OTHER = 'usage_segments_other';

/** Makes the partitions of today and the days ahead, where they are not there. */
export async function makePartitions(db: Db, nowMs: number): Promise<void> {
  const there = new Set((await partitions(db)).map(({ startMs }) => startMs));
  const today = Math.floor(nowMs / DAY_MS) * DAY_MS;
  for (let day = 0; day <= AHEAD_DAYS; day++) {
    const start = today + day * DAY_MS;
    if (there.has(start) || (await hasOthers(db, start))) continue;
    await locked(
      db,
      sql`create table if not exists ${sql.table(nameOf(start))} partition of usage_segments
        for values from (${sql.lit(start)}) to (${sql.lit(start + DAY_MS)})`,
    );
  }
}

/** Segments of that day that lie in the default partition: then it has to go on holding them. */
async function hasOthers(db: Db, start: number): Promise<boolean> {
  const { rows } = await sql`
    select 1 from ${sql.table(OTHER)} where last_at >= ${start} and last_at < ${start + DAY_MS} limit 1`.execute(
    db,
  );
  return rows.length > 0;
}

export interface Dropped {
  readonly partitions: number;
  /** Tables whose old segments must be deleted one by one: the default one, and days with segments that are not folded. */
  readonly left: readonly string[];
}

/** Drops every day that ended before then and is in the roll-ups as a whole. */
export async function dropPartitions(db: Db, beforeMs: number, stopped: () => boolean): Promise<Dropped> {
  const left = [OTHER];
  let dropped = 0;
  for (const { name, startMs } of await partitions(db)) {
    if (stopped() || startMs + DAY_MS > beforeMs) continue;
    const { rows } = await sql`
      select 1 from usage_unfolded as unfolded join ${sql.table(name)} as segment on segment.seq = unfolded.seq
      limit 1`.execute(db);
    if (rows.length > 0) left.push(name);
    else if (await locked(db, sql`drop table ${sql.table(name)}`)) dropped++;
  }
  return { partitions: dropped, left };
}

interface Partition {
  readonly name: string;
  readonly startMs: number;
}

async function partitions(db: Db): Promise<readonly Partition[]> {
  const { rows } = await sql<{ name: string }>`
    select part.relname as name from pg_inherits join pg_class as part on part.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = to_regclass('usage_segments') order by part.relname`.execute(db);
  return rows.flatMap(({ name }) => {
    const [, year, month, day] = /^usage_segments_(\d{4})(\d{2})(\d{2})$/.exec(name) ?? [];
    if (year === undefined) return [];
    return [{ name, startMs: Date.UTC(Number(year), Number(month) - 1, Number(day)) }];
  });
}

function nameOf(startMs: number): string {
  return `usage_segments_${new Date(startMs).toISOString().slice(0, 10).replaceAll('-', '')}`;
}

/** False: the lock was not to be had in time. */
async function locked(db: Db, statement: RawBuilder<unknown>): Promise<boolean> {
  try {
    await db.transaction().execute(async (tx) => {
      await sql`set local lock_timeout = ${sql.lit(LOCK_MS)}`.execute(tx);
      await statement.execute(tx);
    });
    return true;
  } catch (error) {
    // Not in time; or another node made or dropped it, or wrote into the default partition, meanwhile.
    const passes =
      error instanceof ConstraintError ||
      (error instanceof ApiError && error.status === 503) ||
      (error instanceof QueryError && PASSING.has(error.code));
    if (passes) return false;
    throw error;
  }
}

/** duplicate_table, undefined_table */
const PASSING: ReadonlySet<string> = new Set(['42P07', '42P01']);
