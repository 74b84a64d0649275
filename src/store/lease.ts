// Which of several nodes does what only one may do at a time: whoever holds the lease of that name. Nodes of one
// PostgreSQL go by its clock; the embedded store has one node, and its own clock.
//
// A lease is no lock: a holder that is held up longer than its lease lasts may act beside the next one. What is done
// under it must bear being done twice.

import { type RawBuilder, sql } from 'kysely';
import type { Clock } from '../platform/clock.ts';
import { randomBase62 } from '../platform/ids.ts';
import type { Store } from './store.ts';

export class StoreLease {
  readonly #store: Pick<Store, 'db' | 'kind'>;
  readonly #name: string;
  readonly #holder: string;
  readonly #clock: Clock;

  /** @param node for whoever looks at the table; each lease object is a holder of its own */
  constructor(store: Pick<Store, 'db' | 'kind'>, name: string, node: string, clock: Clock) {
    this.#store = store;
    this.#name = name;
    this.#holder = `${node}/${randomBase62(12)}`;
    this.#clock = clock;
  }

  /** Takes the lease for `ms` from now, or renews it. False: another holds it. */
  async take(ms: number): Promise<boolean> {
    const { db } = this.#store;
    const until = sql<number>`${this.#now} + cast(${ms} as bigint)`;
    const row = await db
      .insertInto('leases')
      .values({ name: this.#name, holder: this.#holder, until })
      .onConflict((conflict) =>
        conflict
          .column('name')
          .doUpdateSet((eb) => ({ holder: eb.ref('excluded.holder'), until: eb.ref('excluded.until') }))
          .where((eb) =>
            eb.or([eb('leases.holder', '=', this.#holder), eb('leases.until', '<=', this.#now)]),
          ),
      )
      .returning('name')
      .executeTakeFirst();
    return row !== undefined;
  }

  /** Lets another have it at once. */
  async release(): Promise<void> {
    await this.#store.db
      .deleteFrom('leases')
      .where('name', '=', this.#name)
      .where('holder', '=', this.#holder)
      .execute();
  }

  get #now(): RawBuilder<number> {
    if (this.#store.kind === 'sqlite') return sql<number>`cast(${this.#clock.now()} as bigint)`;
    return sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`;
  }
}
