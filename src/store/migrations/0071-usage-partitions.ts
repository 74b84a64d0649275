// PostgreSQL: the segments of usage become a table of partitions, one a day (by the time of a segment's last event), so that
// a day whose time is over is dropped at once, whatever is in it. What fits no day's partition lies in the default one.
// SQLite has no partitions and needs none: see src/spend/rollup/retain.ts.

import { type Kysely, sql } from 'kysely';
import type { Store } from '../store.ts';

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  if (kind === 'sqlite') return;
  await sql`alter table usage_segments rename to usage_segments_before`.execute(db);
  await sql`drop trigger usage_segments_appended on usage_segments_before`.execute(db);
  await sql`alter table usage_segments_before drop constraint usage_segments_once`.execute(db);
  await sql`drop index usage_segments_last`.execute(db);
  // Before version 17 a partitioned table has no identity columns.
  await sql`create sequence usage_segments_number as bigint`.execute(db);
  await sql`select setval('usage_segments_number', (select coalesce(max(seq), 0) + 1 from usage_segments_before), false)`.execute(
    db,
  );
  await sql`
    create table usage_segments (
      seq bigint not null default nextval('usage_segments_number'),
      node text collate "C" not null,
      first_at bigint not null,
      last_at bigint not null,
      events bigint not null,
      format bigint not null,
      crc bigint not null,
      payload bytea not null,
      constraint usage_segments_number_key primary key (seq, last_at),
      constraint usage_segments_once unique (first_at, last_at, node, events, crc)
    ) partition by range (last_at)`.execute(db);
  await sql`create index usage_segments_last on usage_segments (last_at)`.execute(db);
  await sql`create table usage_segments_other partition of usage_segments default`.execute(db);
  await sql`
    insert into usage_segments (seq, node, first_at, last_at, events, format, crc, payload)
    select seq, node, first_at, last_at, events, format, crc, payload from usage_segments_before`.execute(db);
  await sql`drop table usage_segments_before`.execute(db);
  await sql`
    create trigger usage_segments_appended after insert on usage_segments
    for each row execute function usage_segment_appended()`.execute(db);
}
