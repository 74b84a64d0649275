import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyRow, Store } from '../../src/store/store.ts';
import { ground, keyRow } from './rows.ts';
import { type StorePlace, stores } from './stores.ts';

describe.each(stores)('loading keys from $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  beforeEach(async () => {
    place = await fresh();
    store = await place.open();
    await store.write((tx) => ground(tx));
  });
  afterEach(() => place.remove());

  const put = (keys: ReturnType<typeof keyRow>[]) =>
    store.write(async (tx) => {
      for (let i = 0; i < keys.length; i += 500) {
        await tx
          .insertInto('api_keys')
          .values(keys.slice(i, i + 500))
          .execute();
      }
    });

  async function loaded(): Promise<KeyRow[]> {
    const rows: KeyRow[] = [];
    await store.loadKeys((batch) => rows.push(...batch));
    return rows.sort(([a], [b]) => (a < b ? -1 : 1));
  }

  it('gives nothing from an empty store', async () => {
    expect(await loaded()).toEqual([]);
  });

  it('gives every usable key once, with every field, and no revoked one', async () => {
    const keys = Array.from({ length: 7003 }, (_, i) => {
      const id = `key_${String(i).padStart(5, '0')}`;
      if (i % 7 === 0) return keyRow(id, { revoked_at: 5 });
      if (i % 7 === 1) return keyRow(id, { type: 'admin', project_id: null, expires_at: 1_900_000_000_000 });
      if (i % 7 === 2)
        return keyRow(id, { scopes: '["model.request"]', models: '["größe"]', addresses: '["10.0.0.0/8"]' });
      if (i % 7 === 3)
        return keyRow(id, { type: 'service_account', owner_type: 'service_account', owner_id: 'svc_acct_1' });
      return keyRow(id);
    });
    await put(keys);
    const expected = keys
      .filter((key) => key.revoked_at === null)
      .map((key) => [
        key.id,
        Buffer.from(key.digest).toString('hex'),
        key.type,
        key.organization_id,
        key.project_id,
        key.owner_type,
        key.owner_id,
        key.scopes,
        key.models,
        key.addresses,
        key.expires_at,
        key.confirmation,
      ]);
    expect(await loaded()).toEqual(expected);
  });

  it.each([1000, 5000, 2000])(
    'ends when the number of keys is exactly that of full batches (%i)',
    async (count) => {
      await put(Array.from({ length: count }, (_, i) => keyRow(`key_${i}`)));
      expect(await loaded()).toHaveLength(count);
    },
  );

  it('goes past any number of revoked keys', async () => {
    await put(
      Array.from({ length: 6000 }, (_, i) =>
        keyRow(`key_${String(i).padStart(4, '0')}`, { revoked_at: i < 5999 ? 1 : null }),
      ),
    );
    expect((await loaded()).map(([id]) => id)).toEqual(['key_5999']);
  });

  it('together with the changes since before it began misses nothing that happens meanwhile', async () => {
    await put(Array.from({ length: 4000 }, (_, i) => keyRow(`key_${i}`)));
    const since = await store.lastChange();
    const usable = new Set<string>();
    const loading = store.loadKeys((batch) => {
      for (const [id] of batch) usable.add(id);
    });
    const meanwhile = Array.from({ length: 20 }, (_, i) =>
      store.write(async (tx) => {
        await tx
          .insertInto('api_keys')
          .values(keyRow(`key_new_${i}`))
          .execute();
        await store.announce(tx, 'api_key', `key_new_${i}`, 1);
        await tx
          .updateTable('api_keys')
          .set({ revoked_at: 2 })
          .where('id', '=', `key_${i * 7}`)
          .execute();
        await store.announce(tx, 'api_key', `key_${i * 7}`, 1);
      }),
    );
    await Promise.all([loading, ...meanwhile]);
    store.follow(since, async (changes) => {
      for (const { objectId } of changes) {
        const key = await store.db
          .selectFrom('api_keys')
          .select('revoked_at')
          .where('id', '=', objectId)
          .executeTakeFirst();
        if (key && key.revoked_at === null) usable.add(objectId);
        else usable.delete(objectId);
      }
    });
    await store.write((tx) => store.announce(tx, 'project', 'last', 1));
    const really = await store.db
      .selectFrom('api_keys')
      .select('id')
      .where('revoked_at', 'is', null)
      .execute();
    expect([...usable].sort()).toEqual(really.map((row) => row.id).sort());
  });

  it('stops when the one who takes the keys fails', async () => {
    await put(Array.from({ length: 3000 }, (_, i) => keyRow(`key_${i}`)));
    const failing = store.loadKeys(() => {
      throw new Error('no room');
    });
    await expect(failing).rejects.toThrow('no room');
    expect(await loaded()).toHaveLength(3000);
  });
});
