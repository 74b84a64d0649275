// Keys that are bound to a client's own key: what their presenter must prove.

import { type Kysely, sql } from 'kysely';
import type { Store } from '../store.ts';

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  await db.schema
    .alterTable('api_keys')
    .addColumn('confirmation', kind === 'sqlite' ? 'text' : sql`text collate "C"`)
    .execute();
}
