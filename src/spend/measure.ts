// What money tells to /metrics: what calls were charged, what hard limits refused, and what dead nodes hold.

import type { Exposition } from '../platform/exposition.ts';
import { BUDGET_SCOPES } from './budgets/model.ts';
import type { SqlEscrowStore } from './escrow/store.ts';
import type { LimitNotices } from './limit-notices.ts';
import type { Spending } from './spending.ts';

const LOOK_MS = 15_000;
const NANO_PER_DOLLAR = 1e9;

export interface MoneyMeasure {
  measure(out: Exposition): void;
  close(): Promise<void>;
}

/** Looks at what dead nodes hold every 15 seconds: the exposition itself waits for nothing. */
export function measureMoney(options: {
  readonly spending: Pick<Spending, 'settled'>;
  readonly notices: Pick<LimitNotices, 'refused'>;
  readonly escrowStore: Pick<SqlEscrowStore, 'unresolved'>;
  readonly onError: (error: unknown) => void;
}): MoneyMeasure {
  const { spending, notices, escrowStore, onError } = options;
  let held = 0;
  let looking: Promise<void> = Promise.resolve();
  const look = async () => {
    const slices = await escrowStore.unresolved();
    held = slices.reduce((sum, { amount, spent }) => sum + amount - spent, 0);
  };
  const again = () => {
    looking = look().catch(onError);
  };
  again();
  const timer = setInterval(again, LOOK_MS).unref();
  return {
    measure: (out) => {
      out.counter(
        'keygate_spend_settled_dollars_total',
        'What calls of this process were charged to budgets.',
        [[{}, spending.settled / NANO_PER_DOLLAR]],
      );
      out.counter(
        'keygate_limit_refusals_total',
        'Calls of this process that a hard spend limit refused, by whose limit it was.',
        BUDGET_SCOPES.map((scope) => [{ scope }, notices.refused.get(scope) ?? 0] as const),
      );
      out.gauge(
        'keygate_escrow_unresolved_dollars',
        'What dead nodes hold of budgets beyond what is known to be spent.',
        held / NANO_PER_DOLLAR,
      );
    },
    close: async () => {
      clearInterval(timer);
      await looking;
    },
  };
}
