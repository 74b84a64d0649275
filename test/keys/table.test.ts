import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NO_RIGHTS } from '../../src/access/permission-names.ts';
import type { Principal } from '../../src/keys/model.ts';
import { States } from '../../src/keys/states.ts';
import { type KeyEntry, KeyTable, type OwnerAccess, type Profile } from '../../src/keys/table.ts';
import type { KeyId, OrganizationId } from '../../src/platform/ids.ts';

const states = new States(() => null);

const profiles: Profile[] = [0, 1, 2].map((n) => ({
  type: 'project',
  organizationId: 'org-1' as OrganizationId,
  organization: states.organization('org-1'),
  project: states.project(`proj_${n}`, 'org-1'),
  ownerType: 'user',
  scopes: [],
  models: n === 0 ? null : new Set([`m${n}`]),
  addresses: null,
  confirmation: null,
}));

// Few different first bytes, so that digests share their places in the index and run into each other.
const digests = fc
  .tuple(fc.constantFrom('\x00', '\x01', '\xff'), fc.constantFrom('\x00', '\x03', '\xfe'), fc.nat(5))
  .map(([a, b, n]) => `${a}${b}${'\xff\x80'.repeat(14)}\x00${String.fromCharCode(250 + n)}`);
const entries: fc.Arbitrary<KeyEntry> = fc.record({
  keyId: fc.stringMatching(/^key_[0-9A-Za-z]{0,24}$/).map((id) => id as KeyId),
  ownerId: fc.stringMatching(/^(user-|svc_acct_)[0-9A-Za-z]{0,24}$/),
  expiresAt: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 8.64e15 })),
  profile: fc.constantFrom(...profiles),
});
const steps = fc.oneof(
  fc.record({ digest: digests, entry: entries }),
  fc.record({ digest: digests, entry: fc.constant(null) }),
);

/** An owner's access, as plainly as it can be told from the entry. */
function accessOf(profile: Profile, ownerId: string): OwnerAccess {
  return { rights: NO_RIGHTS, ownerHasAccess: true, groups: [`${ownerId} in ${profile.project?.id}`] };
}

function principalOf({ profile, ...entry }: KeyEntry): Principal {
  return { ...profile, ...entry, ...accessOf(profile, entry.ownerId) };
}

describe('the table of keys', () => {
  it('answers as a plain map does, whatever is set, replaced and deleted in whatever order', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 200 }), fc.boolean(), (changes, lookBetween) => {
        const table = new KeyTable(accessOf);
        const model = new Map<string, KeyEntry>();
        for (const { digest, entry } of changes) {
          if (entry === null) {
            table.delete(digest);
            model.delete(digest);
          } else {
            table.set(digest, entry);
            model.set(digest, entry);
          }
          expect(table.size).toBe(model.size);
          if (lookBetween) {
            const expected = model.get(digest);
            expect(table.get(digest)).toEqual(expected && principalOf(expected));
          }
        }
        for (const { digest } of changes) {
          const expected = model.get(digest);
          expect(table.get(digest)).toEqual(expected && principalOf(expected));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('stays right through growing to many keys and shrinking back, and uses given-up rows again', () => {
    const table = new KeyTable(accessOf);
    const digestOf = (n: number) => {
      const bytes = Buffer.alloc(32);
      // Spread as a hash would, deterministically.
      bytes.writeUInt32LE(Math.imul(n, 2_654_435_761) >>> 0, 0);
      bytes.writeUInt32LE(n, 28);
      return bytes.toString('latin1');
    };
    const count = 60_000;
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < count; n++) {
        const profile = profiles[n % 3];
        if (profile)
          table.set(digestOf(n), { keyId: `key_${n}` as KeyId, ownerId: `user-${n}`, expiresAt: n, profile });
      }
      expect(table.size).toBe(count);
      for (let n = 0; n < count; n += 7) {
        expect(table.get(digestOf(n))).toMatchObject({
          keyId: `key_${n}`,
          ownerId: `user-${n}`,
          expiresAt: n,
        });
        expect(table.get(digestOf(n))?.project).toBe(profiles[n % 3]?.project);
      }
      expect(table.get(digestOf(count))).toBeUndefined();
      for (let n = 0; n < count; n += 2) table.delete(digestOf(n));
      expect(table.size).toBe(count / 2);
      for (let n = 0; n < count; n += 5) {
        const expected = n % 2 === 0 ? undefined : `key_${n}`;
        if (table.get(digestOf(n))?.keyId !== expected) throw new Error(`wrong at ${n} after deletion`);
      }
    }
  });

  it('refuses what would not fit its rows, instead of cutting it', () => {
    const table = new KeyTable(accessOf);
    const [profile] = profiles;
    if (!profile) throw new Error('no profile');
    const entry = { keyId: 'key_1' as KeyId, ownerId: 'user-1', expiresAt: 0, profile };
    const digest = 'd'.repeat(32);
    expect(() => table.set('short', entry)).toThrow(TypeError);
    expect(() => table.set(digest, { ...entry, keyId: `key_${'x'.repeat(25)}` as KeyId })).toThrow(TypeError);
    expect(() => table.set(digest, { ...entry, ownerId: 'x'.repeat(34) })).toThrow(TypeError);
    expect(table.size).toBe(0);
  });
});
