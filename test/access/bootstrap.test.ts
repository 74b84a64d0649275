import { afterEach, describe, expect, it } from 'vitest';
import { bootstrap } from '../../src/access/bootstrap.ts';
import { verifyChain } from '../../src/audit/chain.ts';
import { Secret } from '../../src/config/model.ts';
import { mintKey, parseKey } from '../../src/keys/format.ts';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import { SetupError } from '../../src/platform/errors.ts';
import type { Store } from '../../src/store/store.ts';
import { type StoreKind, type StorePlace, stores } from '../store/stores.ts';

const clock = new ManualClock();
const places: StorePlace[] = [];
afterEach(async () => {
  for (const place of places.splice(0)) await place.remove();
});

async function emptyStore(kind: StoreKind): Promise<Store> {
  const place = await kind.fresh();
  places.push(place);
  return await place.open();
}

async function registryOf(store: Store): Promise<KeyRegistry> {
  const registry = new KeyRegistry({ clock });
  await registry.load(store);
  return registry;
}

const adminKeys = (store: Store) =>
  store.db
    .selectFrom('api_keys')
    .select(['name', 'revoked_at'])
    .where('type', '=', 'admin')
    .orderBy('id')
    .execute();

describe.each(stores)('the first start on $kind', (kind) => {
  it('makes an organization, its owner, a default project and two keys that work, shown once', async () => {
    const store = await emptyStore(kind);
    const made = await bootstrap({ store, clock, adminKey: null });
    expect(parseKey(made?.adminKey ?? '')).toEqual({ ok: true, type: 'admin' });
    expect(parseKey(made?.projectKey ?? '')).toEqual({ ok: true, type: 'project' });
    const registry = await registryOf(store);
    expect(registry.find(made?.adminKey ?? '')).toMatchObject({ type: 'admin', project: null });
    expect(registry.find(made?.projectKey ?? '')?.project).toMatchObject({
      id: made?.projectId,
      organization: { id: made?.organizationId, settings: null, addresses: null, trust: null },
      active: true,
      settings: null,
      controls: null,
    });
    expect(await verifyChain(store)).toMatchObject({ ok: true, entries: 5 });
    expect(await bootstrap({ store, clock, adminKey: null })).toBeNull();
    expect(registry.size).toBe((await registryOf(store)).size);
  });

  it('with a bootstrap key makes that the admin key and shows nothing', async () => {
    const store = await emptyStore(kind);
    const given = mintKey('admin');
    const made = await bootstrap({ store, clock, adminKey: new Secret(given) });
    expect(made).toMatchObject({ adminKey: null, projectKey: null });
    const registry = await registryOf(store);
    expect(registry.find(given)).toMatchObject({ type: 'admin', organizationId: made?.organizationId });
    expect(registry.size).toBe(1);
    expect(await bootstrap({ store, clock, adminKey: new Secret(given) })).toBeNull();
    expect(await adminKeys(store)).toHaveLength(1);
  });

  it('is done once when several nodes start at the same time', async () => {
    const place = await kind.fresh();
    places.push(place);
    const first = await place.open();
    const second = kind.kind === 'postgres' ? await place.open() : first;
    const results = await Promise.all(
      [first, second, first, second].map((store) => bootstrap({ store, clock, adminKey: null })),
    );
    expect(results.filter((made) => made !== null)).toHaveLength(1);
    expect(await first.db.selectFrom('organizations').select('id').execute()).toHaveLength(1);
  });
});

describe.each(stores)('a later start on $kind', (kind) => {
  it('with another bootstrap key adds it, keeps the old one, and writes that down', async () => {
    const store = await emptyStore(kind);
    const [old, next] = [mintKey('admin'), mintKey('admin')];
    await bootstrap({ store, clock, adminKey: new Secret(old) });
    const before = await verifyChain(store);
    expect(await bootstrap({ store, clock, adminKey: new Secret(next) })).toBeNull();
    const registry = await registryOf(store);
    for (const key of [old, next]) expect(registry.find(key)).toMatchObject({ type: 'admin' });
    expect(await verifyChain(store)).toMatchObject({ ok: true, entries: before.entries + 1 });
  });

  it('does not bring a revoked bootstrap key back, and warns', async () => {
    const store = await emptyStore(kind);
    const given = mintKey('admin');
    await bootstrap({ store, clock, adminKey: new Secret(given) });
    await store.write((tx) => tx.updateTable('api_keys').set({ revoked_at: clock.now() }).execute());
    const warnings: string[] = [];
    const warn = (message: string) => warnings.push(message);
    expect(await bootstrap({ store, clock, adminKey: new Secret(given), warn })).toBeNull();
    expect((await registryOf(store)).find(given)).toBeUndefined();
    expect(await adminKeys(store)).toHaveLength(1);
    expect(warnings).toEqual([expect.stringMatching(/revoked/)]);
    expect(warnings.join()).not.toContain(given);
  });
});

describe('a bootstrap key', () => {
  it('that is no admin key stops the start, says how to make one, and does not repeat it', async () => {
    const [kind] = stores;
    if (!kind) throw new Error('no store');
    const store = await emptyStore(kind);
    const typo = mintKey('admin').replace(/.$/, (last) => (last === '0' ? '1' : '0'));
    for (const text of ['changeme', mintKey('project'), typo, '']) {
      const starting = bootstrap({ store, clock, adminKey: new Secret(text) });
      await expect(starting).rejects.toThrow(SetupError);
      await expect(starting).rejects.toThrow(/keygate keys mint --type admin/);
      if (text !== '') await expect(starting).rejects.not.toThrow(text);
    }
    expect(await store.db.selectFrom('organizations').select('id').execute()).toEqual([]);
  });
});
