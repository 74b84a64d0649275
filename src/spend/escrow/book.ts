// The accounts of one lease, and its turns: what to say next, and what an answer means. It does no input or output and
// reads no clock; whoever drives it (keep.ts, or the simulation) does.

import { windowAt } from '../budgets/window.ts';
import { Account, type Purse } from './account.ts';
import { MAX_SLICE, type TurnReply, type TurnRequest, VALID_MS } from './protocol.ts';

/** Accounts in one turn at most: it is one transaction. */
const MAX_ENTRIES = 500;
/** Accounts that one lease remembers; beyond, a new lease is begun. */
const MAX_REMEMBERED = 20_000;
/** How often every account is looked at, in milliseconds, and how many at a time. */
const REVIEW_MS = 900;
const MAX_REVIEWED = 5_000;
/** A lease is renewed this long before it would lapse, in milliseconds. */
const RENEW_BEFORE_MS = VALID_MS / 2;

export interface Turn {
  readonly book: Book;
  readonly request: TurnRequest;
  readonly accounts: readonly Account[];
  /** When it was sent, by the monotonic and the wall clock: the lease is good from then. */
  readonly mono: number;
  readonly wall: number;
}

export class Book {
  readonly lease: string;
  readonly node: string;
  /** Until then its slices may be used. */
  private validMono = 0;
  private validWall = 0;
  /** It takes no new calls: its lease was fenced or is being given up. Calls under way are still settled in it. */
  retired = false;
  /** The store takes what is reported under it, and grants nothing more. */
  fenced = false;
  /** The store does not know it any more: nothing can be had under it. */
  lost = false;
  readonly accounts = new Map<string, Account>();
  /** What was spent in accounts that hold nothing now, by name. */
  private readonly quiet = new Map<string, number>();
  private readonly wanted: () => void;
  private due: Account[] = [];
  private seq = 0;
  private reviewing: MapIterator<Account> | null = null;
  private reviewedAt = Number.NEGATIVE_INFINITY;
  private opened = false;
  /** The most that was spent in one account. */
  private most = 0;

  /** @param wanted called when a turn should be sent soon */
  constructor(lease: string, node: string, wanted: () => void) {
    this.lease = lease;
    this.node = node;
    this.wanted = wanted;
  }

  /**
   * Whether its slices may be used. By the wall clock too, because a virtual machine that was suspended does not see
   * that its monotonic clock stood still.
   */
  valid(mono: number, wall: number): boolean {
    return mono < this.validMono && wall < this.validWall;
  }

  /** The account of the window that `wall` is in, opened if need be. */
  account(purse: Purse, wall: number, mono: number): Account {
    const { start, end } = windowAt(purse.budget.period, wall);
    const key = `${purse.budget.id}\n${purse.subject}\n${start}`;
    let account = this.accounts.get(key);
    if (account === undefined) {
      account = new Account(purse, this, key, { start, end }, this.quiet.get(key) ?? 0, mono);
      this.quiet.delete(key);
      this.accounts.set(key, account);
    }
    return account;
  }

  /** Puts an account on the list for the next turn. */
  want(account: Account): void {
    if (!account.due) {
      account.due = true;
      this.due.push(account);
    }
    this.wanted();
  }

  /** Whether the next turn should not wait for a call to ask for it. */
  get anythingDue(): boolean {
    return this.due.length > 0 || (this.retired && this.opened && this.accounts.size === 0);
  }

  /** It should be replaced: it remembers many accounts, or amounts that grow too large for a double. */
  get worn(): boolean {
    return this.accounts.size + this.quiet.size > MAX_REMEMBERED || this.most > MAX_SLICE / 2;
  }

  private mustRenew(mono: number): boolean {
    return !this.fenced && this.accounts.size > 0 && mono >= this.validMono - RENEW_BEFORE_MS;
  }

  /** The next turn to send, or null. */
  next(mono: number, wall: number): Turn | null {
    if (!this.anythingDue && !this.mustRenew(mono)) return null;
    const accounts = this.due.splice(0, MAX_ENTRIES);
    for (const account of accounts) {
      account.due = false;
      account.asked = true;
    }
    const entries = accounts.map((account) => account.entry(mono));
    const close = this.retired && this.accounts.size === 0;
    const request = {
      lease: this.lease,
      node: this.node,
      seq: ++this.seq,
      entries,
      opened: this.opened,
      close,
    };
    return { book: this, request, accounts, mono, wall };
  }

  /** The answer to a turn. False: the store does not know the lease, and its slices are void. */
  answered(turn: Turn, reply: TurnReply, mono: number): boolean {
    if (reply.kind === 'stale') {
      this.failed(turn);
      return true;
    }
    if (reply.kind === 'unknown') {
      this.accounts.clear();
      this.opened = false;
      this.lost = true;
      return false;
    }
    this.opened = !turn.request.close;
    for (const account of turn.accounts) account.asked = false;
    this.fenced = reply.fenced;
    if (!reply.fenced) {
      this.validMono = turn.mono + VALID_MS;
      this.validWall = turn.wall + VALID_MS;
    }
    for (const [at, account] of turn.accounts.entries()) {
      const entry = turn.request.entries[at];
      const granted = reply.granted[at];
      if (entry === undefined || granted === undefined) continue;
      account.granted(entry, granted, turn.request.seq, mono);
      if (this.retired && account.quiet(mono)) this.forget(account);
    }
    return true;
  }

  /** No answer came: everything is said again. */
  failed(turn: Turn): void {
    for (const account of turn.accounts) {
      account.asked = false;
      this.want(account);
    }
  }

  /** From now on it only settles what is under way, and gives back the rest. */
  retire(): void {
    this.retired = true;
    for (const account of this.accounts.values()) account.retire();
    this.wanted();
  }

  /**
   * To be called a few times a second: each account speaks up about once a second, or is put away. A part of them at a
   * time, so that a hundred thousand do not hold the road up.
   */
  review(mono: number): void {
    this.reviewing ??= mono - this.reviewedAt >= REVIEW_MS ? this.accounts.values() : null;
    if (this.reviewing === null) return;
    for (let some = MAX_REVIEWED; some > 0; some--) {
      const { value: account, done } = this.reviewing.next();
      if (done || account === undefined) {
        this.reviewing = null;
        this.reviewedAt = mono;
        return;
      }
      if (account.spent > this.most) this.most = account.spent;
      if (account.quiet(mono)) this.forget(account);
      else account.review(mono);
    }
  }

  /** Everything was said and answered. */
  get done(): boolean {
    return this.accounts.size === 0 && !this.opened;
  }

  private forget(account: Account): void {
    this.accounts.delete(account.key);
    account.forgotten = true;
    this.quiet.set(account.key, account.spent);
    if (account.purse.account === account) account.purse.account = null;
  }
}
