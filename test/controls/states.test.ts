// What a project's calls are held to, as the registry of keys knows it: loaded, changed at once on this node, and told
// of by other nodes in time.

import { afterEach, describe, expect, it } from 'vitest';
import { bootstrap } from '../../src/access/bootstrap.ts';
import { createProject } from '../../src/access/store.ts';
import { setOrganizationSetting, setProjectSetting } from '../../src/controls/store.ts';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import type { Store } from '../../src/store/store.ts';
import { freshPostgres, type StoreKind, stores } from '../store/stores.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(kind: StoreKind) {
  const place = await kind.fresh();
  cleanups.push(() => place.remove());
  const clock = new ManualClock();
  const store = await place.open({ clock });
  const made = await bootstrap({ store, clock, adminKey: null });
  if (made?.projectKey == null || made.adminKey === null) throw new Error('The store was not empty.');
  return {
    place,
    store,
    clock,
    projectKey: made.projectKey,
    adminKey: made.adminKey,
    at: { organizationId: made.organizationId, projectId: made.projectId, at: clock.now() },
  };
}

async function following(store: Store, clock: ManualClock): Promise<KeyRegistry> {
  const registry = new KeyRegistry({ clock });
  await registry.load(store);
  const stop = registry.follow(store);
  cleanups.push(() => stop().catch(() => {}));
  return registry;
}

describe.each(stores)('the settings of a project on $kind', (kind) => {
  it('hold before the write resolves, for whoever holds the principal, and are gone when taken away', async () => {
    const { store, clock, at, projectKey } = await setUp(kind);
    const registry = await following(store, clock);
    const project = registry.find(projectKey)?.project;
    expect(project?.controls).toBeNull();
    await store.write((tx) =>
      setProjectSetting(store, tx, at, 'model_permissions', { mode: 'deny_list', model_ids: ['GPT-6'] }),
    );
    expect(project?.settings?.model_permissions).toEqual({ mode: 'deny_list', model_ids: ['GPT-6'] });
    expect(project?.controls?.models).toEqual({ mode: 'deny_list', models: new Set(['gpt-6']) });
    await store.write((tx) => setProjectSetting(store, tx, at, 'model_permissions', null));
    expect(project?.settings).toBeNull();
    expect(project?.controls).toBeNull();
  });

  it('are loaded at a start, and end with what the organization says for all of its projects', async () => {
    const { store, clock, at, projectKey, adminKey } = await setUp(kind);
    await store.write((tx) => setOrganizationSetting(store, tx, at, 'data_retention', 'zero_data_retention'));
    const registry = await following(store, clock);
    const project = registry.find(projectKey)?.project;
    expect(project?.controls?.retention).toMatchObject({ zero: true, strict: false, pseudonyms: true });
    expect(registry.find(adminKey)?.organization).toBe(project?.organization);

    await store.write((tx) => setProjectSetting(store, tx, at, 'data_retention', 'none'));
    expect(project?.controls).toBeNull();
    await store.write((tx) => setProjectSetting(store, tx, at, 'data_retention', 'organization_default'));
    await store.write((tx) =>
      setOrganizationSetting(store, tx, at, 'data_retention', 'modified_abuse_monitoring'),
    );
    expect(project?.controls?.retention).toMatchObject({ zero: false, loggable: false });
    await store.write((tx) => setOrganizationSetting(store, tx, at, 'data_retention', null));
    expect(project?.controls).toBeNull();
  });

  it('hold for a project that is made after the organization was set', async () => {
    const { store, clock, at } = await setUp(kind);
    const lists = [
      { id: 'ipal_1', name: 'office', allowed_ips: ['10.0.0.0/8'], active: true, created_at: at.at },
      { id: 'ipal_2', name: 'old', allowed_ips: ['192.0.2.0/24'], active: false, created_at: at.at },
    ];
    await store.write((tx) => setOrganizationSetting(store, tx, at, 'ip_allowlists', lists));
    const made = await store.write((tx) =>
      createProject(store, tx, { ...at, actor: { type: 'setup' } }, { name: 'later' }),
    );
    const registry = await following(store, clock);
    const state = registry.projectState(made.id);
    expect(state?.organization.addresses?.includes('10.1.2.3')).toBe(true);
    expect(state?.organization.addresses?.includes('192.0.2.1')).toBe(false);
  });

  it('that cannot be read stop the server from starting, instead of being taken for none', async () => {
    const { store, clock, at } = await setUp(kind);
    const row = { organization_id: at.organizationId, project_id: at.projectId, updated_at: 0 };
    await store.db
      .insertInto('project_settings')
      .values({ ...row, name: 'model_permissions', value: '{"mode":"no_list"}' })
      .execute();
    await expect(new KeyRegistry({ clock }).load(store)).rejects.toThrow('model_permissions cannot be read');
    await store.db.updateTable('project_settings').set({ name: 'of_a_later_version' }).execute();
    await new KeyRegistry({ clock }).load(store);
  });
});

describe('on two nodes', () => {
  it('a change is held to on the other within a second', async () => {
    const { place, store, clock, at, projectKey } = await setUp({ kind: 'postgres', fresh: freshPostgres });
    const other = await following(await place.open({ clock }), clock);
    const project = other.find(projectKey)?.project;
    const began = performance.now();
    await store.write((tx) => setProjectSetting(store, tx, at, 'forbidden_tools', ['mcp']));
    while (project?.controls == null && performance.now() - began < 5000)
      await new Promise((resolve) => setTimeout(resolve, 5));
    expect(project?.controls?.forbiddenTools).toEqual(new Set(['mcp']));
    expect(performance.now() - began).toBeLessThan(1000);
  });
});
