// What one node holds of one budget: a purse for the budget, with an account for each window that has calls. Plain
// numbers, because the road adds to them on every call; all of them are whole nano-dollars below 2^53.

import type { Book } from './book.ts';
import { type EscrowBudget, type Granted, MAX_SLICE, type TurnEntry } from './protocol.ts';
import { Demand } from './sizing.ts';

/** After a call was refused, calls as large are refused without asking the store again, for this long. */
const DENIED_MS = 500;
/** Without a call for this long, an account gives back all that it holds. */
const IDLE_MS = 10_000;

/** One budget (for one subject) on this node. Callers keep it and hand it to `reserve`. */
export class Purse<B extends EscrowBudget = EscrowBudget> {
  /** The budget; its limit is the store's business, the period and enforcement decide here. */
  budget: B;
  readonly subject: string;
  /** The account of the window that was last asked for. */
  account: Account | null = null;

  constructor(budget: B, subject: string) {
    this.budget = budget;
    this.subject = subject;
  }
}

export class Account {
  /** Of the purses for this budget, the one that was used last. */
  purse: Purse;
  readonly book: Book;
  readonly windowStart: number;
  readonly windowEnd: number;
  /** Its name in the book. */
  readonly key: string;

  /** This node may have spent and reserved so much. */
  amount: number;
  spent: number;
  held = 0;
  /** Worst cases of the calls that wait for a turn. */
  waiting = 0;
  /** What a running call asked for and could not have at once. */
  wish = 0;
  /** With less than this free, more is asked for. */
  low = 0;
  /** What no node holds, as the store last said. */
  left = 0;
  open = false;
  /** The store does not let this window grow: by its clock it is not open. */
  closedThere = false;
  /** On the book's list for the next turn. */
  due = false;
  /** In the turn that is under way. */
  asked = false;
  /** Its book has put it away: a purse that still points to it has to open the account again. */
  forgotten = false;
  /** The number of the turn that last answered for it. */
  answered = 0;
  /** What the store last said that it holds: more than `amount` while something is being given back. */
  private there: number;
  /** The largest worst case among the calls that had to wait since the last turn. */
  private waitingMost = 0;
  private deniedUntil = 0;
  private usedAt: number;
  private reported: number;
  private pressed = false;
  private readonly demand: Demand;

  /** @param spent what was settled in this window under this lease before */
  constructor(
    purse: Purse,
    book: Book,
    key: string,
    window: { start: number; end: number },
    spent: number,
    mono: number,
  ) {
    this.purse = purse;
    this.book = book;
    this.key = key;
    this.windowStart = window.start;
    this.windowEnd = window.end;
    this.amount = spent;
    this.there = spent;
    this.spent = spent;
    this.reported = spent;
    this.usedAt = mono;
    this.demand = new Demand(spent, mono);
  }

  get hard(): boolean {
    return this.purse.budget.enforcement === 'hard';
  }

  get free(): number {
    return this.amount - this.spent - this.held;
  }

  /** Whether a call of `worst` can have it now. A soft budget only counts. */
  bears(worst: number): boolean {
    return !this.hard || (this.amount - this.spent - this.held >= worst && this.waiting === 0);
  }

  reserve(worst: number, mono: number): void {
    this.held += worst;
    this.usedAt = mono;
    if (!this.hard) return;
    this.demand.reserved(worst, this.held);
    if (this.amount - this.spent - this.held < this.low && !this.due) this.book.want(this);
  }

  settle(worst: number, actual: number): void {
    this.held -= worst;
    this.spent += actual;
    // More was billed than reserved and the slice does not bear it: the budget has to, before anything else.
    const overdrawn = this.hard && this.spent + this.held > this.amount;
    if (overdrawn || this.book.retired) this.book.want(this);
  }

  /** A call waits for `worst`. */
  await(worst: number, mono: number): void {
    this.waiting += worst;
    if (worst > this.waitingMost) this.waitingMost = worst;
    this.usedAt = mono;
  }

  /** Whether the store has just said that there is not enough for a call of `worst`. */
  denies(worst: number, mono: number): boolean {
    return mono < this.deniedUntil && worst > this.free - this.waiting + this.left;
  }

  /** Its entry in a turn. What it offers to give back, it stops using now. */
  entry(mono: number): TurnEntry {
    if (this.waiting > 0 || this.free < this.low) this.demand.ranLow(this.waitingMost, mono);
    this.waitingMost = 0;
    this.demand.observe(this.spent, this.held, mono);
    const used = this.spent + this.held;
    // A retired lease takes no new calls, but what runs under it may still need more.
    const need = used + this.wish + (this.book.retired ? 0 : this.waiting);
    const want = Math.max(
      used,
      Math.min(Math.max(need + this.ahead(mono), this.kept(need, mono)), MAX_SLICE),
    );
    if (this.hard && want < this.amount) this.amount = want;
    return {
      budgetId: this.purse.budget.id,
      subject: this.purse.subject,
      windowStart: this.windowStart,
      spent: this.spent,
      held: this.held,
      want,
      need,
    };
  }

  /** Takes the store's answer to `entry`. */
  granted(entry: TurnEntry, granted: Granted, seq: number, mono: number): void {
    this.answered = seq;
    this.demand.granted(mono);
    this.reported = entry.spent;
    this.left = granted.left;
    this.open = granted.open;
    this.pressed = granted.pressed;
    this.closedThere = granted.closed;
    const most = this.book.retired ? this.spent + this.held + this.wish : Number.POSITIVE_INFINITY;
    this.wish = 0;
    this.there = granted.amount;
    this.amount = Math.min(granted.amount, most);
    if (this.hard && granted.amount < entry.need) this.deniedUntil = mono + DENIED_MS;
    this.low = Math.floor(this.ahead(mono) / 2);
    const overdrawn = this.free < 0;
    const wantedElsewhere = this.pressed && this.free > this.waiting;
    const toGiveBack = this.amount < this.there;
    if ((this.hard && (overdrawn || wantedElsewhere)) || toGiveBack) this.book.want(this);
  }

  /** Once in a while: whether a turn should say something about it that no call will bring up. */
  review(mono: number): void {
    if (this.due) return;
    this.demand.observe(this.spent, this.held, mono);
    // What is held ahead is mentioned every time, to hear whether another node needs it.
    if (this.spent !== this.reported || (this.hard && this.free > 0)) this.book.want(this);
  }

  /** Takes no more calls: what it holds beyond those under way goes back with the next turn. */
  retire(): void {
    this.amount = Math.min(this.amount, this.spent + this.held);
    this.book.want(this);
  }

  /** Nothing is held, and the store knows all that was spent: it need not be remembered but for that. */
  quiet(mono: number): boolean {
    const settled = this.held === 0 && this.waiting === 0 && !this.due && !this.asked;
    const said = this.there === this.spent && this.reported === this.spent;
    return settled && said && this.amount === this.spent && this.idle(mono);
  }

  private idle(mono: number): boolean {
    return this.book.retired || (this.held === 0 && this.waiting === 0 && mono - this.usedAt >= IDLE_MS);
  }

  private ahead(mono: number): number {
    return this.mayHoldAhead(mono) ? this.demand.ahead(this.held, this.left) : 0;
  }

  /** What it has, it keeps while it is used and nobody is short of it: given back, it would be fetched again. */
  private kept(need: number, mono: number): number {
    return this.mayHoldAhead(mono) ? Math.min(this.amount, need + this.demand.most(this.left)) : 0;
  }

  private mayHoldAhead(mono: number): boolean {
    return this.hard && !this.pressed && !this.idle(mono);
  }
}
