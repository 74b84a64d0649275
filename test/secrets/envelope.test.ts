// What is sealed opens in its own place, with its own key, unaltered and whole, and in no other way.

import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ENVELOPE_BYTES } from '../../src/secrets/envelope.ts';
import { PURPOSES, type Purpose } from '../../src/secrets/purpose.ts';
import { readRootKey, rootKey } from '../../src/secrets/root.ts';
import type { Seals } from '../../src/secrets/seals.ts';
import { plainLength, SEGMENT_BYTES, sealedLength } from '../../src/secrets/stream.ts';
import { place, testSeals } from './seals.ts';

const bytes = fc.uint8Array({ maxLength: 500 });

describe('a sealed record', () => {
  it('opens to the same bytes, and no two of the same bytes are alike', async () => {
    const { seals } = testSeals();
    await fc.assert(
      fc.asyncProperty(bytes, async (plain) => {
        const one = await seals.seal(place(), plain);
        expect(await seals.open(place(), one)).toEqual(Buffer.from(plain));
        const other = await seals.seal(place(), plain);
        expect(other.subarray(22, 34)).not.toEqual(one.subarray(22, 34));
        expect(other.subarray(ENVELOPE_BYTES)).not.toEqual(one.subarray(ENVELOPE_BYTES));
      }),
    );
  });

  it('does not open when any byte is altered, or when it is cut or longer', async () => {
    const { seals, alarms } = testSeals();
    const sealed = await seals.seal(place(), 'the plain text marker');
    for (let at = 0; at < sealed.length; at++) {
      const altered = Buffer.from(sealed);
      altered[at] = (altered[at] ?? 0) ^ 1;
      await expect(seals.open(place(), altered), `byte ${at}`).rejects.toThrow();
    }
    for (const wrong of [sealed.subarray(0, -1), Buffer.concat([sealed, Buffer.alloc(1)]), Buffer.alloc(0)]) {
      await expect(seals.open(place(), wrong)).rejects.toMatchObject({ status: 503 });
    }
    expect(alarms.length).toBeGreaterThan(sealed.length - 20);
    expect(seals.failures).toBe(alarms.length);
    for (const { error } of alarms) expect(error.message).not.toContain('marker');
  });

  it('opens for no other organization, project, record or purpose', async () => {
    const { seals } = testSeals();
    const sealed = await seals.seal(place(), 'mine');
    const others = [
      place({ organizationId: 'org-b' }),
      place({ projectId: 'proj_b' }),
      place({ id: 'file-2' }),
      { ...place(), projectId: null },
      // The same letters, cut at another place.
      place({ organizationId: 'org-ap', projectId: 'roj_a' }),
      ...Object.keys(PURPOSES)
        .filter((purpose) => purpose !== 'file')
        .map((purpose) => ({ ...place(), purpose: purpose as Purpose })),
    ];
    for (const other of others)
      await expect(seals.open(other, sealed)).rejects.toMatchObject({ status: 503 });
    expect((await seals.open(place(), sealed)).toString()).toBe('mine');
  });

  it('is wrapped with a new root key without its bytes being touched, and then needs the old one no more', async () => {
    const old = rootKey(randomBytes(32));
    const both = testSeals([old]);
    const sealed = await both.seals.seal(place(), 'kept');
    const { stream, envelope } = await both.seals.sealFile(place());
    const file = await buffer(Readable.from([Buffer.from('a file')]).pipe(stream));
    const next = rootKey(randomBytes(32));
    both.keys.unshift(next);
    const rewrapped = await both.seals.rewrap(place(), sealed);
    const envelopeNow = await both.seals.rewrap(place(), envelope);
    if (rewrapped === null || envelopeNow === null) throw new Error('nothing was wrapped again');
    expect(rewrapped.subarray(ENVELOPE_BYTES)).toEqual(sealed.subarray(ENVELOPE_BYTES));
    expect(await both.seals.rewrap(place(), rewrapped)).toBeNull();
    const after = testSeals([next]).seals;
    expect((await after.open(place(), rewrapped)).toString()).toBe('kept');
    const opened = Readable.from([file]).pipe(await after.openFile(place(), envelopeNow));
    expect((await buffer(opened)).toString()).toBe('a file');
    await expect(after.open(place(), sealed)).rejects.toThrow();
  });
});

describe('a sealed file', () => {
  const open = async (envelope: Buffer, sealed: readonly Buffer[], seals: Seals) => {
    const stream = await seals.openFile(place(), envelope);
    const parts: Buffer[] = [];
    await pipeline(Readable.from(sealed), stream, async (source) => {
      for await (const part of source) parts.push(part);
    });
    return Buffer.concat(parts);
  };
  const seal = async (plain: Buffer, pieces: number, seals: Seals) => {
    const { envelope, stream } = await seals.sealFile(place());
    return { envelope, sealed: await buffer(Readable.from(cutInto(plain, pieces)).pipe(stream)) };
  };
  const sizes = fc.constantFrom(0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES);
  const pieces = fc.integer({ min: 1, max: 9 });

  it('comes out as it went in, whatever pieces it came in, and is as long as was said', async () => {
    const { seals } = testSeals();
    await fc.assert(
      fc.asyncProperty(sizes, pieces, pieces, async (size, a, b) => {
        const plain = randomBytes(size);
        const { envelope, sealed } = await seal(plain, a, seals);
        expect(sealed.length).toBe(sealedLength(size));
        expect(plainLength(sealed.length)).toBe(size);
        expect((await open(envelope, cutInto(sealed, b), seals)).equals(plain)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it('ends with an error when it is cut, a segment is missing, moved, repeated or altered, or it is another', async () => {
    const { seals } = testSeals();
    const plain = randomBytes(3 * SEGMENT_BYTES);
    const { envelope, sealed } = await seal(plain, 3, seals);
    const step = SEGMENT_BYTES + 16;
    const head = sealed.subarray(0, 24);
    const [a, b, c] = [0, 1, 2].map((i) => sealed.subarray(24 + i * step, 24 + (i + 1) * step));
    if (!a || !b || !c) throw new Error('not three segments');
    const altered = Buffer.from(sealed);
    altered[24 + step + 5] = (altered[24 + step + 5] ?? 0) ^ 1;
    const other = await seal(plain, 1, seals);
    const wrong: Buffer[][] = [
      [head, a, b],
      [head, a, c],
      [head, b, a, c],
      [head, a, b, b, c],
      [head, a, b, c.subarray(0, -1)],
      [sealed, Buffer.alloc(1)],
      [head],
      [],
      [altered],
      [other.sealed],
    ];
    for (const [at, parts] of wrong.entries()) {
      await expect(open(envelope, parts, seals), `case ${at}`).rejects.toThrow('do not open');
    }
    await expect(seals.openFile(place({ id: 'file-2' }), envelope)).rejects.toMatchObject({ status: 503 });
  });
});

describe('a root key', () => {
  it('is read from base64, base64url and hexadecimal, and nothing else is taken for one', () => {
    const key = randomBytes(32);
    const hex = key.toString('hex');
    for (const text of [key.toString('base64'), key.toString('base64url'), hex]) {
      expect(readRootKey(text)?.equals(key)).toBe(true);
    }
    for (const text of ['', 'secret', hex.slice(2), '0'.repeat(64), 'A'.repeat(43), `${hex}0`]) {
      expect(readRootKey(text)).toBeUndefined();
    }
  });

  it('gives every purpose and version a key of its own, and the same on every node', () => {
    const material = randomBytes(32);
    const [one, two] = [rootKey(material), rootKey(material)];
    const purposes = Object.keys(PURPOSES) as Purpose[];
    const keys = purposes.flatMap((purpose) => [one.derive(purpose, 1), one.derive(purpose, 2)]);
    expect(new Set(keys.map((key) => key.toString('hex'))).size).toBe(keys.length);
    expect(two.id).toEqual(one.id);
    for (const purpose of purposes) expect(two.derive(purpose, 1)).toEqual(one.derive(purpose, 1));
  });
});

function cutInto(bytes: Buffer, pieces: number): Buffer[] {
  const step = Math.max(1, Math.ceil(bytes.length / pieces));
  return Array.from({ length: pieces }, (_, i) => bytes.subarray(i * step, (i + 1) * step));
}
