// Brings external keys up: what unwraps them, what holds them, and how a project gets one.

import { randomBytes } from 'node:crypto';
import { append } from '../../audit/chain.ts';
import type { Attribution } from '../../audit/model.ts';
import { CloudError } from '../../clouds/error.ts';
import type { Clouds } from '../../clouds/open.ts';
import type { KeyState, ProjectState } from '../../keys/model.ts';
import type { Clock } from '../../platform/clock.ts';
import { ApiError } from '../../platform/errors.ts';
import type { OrganizationId, ProjectId } from '../../platform/ids.ts';
import type { Log } from '../../platform/log.ts';
import type { ContentKeyTable } from '../../store/schema-secrets.ts';
import type { Store, Tx } from '../../store/store.ts';
import { SealError } from '../envelope.ts';
import type { Place } from '../purpose.ts';
import { KEY_BYTES, KEY_ID_BYTES } from '../root.ts';
import type { Seals } from '../seals.ts';
import { HeldKeys, type KeyOwner, type UnwrappedKeys } from './held.ts';
import type { ExternalKey } from './model.ts';
import { type Binding, keyService } from './services.ts';
import { contentKeyPlace, contentKeysOf, getExternalKey } from './store.ts';

/** Questions to key services that are under way at once. */
const AT_ONCE = 32;
const TIMEOUT_MS = 10_000;

export interface ExternalKeys {
  readonly held: HeldKeys;
  /** For the registry: the state of a project's key. */
  readonly stateOf: (project: ProjectState, externalKeyId: string | null) => KeyState | null;
  /**
   * Makes a key for the project's content and has it wrapped. What it gives belongs into the change of the project.
   * Throws 400 when the external key cannot be used, 404 when there is none.
   */
  prepare(organizationId: OrganizationId, projectId: ProjectId, externalKeyId: string): Promise<Assign>;
  /** Takes the external key from the project. What is sealed with it stays so until it is wrapped again. */
  release(tx: Tx, by: Attribution, projectId: ProjectId): Promise<void>;
  /** Resolves when the project's key is in effect on this node, or cannot be. */
  ready(projectId: ProjectId): Promise<void>;
  /** Wraps and unwraps a probe. Rejects with CloudError. */
  probe(key: ExternalKey): Promise<void>;
  close(): void;
}

export type Assign = (tx: Tx, by: Attribution) => Promise<void>;

export interface ExternalKeysOptions {
  readonly store: Store;
  /** Asked for only when it is there. */
  readonly clouds: () => Clouds;
  readonly lifetimeMs: number;
  readonly clock: Clock;
  readonly node: string;
  readonly log: Pick<Log, 'warn' | 'error'>;
  /** Told when a project's key turned: its own credentials are to be read again, or forgotten. */
  readonly turned: (projectId: ProjectId, held: boolean) => void;
}

/** @param seals made with `held` as its content keys, so it is asked for only when it is there */
export function openExternalKeys(options: ExternalKeysOptions, seals: () => Seals): ExternalKeys {
  const { store, clouds, clock, log, lifetimeMs } = options;
  const limit = new Turns(AT_ONCE);
  const timeoutMs = Math.min(TIMEOUT_MS, lifetimeMs);
  const service = (key: ExternalKey) => keyService(key, clouds(), timeoutMs);

  const unwrapRow = async (row: ContentKeyTable, key: ExternalKey): Promise<Buffer> => {
    const wrapped = await seals().open(contentKeyPlace(row), row.wrapped);
    return await service(key).unwrap(wrapped, bindingOf(row));
  };

  const unwrap = (owner: KeyOwner): Promise<UnwrappedKeys> =>
    limit.run(async () => {
      const rows = await contentKeysOf(store.db, owner.projectId, owner.externalKeyId);
      if (rows.length === 0)
        throw new Error(`project ${owner.projectId} has an external key, and no key of content`);
      const key = await getExternalKey(store.db, owner.organizationId, owner.externalKeyId);
      return await Promise.all(rows.map(async (row) => ({ id: row.id, bytes: await unwrapRow(row, key) })));
    });

  const unwrapFormer = (place: Place, id: string): Promise<Buffer> =>
    limit.run(async () => {
      const row = await store.db
        .selectFrom('content_keys')
        .selectAll()
        .where('organization_id', '=', place.organizationId)
        .where('project_id', '=', place.projectId ?? '')
        .where('id', '=', id)
        .executeTakeFirst();
      if (row === undefined)
        throw new SealError('unknown_key', 'The key that sealed this is not in the store.');
      const key = await getExternalKey(store.db, place.organizationId, row.external_key_id).catch(() => {
        throw new SealError('unknown_key', 'The external key that this was sealed under was deleted.');
      });
      return await unwrapRow(row, key);
    });

  const held = new HeldKeys({
    unwrap,
    unwrapFormer,
    lifetimeMs,
    clock,
    onError: (error) => log.error('external keys', error),
    turned: (owner, state, reason) => {
      log.warn(
        state === 'held'
          ? `The external key of project ${owner.projectId} can be used again.`
          : `Project ${owner.projectId} is dark: its external key is ${state}. ${reason}`,
        { external_key_id: owner.externalKeyId },
      );
      options.turned(owner.projectId, state === 'held');
      // Turning may happen inside a notice of the store, which may not write: it is noted afterwards.
      setImmediate(() => {
        store
          .write((tx) =>
            append(tx, {
              by: { organizationId: owner.organizationId, actor: { type: 'server' }, at: clock.now() },
              projectId: owner.projectId,
              type: state === 'held' ? 'external_key.held' : 'external_key.lost',
              payload: { id: owner.externalKeyId, data: { state, reason, node: options.node } },
            }),
          )
          .catch((error: unknown) => log.error('external keys', error));
      });
    },
  });
  held.start();

  return {
    held,
    stateOf: ({ id, organizationId }, externalKeyId) =>
      held.stateOf({ projectId: id, organizationId }, externalKeyId),

    async prepare(organizationId, projectId, externalKeyId) {
      const key = await getExternalKey(store.db, organizationId, externalKeyId);
      if (key.purpose !== 'ekm') {
        throw new ApiError(400, "Invalid 'external_key_id': this key is for another purpose than ekm.", {
          code: 'invalid_value',
          param: 'external_key_id',
        });
      }
      const [known] = await contentKeysOf(store.db, projectId, externalKeyId);
      const row = known ?? (await newContentKey(organizationId, projectId, key));
      return async (tx) => {
        // It may have been deleted since.
        await getExternalKey(tx, organizationId, externalKeyId);
        if (known === undefined) await tx.insertInto('content_keys').values(row).execute();
        await tx
          .updateTable('projects')
          .set({ external_key_id: externalKeyId })
          .where('organization_id', '=', organizationId)
          .where('id', '=', projectId)
          .execute();
      };
    },

    async release(tx, by, projectId) {
      await tx
        .updateTable('projects')
        .set({ external_key_id: null })
        .where('organization_id', '=', by.organizationId)
        .where('id', '=', projectId)
        .execute();
    },

    async ready(projectId) {
      await held.of(projectId)?.asking;
    },

    async probe(key) {
      const binding = { organizationId: key.organizationId, projectId: 'probe', keyId: 'probe' };
      const bytes = randomBytes(KEY_BYTES);
      const wrapped = await service(key).wrap(bytes, binding);
      const back = await service(key).unwrap(wrapped, binding);
      if (!back.equals(bytes)) {
        throw new CloudError('unavailable', 'The key service gave back something else than was wrapped.');
      }
    },

    close: () => held.stop(),
  };

  async function newContentKey(
    organizationId: OrganizationId,
    projectId: ProjectId,
    key: ExternalKey,
  ): Promise<ContentKeyTable> {
    const row = {
      id: randomBytes(KEY_ID_BYTES).toString('hex'),
      organization_id: organizationId,
      project_id: projectId,
      external_key_id: key.id,
      created_at: clock.now(),
    };
    const bytes = randomBytes(KEY_BYTES);
    try {
      const wrapped = await service(key).wrap(bytes, bindingOf(row));
      const back = await service(key).unwrap(wrapped, bindingOf(row));
      if (!back.equals(bytes))
        throw new CloudError('unavailable', 'The key service does not give back what it wrapped.');
      return { ...row, wrapped: await seals().seal(contentKeyPlace(row), wrapped) };
    } catch (error) {
      if (!(error instanceof CloudError)) throw error;
      throw unusable(error);
    } finally {
      bytes.fill(0);
    }
  }
}

/** What whoever sets a key is told of a key service that does not do what it should. */
export function unusable(error: CloudError): ApiError {
  return error.reason === 'unavailable'
    ? new ApiError(503, `The external key could not be asked: ${error.message}`, {
        type: 'service_unavailable_error',
        code: 'external_key_unavailable',
        param: 'external_key_id',
      })
    : new ApiError(400, `The external key cannot be used: ${error.message}`, {
        code: 'external_key_unusable',
        param: 'external_key_id',
      });
}

function bindingOf(row: Pick<ContentKeyTable, 'id' | 'organization_id' | 'project_id'>): Binding {
  return { organizationId: row.organization_id, projectId: row.project_id, keyId: row.id };
}

/** Lets so many run at once; the others wait in order. */
class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
