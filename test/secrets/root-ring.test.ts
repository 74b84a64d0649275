// Which root key seals, on both stores: made once and kept safe, turned without losing anything, and a node that does
// not have the store's key says so and seals nothing.

import { randomBytes } from 'node:crypto';
import { chmod, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/platform/clock.ts';
import { SetupError } from '../../src/platform/errors.ts';
import { rootKey } from '../../src/secrets/root.ts';
import { RootRing } from '../../src/secrets/root-ring.ts';
import { Seals } from '../../src/secrets/seals.ts';
import { Secret } from '../../src/secrets/secret.ts';
import type { Store } from '../../src/store/store.ts';
import { type StorePlace, stores } from '../store/stores.ts';
import { place } from './seals.ts';

const places: StorePlace[] = [];
afterEach(async () => {
  for (const each of places.splice(0)) await each.remove();
});

interface Given {
  readonly configured?: Secret;
  readonly previous?: Secret;
  readonly dataDir?: string;
}

async function open(at: StorePlace, store: Store, given: Given = {}) {
  const warnings: string[] = [];
  const roots = await RootRing.open({
    store,
    clock: new ManualClock(),
    dataDir: given.dataDir ?? at.dataDir,
    configured: given.configured ?? null,
    previous: given.previous ?? null,
    warn: (message) => warnings.push(message),
  });
  return { roots, seals: new Seals({ roots, alarm: () => {} }), warnings };
}

const newRoot = () => new Secret(randomBytes(32).toString('base64'));

describe.each(stores)('the root key on $kind', (kind) => {
  async function fresh() {
    const at = await kind.fresh();
    places.push(at);
    return { at, store: await at.open() };
  }

  it('is made when the first secret is sealed, for its owner only, with a word about keeping a copy', async () => {
    const { at, store } = await fresh();
    const first = await open(at, store);
    const path = join(at.dataDir, 'root.key');
    await expect(stat(path)).rejects.toThrow('ENOENT');
    const [one, two] = await Promise.all([
      first.seals.seal(place(), 'one'),
      first.seals.seal(place(), 'two'),
    ]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(first.warnings).toHaveLength(1);
    expect(first.warnings[0]).toContain('keep a copy');
    expect(first.warnings[0]?.includes('Every node')).toBe(kind.kind === 'postgres');
    expect(first.warnings[0]).not.toContain((await readFile(path, 'utf8')).trim());
    await chmod(path, 0o644);
    const again = await open(at, store);
    expect((await again.seals.open(place(), one)).toString()).toBe('one');
    expect((await again.seals.open(place(), two)).toString()).toBe('two');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('is missed at the start, in a sentence that says what to do, when it is lost or another', async () => {
    const { at, store } = await fresh();
    const sealed = await (await open(at, store)).seals.seal(place(), 'kept');
    const path = join(at.dataDir, 'root.key');
    const text = (await readFile(path, 'utf8')).trim();
    await rm(path);
    await expect(open(at, store)).rejects.toThrow(SetupError);
    await expect(open(at, store)).rejects.toThrow('put back the copy of that file');
    await expect(open(at, store, { configured: newRoot() })).rejects.toThrow('secrets.previous_root_key');
    const configured = await open(at, store, { configured: new Secret(text) });
    expect((await configured.seals.open(place(), sealed)).toString()).toBe('kept');
  });

  it('of the configuration is changed with the one before beside it, until everything is wrapped again', async () => {
    const { at, store } = await fresh();
    const [old, next] = [newRoot(), newRoot()];
    const before = await (await open(at, store, { configured: old })).seals.seal(place(), 'kept');
    const both = await open(at, store, { configured: next, previous: old });
    expect((await both.seals.open(place(), before)).toString()).toBe('kept');
    const after = await both.seals.rewrap(place(), before);
    if (after === null) throw new Error('nothing was wrapped again');
    // The old key may still be needed: only forgetting it says that it is not.
    await expect(open(at, store, { configured: next })).rejects.toThrow('secrets.previous_root_key');
    await both.roots.forgetOlder();
    const now = await open(at, store, { configured: next });
    expect((await now.seals.open(place(), after)).toString()).toBe('kept');
  });

  it('of the file is turned in place: old and new open, and the old one is gone once it is forgotten', async () => {
    const { at, store } = await fresh();
    const { roots, seals } = await open(at, store);
    const before = await seals.seal(place(), 'kept');
    const [oldId] = roots.ids;
    await roots.turn();
    expect(roots.ids).toHaveLength(2);
    expect(roots.ids[1]).toBe(oldId);
    const after = await seals.rewrap(place(), before);
    if (after === null) throw new Error('nothing was wrapped again');
    const restarted = await open(at, store);
    expect((await restarted.seals.open(place(), before)).toString()).toBe('kept');
    await restarted.roots.forgetOlder();
    expect((await readFile(join(at.dataDir, 'root.key'), 'utf8')).trim().split('\n')).toHaveLength(1);
    await expect(restarted.seals.open(place(), before)).rejects.toMatchObject({ status: 503 });
    expect((await restarted.seals.open(place(), after)).toString()).toBe('kept');
  });
});

describe('two nodes of one database', () => {
  it('do not seal with keys of their own: the second says what is missing', async () => {
    const [, kind] = stores;
    if (kind === undefined) throw new Error('no PostgreSQL');
    const at = await kind.fresh();
    const elsewhere = await kind.fresh();
    places.push(at, elsewhere);
    const [a, b] = [
      await open(at, await at.open()),
      await open(at, await at.open(), { dataDir: elsewhere.dataDir }),
    ];
    const sealed = await a.seals.seal(place(), 'by the first');
    await expect(b.seals.seal(place(), 'by the second')).rejects.toMatchObject({ status: 503 });
    await expect(b.seals.open(place(), sealed)).rejects.toMatchObject({ status: 503 });
    expect(b.warnings.join()).toContain('secrets.root_key');
    const key = (await readFile(join(at.dataDir, 'root.key'), 'utf8')).trim();
    const mended = await open(at, await at.open(), { configured: new Secret(key) });
    expect((await mended.seals.open(place(), sealed)).toString()).toBe('by the first');
    expect(rootKey(Buffer.from(key, 'base64url')).id.toString('hex')).toBe(a.roots.ids[0]);
  });
});
