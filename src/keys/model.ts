// What a key is, and who stands behind it: the types that the road and the Administration API share.

import type { Rights } from '../access/permission-names.ts';
import type { Controls } from '../controls/controls.ts';
import type { OrganizationSettings, ProjectSettings } from '../controls/settings.ts';
import type { Trust } from '../identity/certificates/trust.ts';
import type { ApiError } from '../platform/errors.ts';
import type { KeyId, OrganizationId, ProjectId } from '../platform/ids.ts';

/** `session`: of a person who signed in, which is not among the stored keys (src/identity/sign-in). */
export type KeyType = 'project' | 'service_account' | 'admin' | 'test' | 'session';

export const ENVIRONMENTS = ['development', 'staging', 'production'] as const;
/** What a project is for. */
export type Environment = (typeof ENVIRONMENTS)[number];

/** An organization as the road needs it. One object for all its projects and keys. */
export interface OrganizationState {
  readonly id: OrganizationId;
  /** What is set for it; null: nothing. */
  settings: OrganizationSettings | null;
  /** Where its keys, admin keys included, may be used from; null: everywhere. */
  addresses: AddressRanges | null;
  /** Whose client certificates calls must come with; null: none is asked for. */
  trust: Trust | null;
}

/** Whether a project's external key may be used at the moment. */
export interface KeyState {
  /** What calls are answered while it may not. */
  readonly refusal: ApiError | null;
}

/**
 * A project as the road needs it. One object for all keys of the project, so that a change is seen by all at once.
 * What the road asks on every call is a property here, made when something changes (src/keys/states.ts).
 */
export interface ProjectState {
  readonly id: ProjectId;
  readonly organizationId: OrganizationId;
  readonly organization: OrganizationState;
  active: boolean;
  environment: Environment;
  /** What is set for the project itself; null: nothing. */
  settings: ProjectSettings | null;
  /** What its calls are held to, by its settings and its organization's; null: nothing. */
  controls: Controls | null;
  /** Header lines with the project's own credential, by the provider's name; null: it has none of its own. */
  credentials: ReadonlyMap<string, string> | null;
  /** Whose client certificates its calls must come with, beside what its organization asks; null: none. */
  trust: Trust | null;
  /** The customer's key that its content is sealed with; null: it has none. */
  externalKey: KeyState | null;
}

/**
 * Who is calling: what one key stands for. Held in memory for every usable key, a million of them, so equal lists
 * are shared and names stay in the store.
 */
export interface Principal {
  readonly keyId: KeyId;
  readonly type: KeyType;
  readonly organizationId: OrganizationId;
  readonly organization: OrganizationState;
  /** Null for an admin key. */
  readonly project: ProjectState | null;
  readonly ownerType: 'user' | 'service_account';
  readonly ownerId: string;
  /** Of the person whose session it is; keys have none. */
  readonly email?: string;
  /** Empty: every scope. */
  readonly scopes: readonly string[];
  /** What its scopes and its owner's roles both allow: of a project's key in the project, of an admin key at large. */
  readonly rights: Rights;
  /** Whether its owner has access to the key's project; a key whose owner has none does not work. */
  readonly ownerHasAccess: boolean;
  /** The groups that its owner is in. */
  readonly groups: readonly string[];
  /** Null: every model of the project. */
  readonly models: ReadonlySet<string> | null;
  /** Null: every address. */
  readonly addresses: AddressRanges | null;
  /** Milliseconds since the epoch; 0: never. */
  readonly expiresAt: number;
  /** What its presenter must prove beside knowing it; null: nothing. */
  readonly confirmation: Confirmation | null;
}

/**
 * The key that a key or token is bound to: by a proof with each call (DPoP, RFC 9449) or by the client certificate of
 * the connection (RFC 8705).
 */
export interface Confirmation {
  readonly kind: 'dpop' | 'certificate';
  /** `jkt` (RFC 7638) or `x5t#S256`: a SHA-256 in base64url. */
  readonly thumbprint: string;
}

/** A principal before what its owner's roles make of it: the registry adds that, and keeps it current. */
export type Credential = Omit<Principal, 'rights' | 'ownerHasAccess' | 'groups'>;

export interface AddressRanges {
  includes(address: string): boolean;
}
