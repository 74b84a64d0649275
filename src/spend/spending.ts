// Spending: what a call may cost is reserved in every budget above it before it is sent, and what it did cost is charged
// when it is over. This joins the budgets (budgets/), the prices (prices/), the bound of a call (bound/) and escrow.
//
// While there is no budget in the installation, and every organization is declared post-paid, nothing of this runs, and
// the price list is not even read.
//
// What is charged. The cost of the usage that the provider stated, or that a tokenizer counted, at the prices that held
// when the call arrived, of the model and tier that served it. A call that never reached a provider, or that it refused,
// costs nothing. A call that was sent and broken off from here before anything of its answer was seen is charged all
// that it reserved where a hard budget applies: the provider may bill any of it, and a hard limit counts what may be.

import type { Clock } from '../platform/clock.ts';
import type { ApiError } from '../platform/errors.ts';
import type { KeyId, OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Change, Store } from '../store/store.ts';
import { type BodyBound, boundOfBody, boundOnModel, type CallBody } from './bound/bound.ts';
import { showsAll } from './bound/visible.ts';
import { BudgetDirectory } from './budgets/directory.ts';
import type { Budget } from './budgets/model.ts';
import { allBudgets, readBudgets } from './budgets/store.ts';
import { declared } from './credits/store.ts';
import type { Purse } from './escrow/account.ts';
import type { Hold, Refusal, Unavailable } from './escrow/answers.ts';
import type { Escrow } from './escrow/escrow.ts';
import { ExcessWatch } from './escrow/excess.ts';
import type { Rates } from './prices/rates.ts';
import type { PriceTable } from './prices/table.ts';
import { limitReached, limitsUnknown, undeclared, unpriced } from './refusal.ts';
import { type Ended, meets, Reservation, type Steps } from './reservation.ts';
import { type Candidate, type Serving, Servings } from './servings.ts';
import type { EventSpend } from './usage.ts';

/** A call waits so long for a slice of its budgets, in milliseconds. */
const WAIT_MS = 5_000;
/** More than any slice: escrow refuses it at once. */
const BEYOND = Number.MAX_SAFE_INTEGER;
/** What a call holds at most in budgets that are only soft: a thousand dollars. */
const SOFT_MOST = 10 ** 12;
/** Budgets read again in one query. */
const GROUP = 500;
/** Keys and end users whose budgets are remembered. */
const KNOWN_MOST = 10_000;
/** What a provider may write before it notices that it is to stop, and what is on its way. */
export const LEAD_TOKENS = 1_024;
/** A reply without a bound is reserved by so many tokens at a time. */
const STEP_TOKENS = 1_024;

export interface SpendingRules {
  /** How an organization pays that did not say so itself. */
  readonly account: 'prepaid' | 'postpaid';
  /** What happens to a call of a model without a price where a hard budget applies. */
  readonly unpriced: 'refuse' | 'count';
  /** Tokens of a reply to a call that does not say how long it may be, where a hard budget applies. */
  readonly replyTokens: number;
  /** What becomes of a streamed reply that nobody bounded: it gets a bound, or is stopped when the limits bear no more. */
  readonly unboundedReplies: 'bound' | 'stop';
  /** Models whose streams show all that they write, beside those that are known for it. */
  readonly stopModels: readonly string[];
}

/** A call before it is sent. */
export interface SpendCall {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId;
  readonly keyId: KeyId;
  readonly serviceAccountId: string | null;
  /** The groups of the key's owner: the same list until they change. */
  readonly groupIds: readonly string[];
  readonly endUser: string | null;
  /** The reply is asked for as a stream. */
  readonly stream: boolean;
  /** When it arrived, milliseconds since the epoch: decides prices and windows. */
  readonly at: number;
  readonly body: CallBody;
  readonly targets: readonly Candidate[];
}

/** A reservation; null: no budget applies, or the call costs nothing. */
export type Reserved = Reservation | ApiError | null;

export interface SpendingOptions {
  readonly rules: SpendingRules;
  readonly escrow: Escrow<Budget>;
  readonly clock: Clock;
  /** Whether any provider is configured: the sandbox alone costs nothing. */
  readonly paid: boolean;
  readonly prices: () => Promise<PriceTable>;
  /** The price lists' name of a provider, by the administrator's own name for it. */
  readonly listName: (table: PriceTable, provider: string) => string;
  /** Told of each call that a hard limit refused; must not throw. */
  readonly onRefused?: (refusal: Refusal<Budget>, at: number) => void;
}

/** What is above a call: found once for each key and end user, and again when a budget changes. */
interface Above {
  /** Of its budgets, the organization's first. */
  readonly purses: readonly Purse<Budget>[];
  /** One of them is hard. */
  readonly hard: boolean;
  readonly countsEndUser: boolean;
  readonly countsGroups: boolean;
}

/** What is above the calls of one key, as long as its owner is in these groups. */
interface Known {
  readonly groups: readonly string[];
  readonly byEndUser: Map<string, Above>;
}

/** The most that a call can cost, and how it is kept to that. */
interface Most {
  /** Nano-dollars. */
  worst: number;
  /** The bound of a reply that it must be sent on with; null: none. */
  readonly replyTokens: number | null;
  readonly steps: Steps | null;
}

export class Spending {
  /** Whether there is anything to ask: the one thing that the road looks at while there is not. */
  active = false;
  readonly budgets = new BudgetDirectory();
  readonly excess = new ExcessWatch();
  /** What calls were charged, in nano-dollars; those above which there is a budget. */
  settled = 0;
  private readonly options: SpendingOptions;
  private readonly known = new Map<string, Known>();
  /** Keys and end users in `known`. */
  private knownCount = 0;
  /** Organizations that pay in a way that nobody declared. */
  private undeclared: ReadonlySet<string> = new Set();
  private prices: Servings | null = null;
  private loadedAt = 0;

  constructor(options: SpendingOptions) {
    this.options = options;
  }

  /** Reads every budget. Call once, before `follow`. */
  async load(store: Store): Promise<void> {
    this.loadedAt = await store.lastChange();
    for await (const page of allBudgets(store.db)) for (const budget of page) this.budgets.set(budget);
    await this.learnBilling(store);
    await this.arm();
  }

  /** Whether the paid calls of any organization are refused, because nobody said how they are paid. */
  get undeclaredAny(): boolean {
    return this.undeclared.size > 0;
  }

  /** Keeps current until the returned function is called. */
  follow(store: Store): () => Promise<void> {
    return store.follow(this.loadedAt, (changes) => this.take(store, changes));
  }

  /**
   * Reserves what the call may cost.
   * @param done called once, later, if this returns undefined: slices have to be fetched first
   */
  reserve(call: SpendCall, done: (reserved: Reserved) => void): Reserved | undefined {
    const { escrow, clock } = this.options;
    const above = this.above(call);
    const unpaid = this.undeclared.size > 0 && this.undeclared.has(call.organizationId);
    if (above.purses.length === 0 && !unpaid) return null;
    const servings = this.servings(call);
    if (servings.every(isFree)) return null;
    if (unpaid) return undeclared();
    const { hard, purses } = above;
    if (hard && this.options.rules.unpriced === 'refuse') {
      const without = servings.find(({ rates }) => rates === null || !meets(rates, call.body.meter));
      if (without !== undefined)
        return unpriced(without.model, without.priced === null ? null : tierOf(call));
    }
    const most = this.worst(call, servings, hard);
    // A soft limit bears anything; what it bears is summed in doubles.
    if (!hard) most.worst = Math.min(most.worst, SOFT_MOST);
    const mono = clock.monotonic();
    const result = escrow.reserve(purses, most.worst, call.at, mono);
    if (result !== 'later') return this.answer(call, above, servings, most, result);
    escrow.wait(purses, most.worst, call.at, mono, WAIT_MS, (later) =>
      done(this.answer(call, above, servings, most, later)),
    );
    return undefined;
  }

  private answer(
    { at, body, endUser, groupIds }: SpendCall,
    { hard, countsEndUser, countsGroups }: Above,
    servings: readonly Serving[],
    { worst, replyTokens, steps }: Most,
    result: Hold | Refusal<Budget> | Unavailable,
  ): Reservation | ApiError {
    if (result.kind === 'refused') {
      this.options.onRefused?.(result, at);
      return limitReached(result, worst);
    }
    if (result.kind === 'unavailable') return limitsUnknown(result);
    return new Reservation(
      servings,
      body.meter,
      result,
      hard ? replyTokens : null,
      countsEndUser ? endUser : null,
      countsGroups ? groupIds : null,
      steps,
    );
  }

  /** The call is over: charges what it cost, and gives back the rest. */
  settle(reservation: Reservation, ended: Ended): EventSpend {
    const { hold } = reservation;
    const spend = reservation.cost(ended);
    if (hold.over) return spend;
    this.settled += spend.cost;
    const hard = hold.accounts.some(({ hard }) => hard);
    const may = hard && ended.stopped ? this.costOfStopped(reservation, ended, spend.cost) : spend.cost;
    const charged = hard && ended.unseen ? Math.max(hold.worst, may) : may;
    const excess = this.options.escrow.settle(hold, charged);
    if (excess > 0) this.excess.note(ended.model, hold.worst, spend.cost);
    return spend;
  }

  /**
   * Sees to it that what a running reply may still write is reserved: LEAD_TOKENS beyond the `written` ones. `later`: not
   * yet, and there is no room for more until then; `refused`: the reply must be stopped.
   */
  cover(reservation: Reservation, written: number): 'covered' | 'later' | 'refused' {
    const { steps, hold } = reservation;
    if (steps === null || hold.over || steps.tokens >= steps.most) return 'covered';
    const needed = written + LEAD_TOKENS;
    if (steps.tokens - needed >= STEP_TOKENS) return 'covered';
    const tokens = Math.min(Math.max(steps.tokens, needed) + STEP_TOKENS, steps.most);
    const more = steps.nanoFor(tokens) - hold.worst;
    const { escrow, clock } = this.options;
    const answer = more <= 0 ? 'held' : escrow.extend(hold, more, clock.now(), clock.monotonic());
    if (answer === 'held') steps.tokens = tokens;
    return answer === 'held' || steps.tokens >= needed ? 'covered' : answer;
  }

  /** Until the provider noticed it may have written what was reserved beyond what was seen. */
  private costOfStopped(reservation: Reservation, ended: Ended, cost: number): number {
    if (ended.usage === null) return reservation.hold.worst;
    const usage = { ...ended.usage, output: ended.usage.output + LEAD_TOKENS };
    return Math.max(cost, Math.min(reservation.hold.worst, reservation.cost({ ...ended, usage }).cost));
  }

  /** The call was not sent. */
  release({ hold }: Reservation): void {
    if (!hold.over) this.options.escrow.release(hold);
  }

  private above(call: SpendCall): Above {
    const { keyId, groupIds } = call;
    let known = this.known.get(keyId);
    if (known === undefined || known.groups !== groupIds) {
      known = { groups: groupIds, byEndUser: new Map() };
      this.known.set(keyId, known);
    }
    const endUser = call.endUser ?? '';
    return known.byEndUser.get(endUser) ?? this.lookAbove(call, known, endUser);
  }

  private lookAbove(call: SpendCall, known: Known, endUser: string): Above {
    const applying = this.budgets.applying(call);
    const above = {
      purses: applying.map(({ budget, subject }) => this.options.escrow.purse(budget, subject)),
      hard: applying.some(({ budget }) => budget.enforcement === 'hard'),
      countsEndUser: applying.some(({ budget }) => budget.scope === 'end_user'),
      countsGroups: applying.some(({ budget }) => budget.scope === 'group'),
    };
    // End users are named by callers, as many as they like.
    if (++this.knownCount > KNOWN_MOST) this.forget();
    else known.byEndUser.set(endUser, above);
    return above;
  }

  private forget(): void {
    this.known.clear();
    this.knownCount = 0;
  }

  private servings({ targets, at, body }: SpendCall): readonly Serving[] {
    const { prices } = this;
    if (prices === null) throw new Error('spending before the prices were read');
    const asked = body.json?.['service_tier'];
    const tier = typeof asked === 'string' ? asked : '';
    const servings: Serving[] = [];
    for (const target of targets) servings.push(prices.of(target, tier, at));
    return servings;
  }

  /** The most that any of the models may cost, and the least bound on the reply that holds for all of them. */
  private worst({ body, stream }: SpendCall, servings: readonly Serving[], hard: boolean): Most {
    const bound: BodyBound = boundOfBody(body);
    if (hard && stream && this.canStop(bound, servings)) return this.firstStep(bound, servings);
    let worst = 0;
    let replyTokens: number | null = null;
    for (const { model, rates, limits } of servings) {
      const most = boundOnModel(bound, limits, this.options.rules.replyTokens);
      if (most.replyTokens !== null)
        replyTokens = replyTokens === null ? most.replyTokens : Math.min(replyTokens, most.replyTokens);
      if (rates !== null) worst = Math.max(worst, this.excess.raised(model, worstOf(rates, most)));
    }
    return { worst, replyTokens, steps: null };
  }

  /** Whether a reply without a bound can be told while it runs, and the administrator wants it stopped. */
  private canStop({ meter, reply, speaks }: BodyBound, servings: readonly Serving[]): boolean {
    const { unboundedReplies, stopModels } = this.options.rules;
    if (unboundedReplies !== 'stop' || reply !== null || speaks) return false;
    if (meter !== 'chat' && meter !== 'responses') return false;
    return servings.every(({ model, rates }) => rates !== null && showsAll(model, stopModels));
  }

  private firstStep(bound: BodyBound, servings: readonly Serving[]): Most {
    const bounds = servings.map(({ model, rates, limits }) => ({
      model,
      rates,
      most: boundOnModel(bound, limits, Number.MAX_SAFE_INTEGER),
    }));
    const nanoFor = (tokens: number): number => {
      let worst = 0;
      for (const { model, rates, most } of bounds) {
        if (rates === null) continue;
        const output = Math.min(tokens + bound.prediction, most.output);
        worst = Math.max(worst, this.excess.raised(model, worstOf(rates, { ...most, output })));
      }
      return worst;
    };
    const most = Math.max(...bounds.map((each) => each.most.output));
    const tokens = Math.min(LEAD_TOKENS + STEP_TOKENS, most);
    return { worst: nanoFor(tokens), replyTokens: null, steps: { tokens, most, nanoFor } };
  }

  private async take(store: Store, changes: readonly Change[]): Promise<void> {
    const ids = [...new Set(changes.filter(({ kind }) => kind === 'budget').map(({ objectId }) => objectId))];
    for (let at = 0; at < ids.length; at += GROUP) {
      const group = ids.slice(at, at + GROUP);
      const read = await readBudgets(store.db, group);
      const there = new Set<string>(read.map(({ id }) => id));
      for (const id of group) if (!there.has(id)) this.budgets.delete(id as Budget['id']);
      for (const budget of read) this.budgets.set(budget);
    }
    if (ids.length > 0) this.forget();
    if (changes.some(({ kind }) => kind === 'credit_account' || kind === 'organization'))
      await this.learnBilling(store);
    await this.arm(changes.some(({ kind }) => kind === 'price_list'));
  }

  private async learnBilling(store: Store): Promise<void> {
    if (!this.options.paid || this.options.rules.account === 'postpaid') return;
    const said = await declared(store.db);
    const rows = await store.db.selectFrom('organizations').select('id').execute();
    this.undeclared = new Set(rows.map(({ id }) => id).filter((id) => !said.has(id)));
  }

  /** Prices are there before the first budget applies. */
  private async arm(repriced = false): Promise<void> {
    const needed = this.budgets.size > 0 || this.undeclared.size > 0;
    if (!needed) this.prices = null;
    else if (repriced || this.prices === null)
      this.prices = new Servings(await this.options.prices(), this.options.listName);
    this.active = needed;
  }
}

function tierOf({ body }: SpendCall): string | null {
  const asked = body.json?.['service_tier'];
  return typeof asked === 'string' ? asked.slice(0, 64) : null;
}

function isFree({ rates }: Serving): boolean {
  return rates?.free === true;
}

function worstOf(rates: Rates, bound: Parameters<Rates['worstCase']>[0]): number {
  try {
    return rates.worstCase(bound);
  } catch (error) {
    if (error instanceof RangeError) return BEYOND;
    throw error;
  }
}
