// What escrow answers to a call that asks for money: a hold, a refusal, or that there is no answer now.

import type { Account, Purse } from './account.ts';
import type { Turn } from './book.ts';
import type { EscrowBudget } from './protocol.ts';

/** What a call has reserved, in every budget above it. */
export class Hold {
  readonly kind = 'held';
  readonly accounts: readonly Account[];
  /** Nano-dollars. */
  worst: number;
  /** Settled or released: nothing can be done with it twice. */
  over = false;

  constructor(accounts: readonly Account[], worst: number) {
    this.accounts = accounts;
    this.worst = worst;
  }
}

/** A hard budget does not bear the call. */
export interface Refusal<B extends EscrowBudget = EscrowBudget> {
  readonly kind: 'refused';
  readonly budget: B;
  readonly subject: string;
  /** When its window ends, in milliseconds since the epoch; Infinity: never, the limit has to be raised. */
  readonly resetsAt: number;
  /** Calls under way may settle for less, so that trying again soon may help. */
  readonly retryable: boolean;
}

/** There is no answer now: the store is away, too many calls wait, or the clocks differ. */
export interface Unavailable {
  readonly kind: 'unavailable';
  readonly reason: 'timeout' | 'busy' | 'clock';
}

/** A call that waits for a slice. */
export interface Waiter<B extends EscrowBudget> {
  readonly purses: readonly Purse<B>[];
  readonly worst: number;
  readonly wall: number;
  readonly deadline: number;
  readonly done: (result: Hold | Refusal<B> | Unavailable) => void;
  /** The accounts in which its worst case is counted as waiting. */
  accounts: Account[];
  /** The turn that asks for what it needs, once that is sent. */
  turn: Turn | null;
}

export function refusal<B extends EscrowBudget>({ budget, subject }: Purse<B>, account: Account): Refusal<B> {
  return {
    kind: 'refused',
    budget,
    subject,
    resetsAt: account.windowEnd,
    retryable: account.open || account.held > 0,
  };
}
