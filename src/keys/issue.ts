// Issuing, changing and revoking keys. Each verb runs inside the caller's `Store.write` and does all three parts of a
// change there: the row, the audit entry, the announcement to every node. The plaintext of a key exists in what
// `issueKey` returns and nowhere else: what goes to the store is its digest and its redacted form.

import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import { newId, type ProjectId } from '../platform/ids.ts';
import type { Store, Tx } from '../store/store.ts';
import { digestBytes, digestKey, mintKey, redact } from './format.ts';
import type { Confirmation, KeyType } from './model.ts';
import { confirmationText } from './rows.ts';
import type { StoredKey } from './store.ts';

/** The longest life that may be asked for, in seconds: one year, as the platform has it. */
export const EXPIRY_SECONDS_MAX = 31_536_000;

export interface KeyOwner {
  readonly type: 'user' | 'service_account';
  readonly id: string;
}

/** What a key may do, and until when. */
export interface KeyLimits {
  /** Empty: every scope. */
  readonly scopes?: readonly string[];
  /** Null: every model of the project. */
  readonly models?: readonly string[] | null;
  /** Canonical CIDR ranges; null: every address. */
  readonly addresses?: readonly string[] | null;
  /** What its presenter must prove beside knowing it; null: nothing. */
  readonly confirmation?: Confirmation | null;
  /** From now; null: it does not expire. */
  readonly expiresInSeconds?: number | null;
}

export interface KeyOrder extends KeyLimits {
  readonly type: Exclude<KeyType, 'session'>;
  readonly name: string;
  /** Null for an admin key. */
  readonly projectId: ProjectId | null;
  readonly owner: KeyOwner;
  /** A key that exists already (the bootstrap admin key); its format and checksum were checked. */
  readonly existing?: string;
}

export interface IssuedKey {
  readonly key: StoredKey;
  /** The plaintext, to be shown once. */
  readonly value: string;
}

export async function issueKey(store: Store, tx: Tx, by: Attribution, order: KeyOrder): Promise<IssuedKey> {
  const value = order.existing ?? mintKey(order.type);
  const {
    scopes = [],
    models = null,
    addresses = null,
    expiresInSeconds = null,
    confirmation = null,
  } = order;
  const key: StoredKey = {
    id: newId('key_'),
    organization_id: by.organizationId,
    project_id: order.projectId,
    type: order.type,
    digest: digestBytes(digestKey(value)),
    redacted: redact(value),
    name: order.name,
    owner_type: order.owner.type,
    owner_id: order.owner.id,
    scopes: JSON.stringify(scopes),
    models: models && JSON.stringify(models),
    addresses: addresses && JSON.stringify(addresses),
    created_at: by.at,
    expires_at: expiresInSeconds === null ? null : by.at + expiresInSeconds * 1000,
    last_used_at: null,
    revoked_at: null,
    confirmation: confirmation && confirmationText(confirmation),
  };
  await tx.insertInto('api_keys').values(key).execute();
  await append(tx, {
    by,
    projectId: order.projectId,
    type: 'api_key.created',
    payload: {
      id: key.id,
      data: {
        name: key.name,
        type: key.type,
        owner: { type: order.owner.type, id: order.owner.id },
        scopes,
        models,
        addresses,
        expires_at: key.expires_at,
        confirmation: key.confirmation,
      },
    },
  });
  await store.announce(tx, 'api_key', key.id, by.at);
  return { key, value };
}

/** Changes what a key may do or until when; what is not named stays. Returns the key as it is now. */
export async function changeKey(
  store: Store,
  tx: Tx,
  by: Attribution,
  key: StoredKey,
  changes: Pick<KeyLimits, 'scopes' | 'expiresInSeconds'>,
): Promise<StoredKey> {
  const { scopes, expiresInSeconds } = changes;
  const changed: StoredKey = {
    ...key,
    ...(scopes && { scopes: JSON.stringify(scopes) }),
    ...(expiresInSeconds && { expires_at: by.at + expiresInSeconds * 1000 }),
  };
  await tx
    .updateTable('api_keys')
    .set({ scopes: changed.scopes, expires_at: changed.expires_at })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', key.id)
    .execute();
  await append(tx, {
    by,
    projectId: projectOf(key),
    type: 'api_key.updated',
    payload: {
      id: key.id,
      changes_requested: {
        ...(scopes && { scopes }),
        ...(expiresInSeconds && { expires_at: changed.expires_at, expires_in_seconds: expiresInSeconds }),
      },
      before: {
        ...(scopes && { scopes: JSON.parse(key.scopes) as string[] }),
        ...(expiresInSeconds && { expires_at: key.expires_at }),
      },
    },
  });
  await store.announce(tx, 'api_key', key.id, by.at);
  return changed;
}

/** Revokes one key for good. */
export async function revokeKey(store: Store, tx: Tx, by: Attribution, key: StoredKey): Promise<void> {
  await tx
    .updateTable('api_keys')
    .set({ revoked_at: by.at })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', key.id)
    .execute();
  await append(tx, { by, projectId: projectOf(key), type: 'api_key.deleted', payload: { id: key.id } });
  await store.announce(tx, 'api_key', key.id, by.at);
}

/**
 * Revokes every key of an owner who is being deleted, and says how many there were. The caller announces the owner,
 * by which every node reads the keys again, and writes the audit entry.
 */
export async function revokeKeysOfOwner(tx: Tx, by: Attribution, ownerId: string): Promise<number> {
  const result = await tx
    .updateTable('api_keys')
    .set({ revoked_at: by.at })
    .where('organization_id', '=', by.organizationId)
    .where('owner_id', '=', ownerId)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
}

function projectOf(key: StoredKey): ProjectId | null {
  // The column holds what newId made, or null.
  return key.project_id as ProjectId | null;
}
