// What only a running server can tell of environments: that there are projects of development and of production, and
// which credentials serve both.

import type { Config } from '../config/model.ts';
import { sharedCredentials } from '../config/notices.ts';
import type { Store } from '../store/store.ts';

/** One sentence for each credential that serves both kinds of projects that there are; for the log at the start. */
export async function noticeEnvironments(store: Store, config: Config): Promise<readonly string[]> {
  const rows = await store.db
    .selectFrom('projects')
    .select('environment')
    .distinct()
    .where('status', '=', 'active')
    .execute();
  const there = new Set(rows.map(({ environment }) => environment));
  return there.has('development') && there.has('production') ? sharedCredentials(config) : [];
}
