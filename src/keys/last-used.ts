// When each key was last used, written behind. A call only notes it in memory; once a minute what was noted is
// written in groups. So a key costs at most one write a minute however busy it is, and a crash loses at most the
// last minute of these times and nothing else.

import { sql } from 'kysely';
import type { KeyId } from '../platform/ids.ts';
import type { Store } from '../store/store.ts';

/** Keys in one statement: two parameters each, far below what either database takes. */
const GROUP = 500;

export class LastUsed {
  /** At most one entry a key, so never more than there are keys. */
  #noted = new Map<KeyId, number>();

  get size(): number {
    return this.#noted.size;
  }

  note(keyId: KeyId, atMs: number): void {
    this.#noted.set(keyId, atMs);
  }

  /** Writes what was noted since the last flush. If the store fails, what is unwritten is kept for the next. */
  async flush(store: Store): Promise<void> {
    const noted = this.#noted;
    if (noted.size === 0) return;
    this.#noted = new Map();
    const rows = [...noted];
    for (let at = 0; at < rows.length; at += GROUP) {
      try {
        await writeGroup(store, rows.slice(at, at + GROUP));
      } catch (error) {
        for (const [keyId, used] of rows.slice(at)) if (!this.#noted.has(keyId)) this.#noted.set(keyId, used);
        throw error;
      }
    }
  }
}

async function writeGroup(store: Store, rows: readonly (readonly [KeyId, number])[]): Promise<void> {
  const seen = sql.join(rows.map(([id, at]) => sql`(cast(${id} as text), cast(${at} as bigint))`));
  // Another node may have seen the key later than this one: a time only moves forward.
  const update = sql`
    with seen(id, at) as (values ${seen})
    update api_keys set last_used_at = seen.at from seen
    where api_keys.id = seen.id and (api_keys.last_used_at is null or api_keys.last_used_at < seen.at)
  `;
  await store.write((tx) => update.execute(tx));
}
