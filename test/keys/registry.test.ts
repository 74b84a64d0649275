// The registry of usable keys: loaded whole, kept current, and told of by other nodes in time.

import { afterEach, describe, expect, it } from 'vitest';
import { bootstrap } from '../../src/access/bootstrap.ts';
import { archiveProject, createProject, firstOwner } from '../../src/access/store.ts';
import type { Attribution } from '../../src/audit/model.ts';
import { digestBytes, digestKey, mintKey } from '../../src/keys/format.ts';
import { changeKey, issueKey, type KeyLimits, revokeKey, revokeKeysOfOwner } from '../../src/keys/issue.ts';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { getKey } from '../../src/keys/store.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import type { ProjectId } from '../../src/platform/ids.ts';
import type { Store } from '../../src/store/store.ts';
import { freshPostgres, type StoreKind, type StorePlace, stores } from '../store/stores.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Setup {
  readonly place: StorePlace;
  readonly store: Store;
  readonly clock: ManualClock;
  readonly by: () => Attribution;
  readonly projectId: ProjectId;
}

async function setUp(kind: StoreKind): Promise<Setup> {
  const place = await kind.fresh();
  cleanups.push(() => place.remove());
  const clock = new ManualClock();
  const store = await place.open({ clock });
  const made = await bootstrap({ store, clock, adminKey: null });
  if (made === null) throw new Error('The store was not empty.');
  const { organizationId, projectId } = made;
  const by = () => ({ organizationId, actor: { type: 'setup' as const }, at: clock.now() });
  return { place, store, clock, by, projectId };
}

async function following(store: Store, clock: ManualClock, ticks?: (() => void)[]): Promise<KeyRegistry> {
  const every = (_ms: number, work: () => void) => {
    ticks?.push(work);
    return () => {};
  };
  const registry = new KeyRegistry({ clock, every });
  await registry.load(store);
  const stop = registry.follow(store);
  cleanups.push(() => stop().catch(() => {}));
  return registry;
}

async function issue({ store, by, projectId }: Setup, limits: KeyLimits = {}) {
  return await store.write(async (tx) => {
    const owner = await firstOwner(tx, by().organizationId);
    if (!owner) throw new Error('no owner');
    const order = { type: 'project', name: 'k', projectId, owner: { type: 'user', id: owner.id } } as const;
    return await issueKey(store, tx, by(), { ...order, ...limits });
  });
}

describe.each(stores)('the registry on $kind', (kind) => {
  it('after loading finds the same principals as one that followed every change', async () => {
    const setup = await setUp(kind);
    const live = await following(setup.store, setup.clock);
    const issued = [
      await issue(setup),
      await issue(setup, { scopes: ['api.all.read'], models: ['a', 'b'], addresses: ['10.0.0.0/8'] }),
      await issue(setup, { scopes: ['api.all.read'], models: ['a', 'b'], expiresInSeconds: 60 }),
    ];
    const loaded = await following(setup.store, setup.clock);
    expect(loaded.size).toBe(live.size);
    for (const { value } of issued) {
      const [a, b] = [live.find(value), loaded.find(value)];
      expect(a).toBeDefined();
      expect({ ...b, addresses: null }).toEqual({ ...a, addresses: null });
      expect(b?.addresses?.includes('10.9.9.9')).toBe(a?.addresses?.includes('10.9.9.9'));
    }
    const [, second, third] = issued.map(({ value }) => loaded.find(value));
    expect(second?.project).toBe(third?.project);
    expect(second?.scopes).toBe(third?.scopes);
    expect(second?.models).toBe(third?.models);
  });

  it('finds nothing for a key of the right form that was never issued', async () => {
    const setup = await setUp(kind);
    const registry = await following(setup.store, setup.clock);
    for (let n = 0; n < 100; n++) expect(registry.find(mintKey('project'))).toBeUndefined();
  });

  it('takes changes, revocations, deleted owners and archived projects in before the write resolves', async () => {
    const setup = await setUp(kind);
    const { store, by, clock } = setup;
    const registry = await following(store, clock);
    const { organizationId } = by();
    const scope = { organizationId, projectId: setup.projectId };

    const { key, value } = await issue(setup);
    expect(registry.find(value)?.scopes).toEqual([]);
    await store.write((tx) => changeKey(store, tx, by(), key, { scopes: ['api.all.read'] }));
    expect(registry.find(value)?.scopes).toEqual(['api.all.read']);
    await store.write(async (tx) => revokeKey(store, tx, by(), await getKey(tx, scope, key.id)));
    expect(registry.find(value)).toBeUndefined();

    const left = await issue(setup);
    await store.write(async (tx) => {
      await revokeKeysOfOwner(tx, by(), left.key.owner_id);
      await store.announce(tx, 'user', left.key.owner_id, by().at);
    });
    expect(registry.find(left.value)).toBeUndefined();
    expect(registry.size).toBe(0);

    const project = await store.write((tx) => createProject(store, tx, by(), { name: 'brief' }));
    const brief = await issue({ ...setup, projectId: project.id });
    const principal = registry.find(brief.value);
    expect(principal?.project?.active).toBe(true);
    await store.write((tx) => archiveProject(store, tx, by(), project.id));
    expect(registry.find(brief.value)).toBeUndefined();
    // Also for whoever held the principal across the change.
    expect(principal?.project?.active).toBe(false);
    expect((await following(store, clock)).find(brief.value)).toBeUndefined();
  });

  it('keeps nothing of a change that was rolled back', async () => {
    const setup = await setUp(kind);
    const registry = await following(setup.store, setup.clock);
    const size = registry.size;
    let value = '';
    const failing = setup.store.write(async (tx) => {
      const order = { type: 'admin', name: 'x', projectId: null, owner: { type: 'user', id: 'u' } } as const;
      ({ value } = await issueKey(setup.store, tx, setup.by(), order));
      throw new Error('rolled back');
    });
    await expect(failing).rejects.toThrow('rolled back');
    expect(registry.find(value)).toBeUndefined();
    expect(registry.size).toBe(size);
  });

  it('writes last use behind: nothing at the call, the newest time at the minute, never backwards', async () => {
    const setup = await setUp(kind);
    const ticks: (() => void)[] = [];
    const registry = await following(setup.store, setup.clock, ticks);
    const { key, value } = await issue(setup);
    const id = registry.find(value)?.keyId;
    if (!id) throw new Error('not found');
    const lastUsed = async () =>
      (
        await setup.store.db
          .selectFrom('api_keys')
          .select('last_used_at')
          .where('id', '=', key.id)
          .executeTakeFirst()
      )?.last_used_at;
    const start = setup.clock.now();
    for (let n = 0; n < 1000; n++) registry.touch(id, start + n);
    expect(await lastUsed()).toBeNull();
    expect(ticks).toHaveLength(1);
    ticks[0]?.();
    await expect.poll(lastUsed, { timeout: 10_000 }).toBe(start + 999);
    registry.touch(id, start + 5);
    await registry.flush(setup.store);
    expect(await lastUsed()).toBe(start + 999);
  });

  it('writes the last use of thousands of keys in groups, and keeps what the store did not take', async () => {
    const setup = await setUp(kind);
    const registry = await following(setup.store, setup.clock);
    const issued = [];
    for (let n = 0; n < 30; n++) issued.push(await issue(setup));
    for (const { value } of issued) registry.touch(registry.find(value)?.keyId ?? fail(), 5000);
    const unwilling: Store = Object.assign(Object.create(setup.store), {
      write: () => Promise.reject(new Error('down')),
    });
    await expect(registry.flush(unwilling)).rejects.toThrow('down');
    await registry.flush(setup.store);
    const rows = await setup.store.db
      .selectFrom('api_keys')
      .select('last_used_at')
      .where('last_used_at', 'is not', null)
      .execute();
    expect(rows).toHaveLength(30);
  });
});

function fail(): never {
  throw new Error('not found');
}

describe('two nodes on one PostgreSQL', () => {
  const kind: StoreKind = { kind: 'postgres', fresh: freshPostgres };

  it('a key revoked on one stops on the other within a second, and a new one works there as soon', async () => {
    const setup = await setUp(kind);
    const other = await setup.place.open();
    const [here, there] = [await following(setup.store, setup.clock), await following(other, setup.clock)];
    const waits: number[] = [];
    for (let round = 0; round < 11; round++) {
      const { key, value } = await issue(setup);
      await expect.poll(() => there.find(value), { interval: 2, timeout: 5000 }).toBeDefined();
      await setup.store.write((tx) => revokeKey(setup.store, tx, setup.by(), key));
      const revokedAt = performance.now();
      expect(here.find(value)).toBeUndefined();
      await expect.poll(() => there.find(value), { interval: 2, timeout: 5000 }).toBeUndefined();
      waits.push(performance.now() - revokedAt);
    }
    // The middle one, because a busy machine may stop any process for a second.
    expect(waits.sort((a, b) => a - b)[5]).toBeLessThan(1000);
  });

  it('a node that starts in the middle of changes misses none of them', async () => {
    const setup = await setUp(kind);
    const other = await setup.place.open();
    const issued: { value: string; revoked: boolean }[] = [];
    let changing = true;
    const changes = (async () => {
      while (changing) {
        const { key, value } = await issue(setup);
        const revoked = issued.length % 2 === 0;
        if (revoked) await setup.store.write((tx) => revokeKey(setup.store, tx, setup.by(), key));
        issued.push({ value, revoked });
      }
    })();
    const registries = [];
    for (let n = 0; n < 5; n++) registries.push(await following(other, setup.clock));
    changing = false;
    await changes;
    for (const registry of registries) {
      for (const { value, revoked } of issued) {
        await expect
          .poll(() => registry.find(value) === undefined, { interval: 5, timeout: 10_000 })
          .toBe(revoked);
      }
    }
  });
});

describe('an expired key', () => {
  it('stops at its instant, without any event, also when it was loaded from the store', async () => {
    const [kind] = stores;
    if (!kind) throw new Error('no store');
    const setup = await setUp(kind);
    const { value } = await issue(setup, { expiresInSeconds: 10 });
    const registry = await following(setup.store, setup.clock);
    setup.clock.advance(9_999);
    expect(registry.find(value)).toBeDefined();
    setup.clock.advance(1);
    expect(registry.find(value)).toBeUndefined();
  });
});

describe('an unread project', () => {
  it('gives its keys no way in: what the store does not confirm as active is not', async () => {
    const [kind] = stores;
    if (!kind) throw new Error('no store');
    const setup = await setUp(kind);
    const key = mintKey('project');
    const rows = [
      [
        'key_x',
        Buffer.from(digestBytes(digestKey(key))).toString('hex'),
        'project',
        'org-x',
        'proj_x',
        'user',
        'user-x',
        '[]',
        null,
        null,
        null,
        null,
      ],
    ] as const;
    const odd: Store = Object.assign(Object.create(setup.store), {
      loadKeys: async (take: (batch: typeof rows) => void) => take(rows),
    });
    const registry = new KeyRegistry({ clock: setup.clock });
    await registry.load(odd);
    expect(registry.size).toBe(1);
    expect(registry.find(key)).toBeUndefined();
  });
});
