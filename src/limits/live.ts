// The limits as they hold on this node now: the configuration's table with the rows over it, and where each organization
// stands. Kept current by the store's changes: on the node that makes a change it holds before its author gets the
// answer, on every other within the second that `Store.follow` states.
//
// While the store cannot be read, what is known goes on holding, and the same changes come again until they are in.

import type { Clock } from '../platform/clock.ts';
import type { Change, Store } from '../store/store.ts';
import { tierOfOrganization } from './draw.ts';
import { Overlay } from './overlay.ts';
import { allStandings, noStanding, reachedTier, type Standing, standingsOf } from './standing.ts';
import { allStatements, changedHolders, holderName, type Statement, statementsOf } from './statements.ts';
import type { LimitTables } from './tables.ts';

export interface TierChange {
  readonly organizationId: string;
  readonly from: string;
  readonly to: string;
}

export interface LiveListener {
  /** The limits are others now. */
  changed(): void;
  /** An organization sits in another tier: said once on each node. */
  moved(change: TierChange): void;
}

/** Organizations read in one query. */
const GROUP = 500;

export class LiveLimits {
  private readonly clock: Clock;
  private readonly overlay: Overlay;
  private readonly standings = new Map<string, Standing>();
  private loadedAt = 0;

  /** @param base the table of the configuration */
  constructor(base: LimitTables, clock: Clock) {
    this.clock = clock;
    this.overlay = new Overlay(base);
  }

  /** One object for good; what is in it changes. */
  get tables(): LimitTables {
    return this.overlay.tables;
  }

  /** The tier that an organization reached by itself, for `RateLimits`. */
  readonly tierOf = (organizationId: string): string | undefined => {
    const standing = this.standings.get(organizationId);
    if (standing === undefined) return undefined;
    const { tiers } = this.tables;
    const { reached } = standing;
    if (reached !== null && tiers.some(({ name }) => name === reached)) return reached;
    return reachedTier(tiers, standing, this.clock.now()).name;
  };

  /** The tier whose limits hold for an organization: the pinned one, else the one that it reached. */
  tierNow(organizationId: string): string {
    return tierOfOrganization(this.tables, organizationId, this.tierOf).name;
  }

  standing(organizationId: string): Standing {
    return this.standings.get(organizationId) ?? noStanding(organizationId);
  }

  /** Everybody who has paid, or was pinned. */
  everyStanding(): IterableIterator<Standing> {
    return this.standings.values();
  }

  /** Reads every row. Call once, before `follow`. */
  async load(store: Store): Promise<void> {
    // First the number, then the rows: a change in between is read twice, never missed.
    this.loadedAt = await store.lastChange();
    let open: Statement[] = [];
    for await (const page of allStatements(store.db)) {
      for (const statement of page) {
        const [first] = open;
        if (first !== undefined && holderName(first) !== holderName(statement)) {
          this.overlay.set(first, open);
          open = [];
        }
        open.push(statement);
      }
    }
    const [first] = open;
    if (first !== undefined) this.overlay.set(first, open);
    for await (const page of allStandings(store.db)) for (const standing of page) this.stand(standing);
  }

  /** Keeps current until the returned function is called. */
  follow(store: Store, listener: LiveListener): () => Promise<void> {
    return store.follow(this.loadedAt, (changes) => this.take(store, changes, listener));
  }

  private async take(store: Store, changes: readonly Change[], listener: LiveListener): Promise<void> {
    const holders = changedHolders(changes);
    for (const holder of holders) this.overlay.set(holder, await statementsOf(store.db, holder));
    const organizations = [
      ...new Set(changes.filter(({ kind }) => kind === 'organization').map(({ objectId }) => objectId)),
    ];
    for (let at = 0; at < organizations.length; at += GROUP) {
      for (const standing of await standingsOf(store.db, organizations.slice(at, at + GROUP))) {
        const from = this.tierNow(standing.organizationId);
        this.stand(standing);
        const to = this.tierNow(standing.organizationId);
        if (from !== to) listener.moved({ organizationId: standing.organizationId, from, to });
      }
    }
    if (holders.length > 0 || organizations.length > 0) listener.changed();
  }

  private stand(standing: Standing): void {
    this.standings.set(standing.organizationId, standing);
    this.overlay.pin(standing.organizationId, standing.pinned);
  }
}
