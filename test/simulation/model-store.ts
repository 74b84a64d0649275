// A model of the store for the simulation: maps instead of tables, one turn at a time, its own clock. It runs the same
// rules as the real one (protocol.ts); `mutant` breaks one of them, to show that the simulation would notice.

import { windowAt } from '../../src/spend/budgets/window.ts';
import { endDue, type Ledger, limitOf } from '../../src/spend/credits/ledger.ts';
import {
  type AccountKey,
  type AccountState,
  applyEntry,
  applyEvidence,
  applyLease,
  CLOSED,
  type EscrowBudget,
  type FencedLease,
  type LeaseState,
  NEW_ACCOUNT,
  type SliceState,
  type TurnReply,
  type TurnRequest,
  windowOpen,
} from '../../src/spend/escrow/protocol.ts';

export interface SimBudget extends EscrowBudget {
  readonly id: string;
  limit: bigint;
  /** Of prepaid credits: the grants that the limit is made of. */
  credits?: Ledger;
}

/** What is broken on purpose. */
export type Mutant =
  | 'none'
  | 'node uses what it offered back'
  | 'node believes a late answer'
  | 'store takes a late turn'
  | 'store returns a dead node’s slice without evidence'
  | 'store reads what is committed before its transaction'
  | 'store forgets a slice when its lease ends'
  | 'bills are believed while calls may be under way'
  | 'call is settled at half its cost'
  | 'store grants on credits that have expired'
  | 'store takes the rest of a grant away twice';

export const MUTANTS: readonly Mutant[] = [
  'node uses what it offered back',
  'node believes a late answer',
  'store takes a late turn',
  'store returns a dead node’s slice without evidence',
  'store reads what is committed before its transaction',
  'store forgets a slice when its lease ends',
  'bills are believed while calls may be under way',
  'call is settled at half its cost',
  'store grants on credits that have expired',
  'store takes the rest of a grant away twice',
];

export function keyOf({ budgetId, subject, windowStart }: AccountKey): string {
  return `${budgetId}|${subject}|${windowStart}`;
}

interface Lease {
  state: LeaseState;
  readonly node: string;
  readonly slices: Map<string, SliceState>;
}

export class ModelStore {
  readonly budgets = new Map<string, SimBudget>();
  readonly accounts = new Map<string, AccountState>();
  readonly leases = new Map<string, Lease>();
  private readonly mutant: Mutant;
  /** The store's clock. */
  now = 0;
  private stale = new Map<string, AccountState>();

  constructor(mutant: Mutant) {
    this.mutant = mutant;
  }

  turn(request: TurnRequest, now: number): TurnReply {
    const known = this.leases.get(request.lease);
    let state = applyLease(known?.state, request, now);
    if (state === 'stale' && this.mutant === 'store takes a late turn' && known) state = { ...known.state };
    if (state === 'closed') return CLOSED;
    if (typeof state === 'string') return { kind: state };
    const lease = known ?? { state, node: request.node, slices: new Map<string, SliceState>() };
    lease.state = state;
    this.leases.set(request.lease, lease);
    const live = state.fencedAt === null;
    for (const { budgetId } of request.entries) this.endDue(budgetId);
    const read = new Map(this.accounts);
    const granted = request.entries.map((entry) => {
      const budget = this.budgets.get(entry.budgetId);
      if (budget === undefined) throw new Error(`no budget ${entry.budgetId}`);
      const window = windowAt(budget.period, entry.windowStart);
      const key = keyOf(entry);
      const account = this.accounts.get(key) ?? NEW_ACCOUNT;
      const seen =
        this.mutant === 'store reads what is committed before its transaction'
          ? (this.stale.get(key) ?? NEW_ACCOUNT)
          : account;
      const applied = applyEntry(seen, lease.slices.get(key), entry, {
        limit: budget.limit,
        hard: budget.enforcement === 'hard',
        live,
        open: windowOpen(window.start, window.end, now),
        now,
      });
      this.accounts.set(key, {
        ...applied.account,
        committed: account.committed + (applied.account.committed - seen.committed),
        settled: account.settled + (applied.account.settled - seen.settled),
      });
      lease.slices.set(key, applied.slice);
      return applied.granted;
    });
    this.stale = read;
    if (state.closed) lease.slices.clear();
    return { kind: 'done', fenced: !live, granted };
  }

  /** What a turn does before it grants anything: grants of credits whose time has come are over. */
  endDue(budgetId: string): void {
    const budget = this.budgets.get(budgetId);
    if (!budget?.credits || this.mutant === 'store grants on credits that have expired') return;
    this.moveCredits(budget, (ledger, settled, committed) => endDue(ledger, settled, committed, this.now));
  }

  /** Changes the credits, charged until now, and the limit with them. */
  moveCredits(
    budget: SimBudget,
    change: (ledger: Ledger, settled: bigint, committed: bigint) => Ledger,
  ): void {
    if (!budget.credits) return;
    const { settled, committed } = this.accounts.get(`${budget.id}||0`) ?? NEW_ACCOUNT;
    const before = budget.credits;
    const after = change(before, settled, committed);
    if (after === before) return;
    budget.credits = after;
    budget.limit = limitOf(after);
    if (this.mutant !== 'store takes the rest of a grant away twice') return;
    for (const [at, { status, taken }] of after.grants.entries()) {
      if (status === 'expired' && before.grants[at]?.status === 'active') budget.limit -= taken;
    }
  }

  fence(now: number): FencedLease[] {
    const fenced: FencedLease[] = [];
    for (const [id, lease] of this.leases) {
      if (lease.state.fencedAt !== null || lease.state.closed || now < lease.state.expiresAt) continue;
      lease.state = { ...lease.state, fencedAt: now };
      fenced.push({ lease: id, node: lease.node, fencedAt: now });
      if (this.mutant === 'store returns a dead node’s slice without evidence') this.resolveAll(id);
      if (this.mutant === 'store forgets a slice when its lease ends') lease.slices.clear();
    }
    return fenced;
  }

  private resolveAll(lease: string): void {
    for (const [key, slice] of this.leases.get(lease)?.slices ?? [])
      this.evidence(lease, key, slice.spent, true);
  }

  /** `whole`: all that the lease spent on the account is known; otherwise at least `spent`. */
  evidence(lease: string, key: string, spent: number, whole: boolean): void {
    const slices = this.leases.get(lease)?.slices;
    const slice = slices?.get(key);
    const account = this.accounts.get(key);
    const budget = this.budgets.get(key.split('|')[0] ?? '');
    if (budget) this.endDue(budget.id);
    if (!slices || !slice || !account || !budget) return;
    const applied = applyEvidence(account, slice, spent, whole, budget.limit);
    this.accounts.set(key, applied.account);
    slices.set(key, applied.slice);
  }

  committed(key: string): bigint {
    return this.accounts.get(key)?.committed ?? 0n;
  }

  /** What leases that ended badly hold of an account beyond what is known to be settled. */
  unresolved(key: string): bigint {
    let sum = 0n;
    for (const { state, slices } of this.leases.values()) {
      const slice = slices.get(key);
      if (state.fencedAt !== null && slice) sum += BigInt(slice.amount - slice.spent);
    }
    return sum;
  }
}
