// Notices of hard limits: the first call in a window that a limit refuses leaves a row, from which administrators are
// told (administration/alerting.ts); all refusals are counted. The road is not held up: the row is written beside it,
// and where that fails, the next refusal tries again.

import type { Store } from '../store/store.ts';
import { LIMIT_REACHED } from './administration/alerting.ts';
import type { Budget, BudgetScope } from './budgets/model.ts';
import { windowAt } from './budgets/window.ts';
import type { Refusal } from './escrow/answers.ts';
import { accountName } from './escrow/rows.ts';

/** Windows that are remembered; beyond, they are asked for in the database again. */
const MOST = 10_000;

export class LimitNotices {
  /** Refused calls by whose limit it was. */
  readonly refused = new Map<BudgetScope, number>();
  readonly #store: Store;
  readonly #onError: (error: unknown) => void;
  readonly #noted = new Set<string>();
  readonly #writing = new Set<Promise<void>>();

  constructor(store: Store, onError: (error: unknown) => void) {
    this.#store = store;
    this.#onError = onError;
  }

  note({ budget, subject }: Refusal<Budget>, at: number): void {
    this.refused.set(budget.scope, (this.refused.get(budget.scope) ?? 0) + 1);
    const windowStart = windowAt(budget.period, at).start;
    const name = accountName({ budgetId: budget.id, subject, windowStart });
    if (this.#noted.has(name)) return;
    if (this.#noted.size >= MOST) this.#noted.clear();
    this.#noted.add(name);
    const writing = this.#write(name, budget, subject, windowStart, at)
      .catch((error: unknown) => {
        this.#noted.delete(name);
        this.#onError(error);
      })
      .finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }

  /** Resolves when what was noted is written. */
  async close(): Promise<void> {
    await Promise.all(this.#writing);
  }

  async #write(name: string, budget: Budget, subject: string, windowStart: number, at: number) {
    const { db } = this.#store;
    const account = await db
      .selectFrom('escrow_accounts')
      .select('settled')
      .where('name', '=', name)
      .executeTakeFirst();
    await db
      .insertInto('budget_alerts')
      .values({
        budget_id: budget.id,
        subject,
        window_start: windowStart,
        threshold: LIMIT_REACHED,
        settled: account?.settled ?? '0',
        crossed_at: at,
        delivered_at: null,
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
}
