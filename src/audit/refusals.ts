// Refused administration calls in the audit log, bounded over all callers of one node as bounded.ts says, so that a flood
// cannot fill the store.

import type { Principal } from '../keys/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Store } from '../store/store.ts';
import { BoundedLog } from './bounded.ts';
import { append } from './chain.ts';
import type { Attribution } from './model.ts';

/** All callers share one bound: they would have a key each. */
const EVERYBODY = '';

export class RefusalLog {
  readonly #store: Store;
  readonly #entries: BoundedLog;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#entries = new BoundedLog(clock);
  }

  /**
   * Writes that `principal` was refused `operation` (method and path pattern, nothing that the caller made up), if
   * there is room. Rejects if the store does; the refusal is then counted as left out.
   */
  async record(by: Attribution, principal: Principal, operation: string): Promise<void> {
    await this.#entries.record(EVERYBODY, (leftOut) =>
      this.#store.write((tx) =>
        append(tx, {
          by,
          projectId: principal.project?.id ?? null,
          type: 'administration.refused',
          payload: { id: principal.keyId, data: { operation, left_out_before: leftOut } },
        }),
      ),
    );
  }
}
