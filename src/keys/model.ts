// What a key is, and who stands behind it: the types that the road and the Administration API share.

import type { KeyId, OrganizationId, ProjectId } from '../platform/ids.ts';

export type KeyType = 'project' | 'service_account' | 'admin' | 'test';

/** A project as the road needs it. One object for all keys of the project, so that a change is seen by all. */
export interface ProjectState {
  readonly id: ProjectId;
  readonly organizationId: OrganizationId;
  active: boolean;
}

/**
 * Who is calling: what one key stands for. Held in memory for every usable key, a million of them, so equal lists
 * are shared and names stay in the store.
 */
export interface Principal {
  readonly keyId: KeyId;
  readonly type: KeyType;
  readonly organizationId: OrganizationId;
  /** Null for an admin key. */
  readonly project: ProjectState | null;
  readonly ownerType: 'user' | 'service_account';
  readonly ownerId: string;
  /** Empty: every scope. */
  readonly scopes: readonly string[];
  /** Null: every model of the project. */
  readonly models: ReadonlySet<string> | null;
  /** Null: every address. */
  readonly addresses: AddressRanges | null;
  /** Milliseconds since the epoch; 0: never. */
  readonly expiresAt: number;
}

export interface AddressRanges {
  includes(address: string): boolean;
}
