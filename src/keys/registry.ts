// Every usable key of this installation in memory, so that authenticating a call is one digest and one look-up.
//
// Guarantees:
// - A change made on this node (a key issued, changed or revoked, a project archived, a role given or taken) is in effect
//   here before whoever made it gets the answer: `Store.write` waits until its followers, of which this is one, have
//   taken the change in. On other nodes it is in effect within the bound that `Store.follow` states.
// - Changes are taken in one batch at a time and in commit order, each by reading the object again as it is now, so
//   that an older state never overwrites a newer one, and a batch that comes twice does no harm.
// - Expiry is checked at each look-up; an expired key needs no event to stop.
//
// When the store cannot be read, the keys known so far go on working, and the store hands the same changes over
// again until they are in; a revocation made on another node meanwhile is learnt when the store is back.

import { AccessBook } from '../access/book.ts';
import { effectiveRights } from '../access/intersect.ts';
import { NO_RIGHTS } from '../access/permission-names.ts';
import type { Clock } from '../platform/clock.ts';
import { unavailable } from '../platform/errors.ts';
import type { KeyId, OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Change, KeyRow, Store } from '../store/store.ts';
import { digestKey } from './format.ts';
import { LastUsed } from './last-used.ts';
import type { Credential, OrganizationState, Principal, ProjectState } from './model.ts';
import { EntryReader } from './rows.ts';
import { type ExternalKeyState, States } from './states.ts';
import { type CurrentKey, keysById, keysByOwner } from './store.ts';
import { KeyTable, type OwnerAccess, type Profile } from './table.ts';

const FLUSH_MS = 60_000;
/** Objects read again in one query. */
const GROUP = 500;

/** Runs `work` every `ms` milliseconds until the returned function is called. */
export type Every = (ms: number, work: () => void) => () => void;

export interface KeyRegistryOptions {
  readonly clock: Clock;
  /** Told when last-used times could not be written; they are kept and tried again a minute later. */
  readonly onError?: (error: unknown) => void;
  readonly every?: Every;
  /** Without it, a project with an external key does not work. */
  readonly externalKey?: ExternalKeyState;
}

/** Something that knows keys which are not stored as such: access tokens, sessions. */
export interface PrincipalSource {
  find(presented: string, digest: string): Credential | undefined;
}

export class KeyRegistry {
  readonly #clock: Clock;
  readonly #onError: (error: unknown) => void;
  readonly #every: Every;
  /** Who has which roles and is in which groups. */
  readonly access = new AccessBook();
  readonly #keys = new KeyTable((profile, ownerId) => this.#accessOf(profile, ownerId));
  readonly #states: States;
  readonly #reader = new EntryReader();
  #resolved = new WeakMap<Credential, Principal>();
  readonly #lastUsed = new LastUsed();
  readonly #sources: PrincipalSource[] = [];
  #loadedAt = 0;

  constructor(options: KeyRegistryOptions) {
    this.#clock = options.clock;
    this.#onError = options.onError ?? (() => {});
    this.#every = options.every ?? everyMs;
    this.#states = new States(options.externalKey ?? keyless);
  }

  /** How many keys are held. */
  get size(): number {
    return this.#keys.size;
  }

  /** The state of an organization; it goes on being kept current. */
  organizationState(id: OrganizationId): OrganizationState {
    return this.#states.organization(id);
  }

  /** The state of a project that has keys or was read; it goes on being kept current. */
  projectState(id: ProjectId): ProjectState | undefined {
    return this.#states.known(id);
  }

  /**
   * Who presents this key, if it is one that may be used now. Undefined alike for a key that was never issued, is
   * revoked or expired, whose project is archived, or whose owner has no access to its project. The
   * caller has checked the format (`parseKey`).
   */
  find(presented: string): Principal | undefined {
    const digest = digestKey(presented);
    return this.#usable(this.#keys.get(digest) ?? this.#elsewhere(presented, digest));
  }

  /** The same by the key's digest, for what goes on in its name after it was presented. */
  holder(digest: Uint8Array): Principal | undefined {
    return this.#usable(this.#keys.get(Buffer.from(digest).toString('latin1')));
  }

  #usable(principal: Principal | undefined): Principal | undefined {
    if (principal === undefined) return undefined;
    if (principal.expiresAt !== 0 && principal.expiresAt <= this.#clock.now()) return undefined;
    if (principal.project !== null && !principal.project.active) return undefined;
    if (!principal.ownerHasAccess) return undefined;
    return principal;
  }

  /** Further kinds of keys: asked in turn for what is no stored key. */
  add(source: PrincipalSource): void {
    this.#sources.push(source);
  }

  #elsewhere(presented: string, digest: string): Principal | undefined {
    for (const source of this.#sources) {
      const credential = source.find(presented, digest);
      if (credential !== undefined) return this.#resolve(credential);
    }
    return undefined;
  }

  /** A source gives the same object for the same credential, so that its owner's access is looked up once. */
  #resolve(credential: Credential): Principal {
    let principal = this.#resolved.get(credential);
    if (principal === undefined) {
      principal = { ...credential, ...this.#accessOf(credential, credential.ownerId) };
      this.#resolved.set(credential, principal);
    }
    return principal;
  }

  /** Notes that a key was used at this time; written behind, at most once a minute a key. */
  touch(keyId: KeyId, nowMs: number): void {
    this.#lastUsed.note(keyId, nowMs);
  }

  /** Reads every key of the store. Call once, before `follow`. */
  async load(store: Store): Promise<void> {
    // First the number, then the keys: a change in between is read twice, never missed. Projects last, so that every
    // project of a key is as it was after the key was read.
    this.#loadedAt = await store.lastChange();
    await this.access.load(store.db);
    await store.loadKeys((rows) => {
      for (const row of rows) this.#admit(row);
    });
    await this.#states.readProjects(store.db);
    await this.#states.readUnread(store.db);
  }

  /** Keeps current by the store's changes and writes last-used times, until the returned function is called. */
  follow(store: Store): () => Promise<void> {
    const stopFollowing = store.follow(this.#loadedAt, (changes) => this.#take(store, changes));
    let flushing: Promise<void> = Promise.resolve();
    const stopFlushing = this.#every(FLUSH_MS, () => {
      flushing = flushing.then(() => this.flush(store)).catch(this.#onError);
    });
    return async () => {
      stopFlushing();
      await stopFollowing();
      await flushing;
      await this.flush(store).catch(this.#onError);
    };
  }

  /** Writes the last-used times noted so far. Rejects if the store does; nothing noted is lost then. */
  flush(store: Store): Promise<void> {
    return this.#lastUsed.flush(store);
  }

  /** Reads what changed again, as it is now. */
  async #take(store: Store, changes: readonly Change[]): Promise<void> {
    if (await this.access.take(store.db, changes)) {
      this.#keys.forgetPrincipals();
      this.#resolved = new WeakMap();
    }
    for (const group of idGroups(changes, 'organization'))
      await this.#states.readOrganizations(store.db, group);
    for (const group of idGroups(changes, 'project')) await this.#states.readProjects(store.db, group);
    for (const group of idGroups(changes, 'api_key'))
      await this.#keep(store, await keysById(store.db, group));
    for (const owners of idGroups(changes, 'user', 'service_account')) {
      for await (const keys of keysByOwner(store.db, owners)) await this.#keep(store, keys);
    }
  }

  async #keep(store: Store, keys: readonly CurrentKey[]): Promise<void> {
    const unread = new Set(
      keys.flatMap(({ row: [, , , , id] }) => (id && this.#states.known(id) === undefined ? [id] : [])),
    );
    if (unread.size > 0) await this.#states.readProjects(store.db, [...unread]);
    for (const { row } of keys) this.#states.organization(row[3]);
    await this.#states.readUnread(store.db);
    for (const { row, revoked } of keys) {
      if (revoked) this.#keys.delete(digestOf(row));
      else this.#admit(row);
    }
  }

  #accessOf(
    { project, ownerType, scopes }: Pick<Profile, 'project' | 'ownerType' | 'scopes'>,
    ownerId: string,
  ): OwnerAccess {
    const ofOwner =
      project === null
        ? this.access.organizationRights(ownerId)
        : this.access.within(ownerType, ownerId, project.id);
    return {
      rights: ofOwner === null ? NO_RIGHTS : effectiveRights(scopes, ofOwner),
      ownerHasAccess: ofOwner !== null,
      groups: this.access.groupsOf(ownerId),
    };
  }

  #admit(row: KeyRow): void {
    const [, , , organizationId, projectId] = row;
    const project = projectId === null ? null : this.#states.project(projectId, organizationId);
    this.#keys.set(digestOf(row), this.#reader.read(row, this.#states.organization(organizationId), project));
  }
}

const scratch = Buffer.alloc(32);

/** The digest of a row as the latin1 text that `digestKey` gives. */
function digestOf(row: KeyRow): string {
  scratch.write(row[1], 'hex');
  return scratch.toString('latin1');
}

/** Nothing here unwraps keys: what has one stays dark. */
const keyless: ExternalKeyState = (_, externalKeyId) =>
  externalKeyId === null ? null : { refusal: unavailable('External keys cannot be used by this process.') };

function everyMs(ms: number, work: () => void): () => void {
  const timer = setInterval(work, ms).unref();
  return () => clearInterval(timer);
}

/** The ids of the changed objects of these kinds, each once, in groups for one query. */
function* idGroups(changes: readonly Change[], ...kinds: Change['kind'][]): Generator<readonly string[]> {
  const ids = new Set(changes.filter(({ kind }) => kinds.includes(kind)).map(({ objectId }) => objectId));
  const all = [...ids];
  for (let at = 0; at < all.length; at += GROUP) yield all.slice(at, at + GROUP);
}
