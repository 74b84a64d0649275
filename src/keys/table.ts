// Keys by digest, packed. A million principals as JavaScript objects would be 250 MB that the collector walks again
// and again; here a key is one row of 108 bytes in a few large buffers, which the collector does not look into, and
// what many keys have in common (type, project, scopes, models, addresses) is one profile that their rows point to.
//
// - Rows lie in chunks that are never moved; a row that is given up is used again.
// - The index is open addressing with linear probing over pairs of hash and row number, at most half full; a deletion
//   shifts the rest of its run back, so there are no tombstones. The hash is the digest's first four bytes: a digest
//   is SHA-256 of at least 256 random bits, so nobody can steer it.
// - `get` makes a principal out of a row, with what its owner's roles make of it at that time, and keeps the recent
//   ones, so a busy key costs one map look-up. When anybody's access changes, the recent ones are forgotten.

import type { KeyId } from '../platform/ids.ts';
import type { Principal } from './model.ts';

/** What an owner's roles make of a key. */
export type OwnerAccess = Pick<Principal, 'rights' | 'ownerHasAccess' | 'groups'>;

/** What keys have in common. Equal ones are given as the same object. */
export type Profile = Omit<Principal, 'keyId' | 'ownerId' | 'expiresAt' | keyof OwnerAccess>;

/** What this owner may do with a key of this profile. Asked when a principal is made. */
export type AccessOf = (profile: Profile, ownerId: string) => OwnerAccess;

export interface KeyEntry extends Pick<Principal, 'keyId' | 'ownerId' | 'expiresAt'> {
  readonly profile: Profile;
}

const DIGEST = 32;
// A row: digest, expiry (float64), profile (uint32), id and owner's id, each behind its length.
const EXPIRES_AT = DIGEST;
const PROFILE = EXPIRES_AT + 8;
const KEY_ID = PROFILE + 4;
const KEY_ID_MAX = 28;
const OWNER_ID = KEY_ID + 1 + KEY_ID_MAX;
const OWNER_ID_MAX = 33;
const ROW = OWNER_ID + 1 + OWNER_ID_MAX + 1;

const ROWS_A_CHUNK = 16_384;
const RECENT_MAX = 4096;

export class KeyTable {
  readonly #chunks: Buffer[] = [];
  /** Two numbers a slot: the hash, and the row number plus one; 0 is empty. The slots are a power of two. */
  #index = new Int32Array(2 * 1024);
  #mask = 1023;
  /** Rows given out so far; those in `#free` were given back. */
  #rows = 0;
  readonly #free: number[] = [];
  #size = 0;
  readonly #profiles = new Profiles();
  readonly #recent = new Map<string, Principal>();
  readonly #accessOf: AccessOf;

  constructor(accessOf: AccessOf) {
    this.#accessOf = accessOf;
  }

  get size(): number {
    return this.#size;
  }

  /** The principal of this digest (32 latin1 characters). */
  get(digest: string): Principal | undefined {
    const recent = this.#recent.get(digest);
    if (recent !== undefined) return recent;
    const row = this.#row(this.#slot(digest));
    if (row === undefined) return undefined;
    const principal = this.#principal(row);
    if (this.#recent.size >= RECENT_MAX) this.#recent.clear();
    this.#recent.set(digest, principal);
    return principal;
  }

  /** Adds the key, or puts it in the place of the one with this digest. */
  set(digest: string, entry: KeyEntry): void {
    if (digest.length !== DIGEST) throw new TypeError('A digest has 32 bytes.');
    const { keyId, ownerId } = entry;
    if (keyId.length > KEY_ID_MAX || ownerId.length > OWNER_ID_MAX) throw new TypeError('An id is too long.');
    this.#recent.delete(digest);
    const slot = this.#slot(digest);
    const known = this.#row(slot);
    const row = known ?? this.#newRow();
    const { chunk, at } = this.#place(row);
    const before = known === undefined ? undefined : chunk.readUInt32LE(at + PROFILE);
    chunk.write(digest, at, DIGEST, 'latin1');
    chunk.writeDoubleLE(entry.expiresAt, at + EXPIRES_AT);
    chunk.writeUInt32LE(this.#profiles.hold(entry.profile), at + PROFILE);
    writeText(chunk, at + KEY_ID, keyId);
    writeText(chunk, at + OWNER_ID, ownerId);
    if (before !== undefined) this.#profiles.release(before);
    if (known !== undefined) return;
    this.#index[2 * slot] = hashOf(digest);
    this.#index[2 * slot + 1] = row + 1;
    this.#size += 1;
    if (this.#size * 2 > this.#mask) this.#growIndex();
  }

  /** Access has changed: principals are made anew when they are next asked for. */
  forgetPrincipals(): void {
    this.#recent.clear();
  }

  delete(digest: string): void {
    this.#recent.delete(digest);
    const slot = this.#slot(digest);
    const row = this.#row(slot);
    if (row === undefined) return;
    const { chunk, at } = this.#place(row);
    this.#profiles.release(chunk.readUInt32LE(at + PROFILE));
    chunk.fill(0, at, at + ROW);
    this.#free.push(row);
    this.#size -= 1;
    this.#closeGap(slot);
  }

  #principal(row: number): Principal {
    const { chunk, at } = this.#place(row);
    const profile = this.#profiles.at(chunk.readUInt32LE(at + PROFILE));
    const ownerId = readText(chunk, at + OWNER_ID);
    const { rights, ownerHasAccess, groups } = this.#accessOf(profile, ownerId);
    return {
      // What `set` was given under this brand.
      keyId: readText(chunk, at + KEY_ID) as KeyId,
      type: profile.type,
      organizationId: profile.organizationId,
      organization: profile.organization,
      project: profile.project,
      ownerType: profile.ownerType,
      ownerId,
      scopes: profile.scopes,
      rights,
      ownerHasAccess,
      groups,
      models: profile.models,
      addresses: profile.addresses,
      expiresAt: chunk.readDoubleLE(at + EXPIRES_AT),
      confirmation: profile.confirmation,
    };
  }

  /** The slot of this digest, or the empty slot where it would stand. */
  #slot(digest: string): number {
    const hash = hashOf(digest);
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const row = this.#row(slot);
      if (row === undefined || (this.#index[2 * slot] === hash && this.#holds(row, digest))) return slot;
    }
  }

  #row(slot: number): number | undefined {
    const entry = this.#index[2 * slot + 1] ?? 0;
    return entry === 0 ? undefined : entry - 1;
  }

  #holds(row: number, digest: string): boolean {
    const { chunk, at } = this.#place(row);
    for (let byte = 0; byte < DIGEST; byte++) {
      if (chunk[at + byte] !== digest.charCodeAt(byte)) return false;
    }
    return true;
  }

  /** Shifts what follows an emptied slot back, as far as each may go towards its home (Knuth 6.4, algorithm R). */
  #closeGap(emptied: number): void {
    const index = this.#index;
    const mask = this.#mask;
    let gap = emptied;
    for (let slot = (gap + 1) & mask; ; slot = (slot + 1) & mask) {
      const [hash = 0, entry = 0] = [index[2 * slot], index[2 * slot + 1]];
      if (entry === 0) break;
      const fromHome = (slot - hash) & mask;
      if (fromHome < ((slot - gap) & mask)) continue;
      index[2 * gap] = hash;
      index[2 * gap + 1] = entry;
      gap = slot;
    }
    index[2 * gap + 1] = 0;
  }

  #growIndex(): void {
    const before = this.#index;
    const index = new Int32Array(before.length * 2);
    const mask = index.length / 2 - 1;
    for (let at = 0; at < before.length; at += 2) {
      const [hash = 0, entry = 0] = [before[at], before[at + 1]];
      if (entry === 0) continue;
      let slot = hash & mask;
      while (index[2 * slot + 1] !== 0) slot = (slot + 1) & mask;
      index[2 * slot] = hash;
      index[2 * slot + 1] = entry;
    }
    this.#index = index;
    this.#mask = mask;
  }

  #newRow(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#rows === this.#chunks.length * ROWS_A_CHUNK)
      this.#chunks.push(Buffer.alloc(ROWS_A_CHUNK * ROW));
    return this.#rows++;
  }

  #place(row: number): { chunk: Buffer; at: number } {
    const chunk = this.#chunks[Math.floor(row / ROWS_A_CHUNK)];
    if (chunk === undefined) throw new RangeError('A row that was never given out.');
    return { chunk, at: (row % ROWS_A_CHUNK) * ROW };
  }
}

/** Profiles by number, each for as long as a row points to it. */
class Profiles {
  readonly #numbers = new Map<Profile, number>();
  readonly #profiles: (Profile | undefined)[] = [];
  readonly #holders: number[] = [];
  readonly #free: number[] = [];

  at(number: number): Profile {
    const profile = this.#profiles[number];
    if (profile === undefined) throw new RangeError('A profile that nobody holds.');
    return profile;
  }

  hold(profile: Profile): number {
    let number = this.#numbers.get(profile);
    if (number === undefined) {
      number = this.#free.pop() ?? this.#profiles.length;
      this.#profiles[number] = profile;
      this.#holders[number] = 0;
      this.#numbers.set(profile, number);
    }
    this.#holders[number] = (this.#holders[number] ?? 0) + 1;
    return number;
  }

  release(number: number): void {
    const left = (this.#holders[number] ?? 0) - 1;
    this.#holders[number] = left;
    if (left > 0) return;
    this.#numbers.delete(this.at(number));
    this.#profiles[number] = undefined;
    this.#free.push(number);
  }
}

function hashOf(digest: string): number {
  return (
    digest.charCodeAt(0) |
    (digest.charCodeAt(1) << 8) |
    (digest.charCodeAt(2) << 16) |
    (digest.charCodeAt(3) << 24)
  );
}

function writeText(chunk: Buffer, at: number, text: string): void {
  chunk[at] = text.length;
  chunk.write(text, at + 1, text.length, 'latin1');
}

function readText(chunk: Buffer, at: number): string {
  return chunk.toString('latin1', at + 1, at + 1 + (chunk[at] ?? 0));
}
