// From a stored key to what the registry holds of it. Equal lists, and equal profiles of them, are shared, because a
// million keys usually have a handful of different ones.

import type { KeyId } from '../platform/ids.ts';
import type { KeyRow } from '../store/store.ts';
import { addressRanges } from './addresses.ts';
import type { AddressRanges, Confirmation, OrganizationState, ProjectState } from './model.ts';
import type { KeyEntry, Profile } from './table.ts';

/** Beyond this many different lists of a kind, sharing starts afresh: memory is bounded, only sharing is lost. */
const LISTS_MAX = 10_000;
/** Profiles of one project that are tried, the latest first, before a new one is made. */
const PROFILES_MAX = 32;

/** A JSON list of texts, as the store keeps them; anything else in the column is a fault of ours and is thrown. */
export function parseList(json: string): readonly string[] {
  const value: unknown = JSON.parse(json);
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    throw new TypeError('A stored list is not a JSON list of texts.');
  }
  return Object.freeze(value);
}

const CONFIRMATION = /^(dpop|certificate) ([\w-]{43})$/;

/** What a key is bound to, as the store keeps it: `dpop` or `certificate`, a space, the thumbprint. */
export function parseConfirmation(text: string): Confirmation {
  const [, kind, thumbprint] = CONFIRMATION.exec(text) ?? [];
  if (thumbprint === undefined) throw new TypeError('A stored confirmation is none.');
  return Object.freeze({ kind: kind === 'dpop' ? 'dpop' : 'certificate', thumbprint });
}

export function confirmationText({ kind, thumbprint }: Confirmation): string {
  return `${kind} ${thumbprint}`;
}

/** Gives equal texts one value, made once. */
class Shared<T> {
  readonly #values = new Map<string, T>();
  readonly #make: (text: string) => T;

  constructor(make: (text: string) => T) {
    this.#make = make;
  }

  of(text: string): T {
    const known = this.#values.get(text);
    if (known !== undefined) return known;
    if (this.#values.size >= LISTS_MAX) this.#values.clear();
    const made = this.#make(text);
    this.#values.set(text, made);
    return made;
  }
}

/** A profile with the row that it was made of. */
interface Known {
  readonly row: KeyRow;
  readonly profile: Profile;
}

/** Makes entries from rows, sharing what is equal. */
export class EntryReader {
  readonly #ofProject = new WeakMap<ProjectState, Known[]>();
  readonly #ofAdmins = new WeakMap<OrganizationState, Known[]>();
  readonly #scopes = new Shared<readonly string[]>(parseList);
  readonly #models = new Shared<ReadonlySet<string>>((json) => new Set(parseList(json)));
  readonly #addresses = new Shared<AddressRanges>((json) => addressRanges(parseList(json)));

  read(row: KeyRow, organization: OrganizationState, project: ProjectState | null): KeyEntry {
    const [keyId, , , , , , ownerId, , , , expiresAt] = row;
    // What the store holds as a key's id was made by newId: here it gets its brand back.
    return {
      keyId: keyId as KeyId,
      ownerId,
      expiresAt: expiresAt ?? 0,
      profile: this.#profile(row, organization, project),
    };
  }

  #profile(row: KeyRow, organization: OrganizationState, project: ProjectState | null): Profile {
    const known = this.#known(organization, project);
    // Comparing a few texts is cheaper than hashing one that is made of all: this runs a million times at a start.
    for (let at = known.length - 1; at >= 0; at--) {
      const candidate = known[at];
      if (candidate !== undefined && sameProfile(candidate.row, row)) return candidate.profile;
    }
    const [, , type, , , ownerType, , scopes, models, addresses, , confirmation] = row;
    const profile: Profile = {
      type,
      organizationId: organization.id,
      organization,
      project,
      ownerType,
      scopes: this.#scopes.of(scopes),
      models: models === null ? null : this.#models.of(models),
      addresses: addresses === null ? null : this.#addresses.of(addresses),
      confirmation: confirmation === null ? null : parseConfirmation(confirmation),
    };
    if (known.length >= PROFILES_MAX) known.shift();
    known.push({ row, profile });
    return profile;
  }

  #known(organization: OrganizationState, project: ProjectState | null): Known[] {
    const known = project === null ? this.#ofAdmins.get(organization) : this.#ofProject.get(project);
    if (known !== undefined) return known;
    const none: Known[] = [];
    if (project === null) this.#ofAdmins.set(organization, none);
    else this.#ofProject.set(project, none);
    return none;
  }
}

function sameProfile(a: KeyRow, b: KeyRow): boolean {
  // All but id, digest, project (which is the caller's), owner's id and expiry; the lists first, as they differ most.
  return (
    a[9] === b[9] &&
    a[8] === b[8] &&
    a[7] === b[7] &&
    a[11] === b[11] &&
    a[5] === b[5] &&
    a[3] === b[3] &&
    a[2] === b[2]
  );
}
