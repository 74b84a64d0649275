// Escrow: how a hard budget is never passed, on any number of nodes, without a write before a call is forwarded.
//
// THE IDEA
//   The store keeps, for each budget and window, one number: `committed`, the money that is spent or that some node
//   may still spend. A node takes a slice (adds it to `committed`, durably), spends inside it in memory, and gives
//   back what it does not need. `committed` never grows past the limit, every node spends only inside its slice,
//   and so the sum of what is spent and what is reserved never passes the limit. That is the whole proof; nothing
//   in it depends on a clock, on a message arriving, or on a node being alive.
//
// THE RECORDS
//   account   (budget, subject, window): committed, settled, overrun.
//   slice     (lease, account): amount, the node may have spent and reserved this much; spent, what it reported as
//             settled. committed = the sum of all slices' amounts, settled = the sum of their spent.
//   lease     one life of one node (a random id, made at its start): the number of its last turn, when it runs out
//             by the store's clock, and whether it was fenced or closed. Its slices are kept as long as it is.
//
// ONE KIND OF MESSAGE: THE TURN
//   A node speaks to the store in turns, one at a time, numbered. An entry of a turn is not a change but a state:
//   for this account I have settled `spent`, reserved `held`, and want my slice to be `want` (spent + held or more).
//   In one transaction the store sets the slice to
//       max(min(want, amount + what is left), spent + held)
//   and answers with it (`applyEntry`). A lost request or a lost answer is repaired by the next turn, which says
//   everything again; a turn that arrives after a later one is recognized by its number and does nothing.
//   The node's own rule: before it sends a turn that wants less than it has, it lowers its own amount to that, so
//   that it never uses what it is about to give back; and it raises its amount only to what an answer says.
//   Therefore its amount is at most the store's at every instant, whatever was lost on the way.
//
// HOW LARGE A SLICE IS (sizing.ts)
//   As small as traffic allows: what is spent and reserved, plus the spend of the next two seconds, but never more
//   ahead than 1/512 of what is left of the budget, and nothing ahead when that would not bear one call. The node
//   asks for more when half of what is ahead is used, for twice as much when that was soon, and keeps what it has. Near the limit nothing is ahead: calls that come while a turn
//   is under way are granted together by the next (a few milliseconds), to the last cent of the budget. When a node
//   is refused, the account is "pressed" for five seconds, in which every node gives back what it holds ahead.
//   An account that is idle for ten seconds is given back whole.
//
// WHEN SOMETHING FAILS
//   The node is killed. Its slices stay in `committed`: they count as spent. What may have been under way at the
//     providers, nobody can know, so what the usage log does not show as settled stays counted, as "unresolved",
//     until its window ends or evidence resolves it (`resolve`: the provider's own bill, by `costs reconcile`, or an
//     administrator). It is as much as the calls in flight plus what was ahead: 1/512 of what was left, at most.
//     Its lease runs out and is fenced; `reconcile` then enters what the usage log shows as settled.
//   The node was only slow, or cut off. Fenced, it gets nothing more, but its slices are still counted, so that what
//     it spends meanwhile was paid for. When it is back it reports what it really spent, its slices shrink to that,
//     and it goes on under a new lease. Nothing stays unresolved.
//   Evidence must not resolve what a living node may still spend. So a node stops using its slices when it could
//     not renew for VALID_MS by its own monotonic clock (less than LEASE_MS: clocks may run apart by a quarter), and
//     `resolve` waits until a lease is fenced for as long as a call may take.
//   The store is away. The node spends what it has, then calls wait a bounded time and are refused with 503.
//   The store commits and the answer is lost. The node's next turn says the same again.
//   A node's clock is wrong. The window of a call is the node's business, and each window keeps its own limit; but a
//     slice only grows while its window is open by the store's clock, give or take SKEW_MS.
//   The limit is lowered while slices are out. No slice grows until `committed` is below it; what is ahead is given
//     back within a second; calls in flight are finished. Raised: the next turn sees it.
//   The window ends. Calls that began in it are settled in it; the next window is another account.
//   A provider bills more than the bound of a call. It is spent, so it is counted: out of the slice first, then out
//     of the budget before anything else is granted. Only where the budget has nothing left does `committed` pass
//     the limit, by what the provider billed beyond the bound; that is entered as `overrun`, told, and nothing more
//     is granted in this window. excess.ts raises the bound of that model from then on.

import type { Period } from '../budgets/window.ts';

/** A lease runs out this long after its last turn, by the store's clock, in milliseconds. */
export const LEASE_MS = 15_000;
/** A node uses its slices this long after it sent its last answered turn, by its own clock. */
export const VALID_MS = 10_000;
/** How far a node's clock may be off before it can take nothing for a window. */
export const SKEW_MS = 10_000;
/** How long an account is pressed after a node could not be given what it needed. */
export const PRESSED_MS = 5_000;
/** The most that one slice holds, in nano-dollars: amounts on a node are doubles, and sums of two must be exact. */
export const MAX_SLICE = 2 ** 51;

export interface AccountKey {
  readonly budgetId: string;
  /** Whose spend, where each owner has the limit for itself; otherwise ''. */
  readonly subject: string;
  /** When the window begins: milliseconds since the epoch. */
  readonly windowStart: number;
}

/** What a node says of one account. Amounts are whole nano-dollars since its lease began. */
export interface TurnEntry extends AccountKey {
  readonly spent: number;
  readonly held: number;
  /** spent + held ≤ want ≤ MAX_SLICE */
  readonly want: number;
  /** What the calls that wait need: less than this granted is a refusal to one of them. */
  readonly need: number;
}

export interface TurnRequest {
  readonly lease: string;
  /** The node's name, for people. */
  readonly node: string;
  /** Larger than that of every turn of this lease before. */
  readonly seq: number;
  readonly entries: readonly TurnEntry[];
  /** The store answered a turn of this lease before. */
  readonly opened: boolean;
  /** The lease ends with this turn: nothing is held under it, and everything was said. */
  readonly close: boolean;
}

/** The store's answer for one entry, in the entries' order. */
export interface Granted {
  readonly amount: number;
  /** What no node holds: at most MAX_SLICE is told. */
  readonly left: number;
  /** Other nodes hold some that is not settled: it may come back. */
  readonly open: boolean;
  readonly pressed: boolean;
  /** By the store's clock the window is not open, so that the slice could not grow. */
  readonly closed: boolean;
}

export type TurnReply =
  | { readonly kind: 'done'; readonly fenced: boolean; readonly granted: readonly Granted[] }
  /** A later turn was there before: nothing was done. */
  | { readonly kind: 'stale' }
  /** The store has no such lease, though it should: it was restored from a backup. Nothing was done. */
  | { readonly kind: 'unknown' };

export interface AccountState {
  readonly committed: bigint;
  readonly settled: bigint;
  /** The most by which `committed` was ever past the limit because more was billed than reserved. */
  readonly overrun: bigint;
  /** By the store's clock; 0: not pressed. */
  readonly pressedUntil: number;
}

export interface SliceState {
  readonly amount: number;
  readonly spent: number;
}

export interface LeaseState {
  /** The number of its last turn. */
  readonly seq: number;
  /** By the store's clock. */
  readonly expiresAt: number;
  readonly fencedAt: number | null;
  /** Closed by its node. It is remembered for a while, so that a late turn does not open it again. */
  readonly closed: boolean;
}

/** Whether a turn counts, and what becomes of its lease. Pure. */
export function applyLease(
  lease: LeaseState | undefined,
  request: TurnRequest,
  now: number,
): LeaseState | 'stale' | 'unknown' | 'closed' {
  const { seq, close } = request;
  if (lease === undefined) {
    return request.opened ? 'unknown' : { seq, expiresAt: now + LEASE_MS, fencedAt: null, closed: close };
  }
  if (seq <= lease.seq) return 'stale';
  // The answer was lost, and its node says it again: there is nothing left to do.
  if (lease.closed) return 'closed';
  return lease.fencedAt === null
    ? { seq, expiresAt: now + LEASE_MS, fencedAt: null, closed: close }
    : { ...lease, seq, closed: close };
}

/** Whether a slice may grow in this window, by the store's clock. */
export function windowOpen(start: number, end: number, now: number): boolean {
  return now >= start - SKEW_MS && now < end + SKEW_MS;
}

/** What the store knows when it applies an entry. */
export interface Terms {
  readonly limit: bigint;
  readonly hard: boolean;
  /** The lease is not fenced. */
  readonly live: boolean;
  /** The window is open by the store's clock, give or take SKEW_MS. */
  readonly open: boolean;
  /** The store's clock. */
  readonly now: number;
}

export interface Applied {
  readonly account: AccountState;
  readonly slice: SliceState;
  readonly granted: Granted;
}

export const NEW_ACCOUNT: AccountState = { committed: 0n, settled: 0n, overrun: 0n, pressedUntil: 0 };
const NEW_SLICE: SliceState = { amount: 0, spent: 0 };

/** The rule by which the store answers one entry of a turn. Pure; both databases and the simulation run it. */
export function applyEntry(
  account: AccountState,
  slice: SliceState | undefined,
  entry: TurnEntry,
  terms: Terms,
): Applied {
  const before = slice ?? NEW_SLICE;
  const amount = amountFor(account, before, entry, terms);
  const committed = account.committed + BigInt(amount - before.amount);
  const short = terms.hard && terms.live && amount < entry.need;
  const past = terms.hard && amount > before.amount && committed > terms.limit ? committed - terms.limit : 0n;
  const after: AccountState = {
    committed,
    settled: account.settled + BigInt(entry.spent - before.spent),
    overrun: past > account.overrun ? past : account.overrun,
    pressedUntil: short ? terms.now + PRESSED_MS : account.pressedUntil,
  };
  return {
    account: after,
    slice: { amount, spent: entry.spent },
    granted: grantedOf(after, { amount, spent: entry.spent }, terms),
  };
}

/** A soft budget's slices are counted like a hard one's, without a limit: it can become hard at any time. */
function amountFor(account: AccountState, before: SliceState, entry: TurnEntry, terms: Terms): number {
  const may = terms.live && terms.open;
  const room = terms.hard ? before.amount + (may ? leftOf(account, terms.limit) : 0) : MAX_SLICE;
  return Math.max(Math.min(entry.want, room, MAX_SLICE), entry.spent + entry.held);
}

function grantedOf(account: AccountState, slice: SliceState, terms: Terms): Granted {
  return {
    amount: slice.amount,
    left: terms.hard ? leftOf(account, terms.limit) : MAX_SLICE,
    open: account.committed - account.settled > BigInt(slice.amount - slice.spent),
    pressed: account.pressedUntil > terms.now,
    closed: !terms.open,
  };
}

function leftOf(account: AccountState, limit: bigint): number {
  const left = limit - account.committed;
  return left <= 0n ? 0 : left >= BigInt(MAX_SLICE) ? MAX_SLICE : Number(left);
}

/**
 * What evidence says a fenced lease's slice really cost. `spent` only: the log shows at least that, and the rest stays
 * unresolved. With `whole`, it is all that was spent, and the rest returns to the budget.
 */
export function applyEvidence(
  account: AccountState,
  slice: SliceState,
  spent: number,
  whole: boolean,
  limit: bigint,
): Applied {
  const known = whole ? spent : Math.max(slice.spent, Math.min(spent, slice.amount));
  const amount = whole ? spent : slice.amount;
  const committed = account.committed + BigInt(amount - slice.amount);
  const past = committed > limit && amount > slice.amount ? committed - limit : 0n;
  const after: AccountState = {
    ...account,
    committed,
    settled: account.settled + BigInt(known - slice.spent),
    overrun: past > account.overrun ? past : account.overrun,
  };
  const terms: Terms = { limit, hard: true, live: false, open: false, now: 0 };
  return {
    account: after,
    slice: { amount, spent: known },
    granted: grantedOf(after, { amount, spent: known }, terms),
  };
}

/** The answer to the last turn of a lease, said again. */
export const CLOSED: TurnReply = { kind: 'done', fenced: false, granted: [] };

/** A lease that ran out: its node is dead, or cut off. */
export interface FencedLease {
  readonly lease: string;
  readonly node: string;
  readonly fencedAt: number;
}

/** What a fenced lease still holds of one account. */
export interface Unresolved extends AccountKey {
  readonly lease: string;
  readonly node: string;
  readonly fencedAt: number;
  readonly amount: number;
  readonly spent: number;
}

/** Where escrow is kept. store.ts is the real one; the simulation has its own. */
export interface EscrowStore {
  /** Durable when it resolves. Rejects when it may or may not have been done. */
  turn(request: TurnRequest): Promise<TurnReply>;
  /** Fences the leases that have run out and tells which. */
  fence(): Promise<readonly FencedLease[]>;
  /** Enters what the usage log shows as settled by a fenced lease, in nano-dollars by account. */
  reconcile(lease: string, spent: readonly (AccountKey & { readonly spent: number })[]): Promise<void>;
}

/** The parts of a budget that escrow needs. */
export interface EscrowBudget {
  readonly id: string;
  readonly period: Period;
  readonly enforcement: 'hard' | 'soft';
}
