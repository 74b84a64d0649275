// The keys of projects' content while they are unwrapped, and for how long.
//
// A project with an external key has a content key: 32 bytes, wrapped by the external key, the result sealed with the
// root key. Each node unwraps it when it learns of the project, holds it in memory, and asks the key service again
// every third of `secrets.key_lifetime`, off the road:
// - The service unwraps it: it may be used for another lifetime, counted from when it was asked.
// - The service says no (disabled, removed, no access): it is overwritten at once, and the project is dark: its calls
//   are 403 `external_key_revoked`, its sealed content and credentials are unreadable.
// - The service does not answer: it is used on, but never longer than one lifetime after the last yes; then the
//   project is dark with 503 `external_key_unavailable`.
// A dark project's key is asked for at the same pace, and the project is back with the first yes. So the time from
// revoking a key to the project being dark, on every node, is at most one lifetime.

import type { CloudError } from '../../clouds/error.ts';
import type { KeyState } from '../../keys/model.ts';
import type { Clock } from '../../platform/clock.ts';
import { ApiError } from '../../platform/errors.ts';
import type { OrganizationId, ProjectId } from '../../platform/ids.ts';
import { SealError } from '../envelope.ts';
import type { Place } from '../purpose.ts';
import { DerivedKeys, type WrappingKey } from '../root.ts';
import type { ContentKeys } from '../seals.ts';

/** The parts of a lifetime: how often services are asked, and how often it is looked whether a time is over. */
const ASKED_IN = 3;
const LOOKED_IN = 12;

/** Content keys of one project, as they were unwrapped: the one that seals first. */
export type UnwrappedKeys = readonly { readonly id: string; readonly bytes: Buffer }[];

/** Unwraps the content keys of a project. Rejects with CloudError when the key service says no or nothing. */
export type Unwrap = (of: KeyOwner) => Promise<UnwrappedKeys>;

export interface KeyOwner {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId;
  readonly externalKeyId: string;
}

export interface HeldKeysOptions {
  readonly unwrap: Unwrap;
  /** Unwraps one key that the project had before, with another external key. */
  readonly unwrapFormer: (place: Place, id: string) => Promise<Buffer>;
  readonly lifetimeMs: number;
  readonly clock: Clock;
  /** A project became dark, or is back. */
  readonly turned: (owner: KeyOwner, state: 'held' | 'revoked' | 'unavailable', reason: string) => void;
  readonly onError: (error: unknown) => void;
}

/** One project's key on this node. */
export class ProjectKey implements KeyState {
  readonly owner: KeyOwner;
  refusal: ApiError | null;
  status: 'starting' | 'held' | 'revoked' | 'unavailable' = 'starting';
  reason = 'It was not asked for yet.';
  keys: DerivedKeys[] = [];
  /** Monotonic: when the service was asked the last time that it said yes; -Infinity: never. */
  confirmedAt = Number.NEGATIVE_INFINITY;
  askedAt = Number.NEGATIVE_INFINITY;
  asking: Promise<void> | null = null;
  gone = false;

  constructor(owner: KeyOwner) {
    this.owner = owner;
    this.refusal = unavailableKey(owner.projectId);
  }

  drop(): void {
    for (const key of this.keys) key.destroy();
    this.keys = [];
  }
}

export class HeldKeys implements ContentKeys {
  readonly #options: HeldKeysOptions;
  readonly #projects = new Map<string, ProjectKey>();
  readonly #former = new Map<string, { readonly key: DerivedKeys; readonly until: number }>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: HeldKeysOptions) {
    this.#options = options;
  }

  /** Starts asking at the pace of the lifetime. */
  start(): void {
    this.#timer = setInterval(() => this.look(), this.#options.lifetimeMs / LOOKED_IN).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    for (const key of this.#projects.values()) key.drop();
  }

  /**
   * The state of a project that has this external key now; null when it has none. Called with every reading of the
   * project, so that a project never works without its key: a new state is dark until its key is unwrapped.
   */
  stateOf(owner: Omit<KeyOwner, 'externalKeyId'>, externalKeyId: string | null): ProjectKey | null {
    const known = this.#projects.get(owner.projectId);
    if (known !== undefined && known.owner.externalKeyId === externalKeyId) return known;
    if (known !== undefined) {
      known.gone = true;
      known.drop();
      this.#projects.delete(owner.projectId);
    }
    if (externalKeyId === null) return null;
    const made = new ProjectKey({ ...owner, externalKeyId });
    this.#projects.set(owner.projectId, made);
    void this.ask(made);
    return made;
  }

  of(projectId: string): ProjectKey | undefined {
    return this.#projects.get(projectId);
  }

  /** This node's states of the projects that have this external key. */
  having(externalKeyId: string): ProjectKey[] {
    return [...this.#projects.values()].filter(({ owner }) => owner.externalKeyId === externalKeyId);
  }

  /** Resolves when every key was asked for once, or when that takes longer than `mostMs`. */
  async settled(mostMs?: number): Promise<void> {
    const all = Promise.all([...this.#projects.values()].map(({ asking }) => asking));
    if (mostMs === undefined) await all;
    else {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, mostMs);
      });
      await Promise.race([all, late]);
      clearTimeout(timer);
    }
  }

  /** Ends what has lived too long, and asks for what is due. */
  look(): void {
    const { clock, lifetimeMs } = this.#options;
    const now = clock.monotonic();
    for (const key of this.#projects.values()) {
      // One look early, so that the time of a lifetime holds and is not passed until the next look.
      if (key.status === 'held' && now - key.confirmedAt >= lifetimeMs * (1 - 1 / LOOKED_IN)) {
        this.#darken(key, 'unavailable', key.reason);
      }
      if (now - key.askedAt >= lifetimeMs / ASKED_IN) void this.ask(key);
    }
    for (const [id, { key, until }] of this.#former) {
      if (until > now) continue;
      key.destroy();
      this.#former.delete(id);
    }
  }

  /** Asks the key service for one project's keys, one question at a time. */
  async ask(key: ProjectKey): Promise<void> {
    key.asking ??= this.#ask(key).finally(() => {
      key.asking = null;
    });
    await key.asking;
  }

  async #ask(key: ProjectKey): Promise<void> {
    const { clock, unwrap, turned, onError } = this.#options;
    const askedAt = clock.monotonic();
    key.askedAt = askedAt;
    try {
      const unwrapped = await unwrap(key.owner);
      if (key.gone) return;
      // A slow yes counts from its question, and may come too late to count at all.
      if (clock.monotonic() - askedAt >= this.#options.lifetimeMs) return;
      this.#keep(key, unwrapped);
      key.confirmedAt = askedAt;
      key.refusal = null;
      if (key.status === 'held') return;
      key.status = 'held';
      key.reason = '';
      turned(key.owner, 'held', '');
    } catch (error) {
      if (key.gone) return;
      if (isCloudError(error) && error.reason !== 'unavailable') {
        if (key.status !== 'revoked') this.#darken(key, 'revoked', error.message);
        key.reason = error.message;
      } else {
        key.reason = error instanceof Error ? error.message : 'no reason was given';
        if (!isCloudError(error)) onError(error);
        if (key.status === 'starting') this.#darken(key, 'unavailable', key.reason);
        // What was revoked stays so until the service says otherwise.
      }
    }
  }

  #keep(key: ProjectKey, unwrapped: UnwrappedKeys): void {
    for (const { id, bytes } of unwrapped) {
      if (!key.keys.some((held) => held.id.toString('hex') === id)) {
        key.keys.push(new DerivedKeys('content', Buffer.from(id, 'hex'), bytes));
      }
      bytes.fill(0);
    }
    const order = unwrapped.map(({ id }) => id);
    key.keys.sort((a, b) => order.indexOf(a.id.toString('hex')) - order.indexOf(b.id.toString('hex')));
  }

  #darken(key: ProjectKey, status: 'revoked' | 'unavailable', reason: string): void {
    key.drop();
    key.status = status;
    key.reason = reason;
    key.refusal =
      status === 'revoked' ? revokedKey(key.owner.projectId) : unavailableKey(key.owner.projectId);
    for (const [id, { key: former }] of this.#former) {
      if (!id.startsWith(`${key.owner.projectId} `)) continue;
      former.destroy();
      this.#former.delete(id);
    }
    this.#options.turned(key.owner, status, reason);
  }

  // What sealing asks.

  async sealing(place: Place): Promise<WrappingKey | null> {
    const key = place.projectId === null ? undefined : this.#projects.get(place.projectId);
    if (key === undefined) return null;
    if (key.refusal !== null) throw key.refusal;
    const [newest] = key.keys;
    if (newest === undefined) throw unavailableKey(key.owner.projectId);
    return newest;
  }

  async opening(place: Place, id: Buffer): Promise<WrappingKey> {
    const { projectId } = place;
    if (projectId === null) throw new SealError('unknown_key', 'A key of content without a project.');
    const now = this.#projects.get(projectId);
    // A dark project is dark as a whole, whatever its content was sealed with.
    if (now !== undefined && now.refusal !== null) throw now.refusal;
    const held = now?.keys.find((key) => key.id.equals(id));
    if (held !== undefined) return held;
    return await this.#formerKey(place, projectId, id);
  }

  /** A key that the project had before; it lives for one lifetime, and is then asked for again. */
  async #formerKey(place: Place, projectId: ProjectId, id: Buffer): Promise<WrappingKey> {
    const { clock, lifetimeMs, unwrapFormer } = this.#options;
    const name = `${projectId} ${id.toString('hex')}`;
    const known = this.#former.get(name);
    const asked = clock.monotonic();
    if (known !== undefined && known.until > asked) return known.key;
    try {
      const bytes = await unwrapFormer(place, id.toString('hex'));
      const key = new DerivedKeys('content', id, bytes);
      bytes.fill(0);
      this.#former.set(name, { key, until: asked + lifetimeMs * (1 - 1 / LOOKED_IN) });
      return key;
    } catch (error) {
      if (!isCloudError(error)) throw error;
      throw error.reason === 'unavailable' ? unavailableKey(projectId) : revokedKey(projectId);
    }
  }
}

function isCloudError(error: unknown): error is CloudError {
  return error instanceof Error && error.name === 'CloudError';
}

export function revokedKey(projectId: string): ApiError {
  return new ApiError(
    403,
    `The external key of project \`${projectId}\` does not allow its use: it was disabled or removed, or access to it was withdrawn. Whoever holds the key has to allow it again.`,
    { code: 'external_key_revoked' },
  );
}

export function unavailableKey(projectId: string): ApiError {
  return new ApiError(
    503,
    `The external key of project \`${projectId}\` cannot be reached at the moment. Please try again.`,
    {
      type: 'service_unavailable_error',
      code: 'external_key_unavailable',
      headers: ['retry-after', '5'],
    },
  );
}
