// Sessions of people who signed in: a key of the form sk-sess-…, of which the store holds the digest, that acts on the
// control plane as the user, with the user's roles, until it ends. Those that stand are in memory, by digest; a session
// ends when it is signed out, when its time is over, and when its user is deleted.

import { append } from '../../audit/chain.ts';
import type { Attribution } from '../../audit/model.ts';
import { digestBytes, digestKey, mintKey } from '../../keys/format.ts';
import type { Credential, OrganizationState } from '../../keys/model.ts';
import type { Clock } from '../../platform/clock.ts';
import { type KeyId, newId, type OrganizationId } from '../../platform/ids.ts';
import type { Change, Store, Tx } from '../../store/store.ts';

const PREFIX = 'sk-sess-';
const PAGE = 1_000;

interface StoredSession {
  readonly id: string;
  readonly organization_id: string;
  readonly user_id: string;
  readonly digest: Uint8Array;
  readonly expires_at: number;
  /** Null: the user was deleted. */
  readonly email: string | null;
}

export class Sessions {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #organization: (id: OrganizationId) => OrganizationState;
  readonly #standing = new Map<string, Credential>();
  readonly #digests = new Map<string, string>();

  constructor(store: Store, clock: Clock, organization: (id: OrganizationId) => OrganizationState) {
    this.#store = store;
    this.#clock = clock;
    this.#organization = organization;
  }

  get size(): number {
    return this.#standing.size;
  }

  /** Reads the sessions that stand, and follows them until the returned function is called. */
  async open(): Promise<() => Promise<void>> {
    const since = await this.#store.lastChange();
    for (let after = ''; ; ) {
      const rows = await this.#query()
        .where('sessions.id', '>', after)
        .where('sessions.expires_at', '>', this.#clock.now())
        .orderBy('sessions.id')
        .limit(PAGE)
        .execute();
      for (const row of rows) this.#keep(row);
      const last = rows.at(-1);
      if (last === undefined) break;
      after = last.id;
    }
    return this.#store.follow(since, (changes) => this.#take(changes));
  }

  find(presented: string, digest: string): Credential | undefined {
    if (!presented.startsWith(PREFIX)) return undefined;
    const found = this.#standing.get(digest);
    if (found !== undefined && found.expiresAt <= this.#clock.now()) {
      this.#drop(found.keyId);
      return undefined;
    }
    return found;
  }

  async #take(changes: readonly Change[]): Promise<void> {
    for (const { kind, objectId } of changes) {
      if (kind === 'session') await this.#again('id', objectId);
      else if (kind === 'user') await this.#again('user_id', objectId);
    }
  }

  async #again(column: 'id' | 'user_id', value: string): Promise<void> {
    const rows = await this.#query().where(`sessions.${column}`, '=', value).execute();
    const standing = new Set(rows.map(({ id }) => id));
    for (const credential of [...this.#standing.values()]) {
      const meant = column === 'id' ? credential.keyId === value : credential.ownerId === value;
      if (meant && !standing.has(credential.keyId)) this.#drop(credential.keyId);
    }
    for (const row of rows) this.#keep(row);
  }

  #query() {
    return this.#store.db
      .selectFrom('sessions')
      .leftJoin('users', (join) =>
        join
          .onRef('users.id', '=', 'sessions.user_id')
          .onRef('users.organization_id', '=', 'sessions.organization_id'),
      )
      .select([
        'sessions.id',
        'sessions.organization_id',
        'sessions.user_id',
        'sessions.digest',
        'sessions.expires_at',
        'users.email',
      ]);
  }

  #keep(row: StoredSession): void {
    this.#drop(row.id);
    if (row.email === null || row.expires_at <= this.#clock.now()) return;
    const digest = Buffer.from(row.digest).toString('latin1');
    // The column holds what newId made.
    const organization = this.#organization(row.organization_id as OrganizationId);
    this.#digests.set(row.id, digest);
    this.#standing.set(digest, {
      // A session stands where a key's id does: in records and the audit log it is told apart by its prefix.
      keyId: row.id as KeyId,
      type: 'session',
      organizationId: organization.id,
      organization,
      project: null,
      ownerType: 'user',
      ownerId: row.user_id,
      email: row.email,
      scopes: [],
      models: null,
      addresses: null,
      expiresAt: row.expires_at,
      confirmation: null,
    });
  }

  #drop(id: string): void {
    const digest = this.#digests.get(id);
    if (digest === undefined) return;
    this.#digests.delete(id);
    this.#standing.delete(digest);
  }
}

export interface NewSession {
  readonly id: string;
  /** The plaintext, to be given once. */
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** Within a `Store.write`: a session for this user. */
export async function startSession(
  store: Store,
  tx: Tx,
  by: Attribution,
  userId: string,
  lifetimeMs: number,
): Promise<NewSession> {
  const value = mintKey('session');
  const session = { id: newId('sess_'), value, expiresAt: by.at + lifetimeMs };
  await tx.deleteFrom('sessions').where('expires_at', '<=', by.at).execute();
  await tx
    .insertInto('sessions')
    .values({
      id: session.id,
      organization_id: by.organizationId,
      user_id: userId,
      digest: digestBytes(digestKey(value)),
      created_at: by.at,
      expires_at: session.expiresAt,
    })
    .execute();
  await append(tx, { by, projectId: null, type: 'login.succeeded', payload: { id: session.id } });
  await store.announce(tx, 'session', session.id, by.at);
  return session;
}

/** Within a `Store.write`: ends a session. */
export async function endSession(store: Store, tx: Tx, by: Attribution, id: string): Promise<void> {
  await tx
    .deleteFrom('sessions')
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, { by, projectId: null, type: 'logout.succeeded', payload: { id } });
  await store.announce(tx, 'session', id, by.at);
}
