// The road's side of escrow: reserve before a call is forwarded, settle when it is over. Everything here is in memory
// and synchronous; protocol.ts says how it is kept true across nodes and crashes, keep.ts speaks to the store.

import { type Account, Purse } from './account.ts';
import { Hold, type Refusal, refusal, type Unavailable, type Waiter } from './answers.ts';
import { Book, type Turn } from './book.ts';
import { type EscrowBudget, MAX_SLICE, type TurnReply } from './protocol.ts';

/** Calls that wait for a turn at once, at most; beyond, a call is told that it cannot be served now. */
const MAX_WAITING = 10_000;
/** How often purses that are not used are forgotten, in milliseconds. */
const SWEEP_MS = 10_000;

/** The budgets of one node. `B` is the budget as the caller knows it, and comes back in refusals. */
export class Escrow<B extends EscrowBudget = EscrowBudget> {
  /** Nano-dollars that providers billed beyond what was reserved, since the start. */
  excess = 0;
  /** Nano-dollars settled under leases that the store did not know any more. */
  lost = 0;
  /** Called when a turn should be sent soon; set by whoever drives this. */
  onWanted: () => void = () => {};

  private readonly node: string;
  private readonly newLease: () => string;
  private readonly purses = new Map<string, Purse<B>>();
  private book: Book;
  /** Books of earlier leases that still have calls under way. */
  private retired: Book[] = [];
  /** In the order in which they came. */
  private readonly waiters = new Set<Waiter<B>>();
  private inFlight: Turn | null = null;
  private stopping = false;
  private sweptAt = 0;

  /** @param newLease makes a name that no other life of any node has */
  constructor(node: string, newLease: () => string) {
    this.node = node;
    this.newLease = newLease;
    this.book = this.newBook();
  }

  /**
   * The purse of a budget: keep it and hand it to `reserve`, until the budget changes. One that was not used for a while is
   * forgotten here, and another is made for whoever asks; both lead to the same account.
   */
  purse(budget: B, subject = ''): Purse<B> {
    const key = `${budget.id}\n${subject}`;
    let purse = this.purses.get(key);
    if (purse === undefined) {
      purse = new Purse(budget, subject);
      this.purses.set(key, purse);
    }
    purse.budget = budget;
    return purse;
  }

  /**
   * Reserves `worst` in all the budgets, or in none. `later`: a slice has to be fetched first, call `wait`.
   * @param worst the most that the call can cost, in whole nano-dollars
   * @param wall when the call arrived, milliseconds since the epoch: decides the windows
   * @param mono the monotonic clock now
   */
  reserve(
    purses: readonly Purse<B>[],
    worst: number,
    wall: number,
    mono: number,
  ): Hold | Refusal<B> | 'later' {
    if (!Number.isSafeInteger(worst) || worst < 0)
      throw new RangeError(`${worst} is not an amount of nano-dollars`);
    const accounts = new Array<Account>(purses.length);
    const valid = this.book.valid(mono, wall);
    for (let at = 0; at < purses.length; at++) {
      const purse = purses[at] as Purse<B>;
      let account = purse.account;
      if (
        account === null ||
        wall >= account.windowEnd ||
        wall < account.windowStart ||
        account.book !== this.book ||
        account.forgotten
      ) {
        account = this.open(purse, wall, mono);
      }
      accounts[at] = account;
      if (!account.bears(worst) || (!valid && account.hard)) return this.short(purse, account, worst, mono);
    }
    for (const account of accounts) account.reserve(worst, mono);
    return new Hold(accounts, worst);
  }

  /**
   * After `later`: calls `done` once, when the slices are there, when a budget refuses, or after `waitMs`. Calls are
   * served in the order in which they came.
   */
  wait(
    purses: readonly Purse<B>[],
    worst: number,
    wall: number,
    mono: number,
    waitMs: number,
    done: (result: Hold | Refusal<B> | Unavailable) => void,
  ): void {
    if (this.waiters.size >= MAX_WAITING || this.stopping) {
      done({ kind: 'unavailable', reason: 'busy' });
      return;
    }
    const waiter: Waiter<B> = {
      purses,
      worst,
      wall,
      deadline: mono + waitMs,
      done,
      accounts: [],
      turn: null,
    };
    this.waiters.add(waiter);
    this.queue(waiter, mono);
  }

  /**
   * The call is over and cost `actual`. Gives back what it did not use.
   * @returns what was billed beyond the reservation, in nano-dollars: 0, unless the bound was wrong
   */
  settle(hold: Hold, actual: number): number {
    if (!Number.isSafeInteger(actual) || actual < 0)
      throw new RangeError(`${actual} is not an amount of nano-dollars`);
    if (hold.over) throw new Error('a call is settled once');
    hold.over = true;
    for (const account of hold.accounts) account.settle(hold.worst, actual);
    if (actual <= hold.worst) return 0;
    this.excess += actual - hold.worst;
    return actual - hold.worst;
  }

  /** The call cost nothing: it never reached a provider. */
  release(hold: Hold): void {
    this.settle(hold, 0);
  }

  /**
   * Reserves `more` for a call under way, in all its budgets or in none: a stream without a bound asks ahead, bit by
   * bit. `later`: ask again before what is reserved is used up; `refused`: it must be stopped there.
   */
  extend(hold: Hold, more: number, wall: number, mono: number): 'held' | 'later' | 'refused' {
    if (hold.over) throw new Error('a call that is over cannot be extended');
    let answer: 'held' | 'later' | 'refused' = 'held';
    for (const account of hold.accounts) {
      if (!account.hard || (account.free >= more && account.book.valid(mono, wall))) continue;
      // A lease that was lost or fenced gets no more: the call ends with what it has.
      const { lost, fenced } = account.book;
      if (lost || fenced || account.denies(more, mono)) return 'refused';
      account.wish = Math.max(account.wish, more);
      account.book.want(account);
      answer = 'later';
    }
    if (answer !== 'held') return answer;
    for (const account of hold.accounts) account.reserve(more, mono);
    hold.worst += more;
    return answer;
  }

  /** How many calls wait for a slice. */
  get waiting(): number {
    return this.waiters.size;
  }

  // ---- for whoever drives it ----

  /** The next turn to send to the store, or null. One is under way at a time. */
  next(mono: number, wall: number): Turn | null {
    if (this.inFlight !== null) return null;
    for (const book of [this.book, ...this.retired]) {
      const turn = book.next(mono, wall);
      if (turn === null) continue;
      this.inFlight = turn;
      if (book === this.book)
        for (const waiter of this.waiters)
          waiter.turn ??= waiter.accounts.some((account) => account.due) ? null : turn;
      return turn;
    }
    return null;
  }

  /** The store's answer; one that comes after `failed` was called for its turn is ignored. */
  answered(turn: Turn, reply: TurnReply, mono: number): void {
    if (this.inFlight !== turn) return;
    this.inFlight = null;
    const { book } = turn;
    if (!book.answered(turn, reply, mono)) {
      if (!turn.request.close) for (const account of turn.accounts) this.lost += account.spent;
      this.replace(book);
    } else if (reply.kind === 'done' && reply.fenced && !book.retired) this.replace(book);
    this.retired = this.retired.filter((each) => !each.done);
    this.serve(turn, mono);
    if ([this.book, ...this.retired].some((each) => each.anythingDue)) this.onWanted();
  }

  /** The turn's outcome is unknown: it will be said again. */
  failed(turn: Turn): void {
    if (this.inFlight !== turn) return;
    this.inFlight = null;
    turn.book.failed(turn);
    for (const waiter of this.waiters) if (waiter.turn === turn) waiter.turn = null;
  }

  /** To be called a few times a second: lets waiters go that waited too long, and reviews accounts. */
  tick(mono: number): void {
    for (const waiter of this.waiters) {
      if (mono >= waiter.deadline) this.dismiss(waiter, { kind: 'unavailable', reason: 'timeout' });
    }
    for (const book of [this.book, ...this.retired]) book.review(mono);
    if (this.book.worn) this.replace(this.book);
    if (mono - this.sweptAt >= SWEEP_MS) {
      this.sweptAt = mono;
      // The purses of subjects come and go with the callers' end users.
      for (const [key, purse] of this.purses)
        if (purse.subject !== '' && purse.account === null) this.purses.delete(key);
    }
    this.onWanted();
  }

  /** Begins a new lease. The old one ends when its calls are settled: what has to be read of a dead one stays short. */
  renew(): void {
    if (!this.stopping) this.replace(this.book);
  }

  /** Takes no more calls; gives everything back as the calls under way are settled. */
  stop(): void {
    if (this.stopping) return;
    this.stopping = true;
    for (const waiter of this.waiters) this.dismiss(waiter, { kind: 'unavailable', reason: 'busy' });
    this.replace(this.book);
  }

  /** After `stop`: everything was given back and the store has said so. */
  get stopped(): boolean {
    return this.stopping && this.inFlight === null && this.retired.every((book) => book.done);
  }

  /** Every account that is open, for metrics and for checking what must always hold. */
  *accounts(): Generator<Account> {
    for (const book of [this.book, ...this.retired]) yield* book.accounts.values();
  }

  private newBook(): Book {
    return new Book(this.newLease(), this.node, () => this.onWanted());
  }

  private replace(book: Book): void {
    if (book === this.book) {
      this.retired.push(book);
      this.book = this.newBook();
      for (const account of book.accounts.values())
        if (account.purse.account === account) account.purse.account = null;
    }
    book.retire();
    this.retired = this.retired.filter((each) => !each.done);
  }

  private open(purse: Purse<B>, wall: number, mono: number): Account {
    const account = this.book.account(purse, wall, mono);
    account.purse = purse;
    purse.account = account;
    return account;
  }

  private short(purse: Purse<B>, account: Account, worst: number, mono: number): Refusal<B> | 'later' {
    if (worst > MAX_SLICE || account.denies(worst, mono)) return refusal(purse, account);
    return 'later';
  }

  /** Counts a waiter's worst case in its accounts, and asks for what is short. */
  private queue(waiter: Waiter<B>, mono: number): void {
    const valid = this.book.valid(mono, waiter.wall);
    waiter.turn = null;
    waiter.accounts = [];
    for (const purse of waiter.purses) {
      const account = this.open(purse, waiter.wall, mono);
      if (!account.hard) continue;
      if (account.free - account.waiting < waiter.worst || !valid) this.book.want(account);
      account.await(waiter.worst, mono);
      waiter.accounts.push(account);
    }
  }

  private unqueue(waiter: Waiter<B>): void {
    for (const account of waiter.accounts) account.waiting -= waiter.worst;
  }

  private dismiss(waiter: Waiter<B>, result: Hold | Refusal<B> | Unavailable): void {
    this.unqueue(waiter);
    this.waiters.delete(waiter);
    waiter.done(result);
  }

  /** After a turn: every waiter, in order, is served, refused, or goes on waiting. */
  private serve(turn: Turn, mono: number): void {
    if (this.waiters.size === 0) return;
    for (const waiter of this.waiters) this.unqueue(waiter);
    const results: [Waiter<B>, Hold | Refusal<B> | Unavailable][] = [];
    for (const waiter of this.waiters) {
      const result = this.reserve(waiter.purses, waiter.worst, waiter.wall, mono);
      const answer = result === 'later' ? this.denied(waiter, turn) : result;
      if (answer === undefined) this.queue(waiter, mono);
      else results.push([waiter, answer]);
    }
    for (const [waiter] of results) this.waiters.delete(waiter);
    for (const [waiter, answer] of results) waiter.done(answer);
  }

  /** Whether the turn asked for what a waiter needs and did not get it; undefined: not yet. */
  private denied(waiter: Waiter<B>, turn: Turn): Refusal<B> | Unavailable | undefined {
    if (waiter.turn !== turn) return undefined;
    for (const purse of waiter.purses) {
      const { account } = purse;
      if (account === null || !waiter.accounts.includes(account) || account.answered !== turn.request.seq)
        continue;
      if (account.book !== turn.book || account.free - account.waiting >= waiter.worst) continue;
      return account.closedThere ? { kind: 'unavailable', reason: 'clock' } : refusal(purse, account);
    }
    return undefined;
  }
}
