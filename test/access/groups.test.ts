// Groups through the unmodified official client, and what is known of them in memory.

import { BadRequestError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stores } from '../store/stores.ts';
import { openPlane, type Plane } from './plane.ts';

async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of pages) items.push(item);
  return items;
}

describe.each(stores)('groups on $kind', (kind) => {
  let plane: Plane;
  let userId: string;
  beforeAll(async () => {
    plane = await openPlane(kind);
    const [owner] = await all(plane.admin.admin.organization.users.list());
    userId = owner?.id ?? '';
  });
  afterAll(async () => {
    await plane?.close();
  });
  const groups = () => plane.admin.admin.organization.groups;

  it('are created, retrieved, renamed, listed over pages and deleted', async () => {
    const made = await groups().create({ name: 'Support' });
    expect(made).toEqual({
      id: expect.stringMatching(/^group_[0-9A-Za-z]{24}$/),
      name: 'Support',
      created_at: Math.floor(plane.clock.now() / 1000),
      group_type: 'group',
      is_scim_managed: false,
    });
    expect(await groups().retrieve(made.id)).toEqual(made);
    expect((await groups().update(made.id, { name: 'Help' })).name).toBe('Help');
    const ids = [made.id];
    for (let n = 0; n < 6; n++) ids.push((await groups().create({ name: `Team ${n}` })).id);
    const listed = await all(groups().list({ limit: 2 }));
    expect(listed.map(({ id }) => id).sort()).toEqual([...ids].sort());
    const back = await all(groups().list({ limit: 3, order: 'desc' }));
    expect(back.map(({ id }) => id)).toEqual(listed.map(({ id }) => id).reverse());
    expect(await groups().delete(made.id)).toEqual({ object: 'group.deleted', id: made.id, deleted: true });
    await expect(groups().retrieve(made.id)).rejects.toThrow(NotFoundError);
    await expect(groups().delete(made.id)).rejects.toThrow(NotFoundError);
  });

  it('have a name that no other group of the organization has', async () => {
    const { id } = await groups().create({ name: 'Once' });
    await expect(groups().create({ name: 'Once' })).rejects.toThrow(BadRequestError);
    await expect(groups().create({ name: 'Once' })).rejects.toMatchObject({ param: 'name' });
    const other = await groups().create({ name: 'Twice' });
    await expect(groups().update(other.id, { name: 'Once' })).rejects.toMatchObject({ param: 'name' });
    expect((await groups().update(id, { name: 'Once' })).name).toBe('Once');
  });

  it('hold users and service accounts, whose keys know it at once', async () => {
    const group = await groups().create({ name: 'Budgeted' });
    const account = await plane.admin.admin.organization.projects.serviceAccounts.create(plane.projectId, {
      name: 'bot',
    });
    const added = await groups().users.create(group.id, { user_id: userId });
    expect(added).toEqual({ object: 'group.user', group_id: group.id, user_id: userId });
    await groups().users.create(group.id, { user_id: userId });
    await groups().users.create(group.id, { user_id: account.id });
    expect(plane.registry.access.groupsOf(userId)).toEqual([group.id]);
    expect(plane.registry.find(plane.projectKey)?.groups).toEqual([group.id]);
    expect(plane.registry.find(account.api_key?.value ?? '')?.groups).toEqual([group.id]);
    const members = await all(groups().users.list(group.id));
    expect(members).toHaveLength(2);
    expect(members).toContainEqual({ id: userId, name: 'Owner', email: 'owner@localhost' });
    expect(await groups().users.retrieve(account.id, { group_id: group.id })).toMatchObject({
      is_service_account: true,
      email: null,
      name: 'bot',
    });
    const removed = await groups().users.delete(userId, { group_id: group.id });
    expect(removed).toEqual({ object: 'group.user.deleted', deleted: true });
    expect(plane.registry.find(plane.projectKey)?.groups).toEqual([]);
    await expect(groups().users.retrieve(userId, { group_id: group.id })).rejects.toThrow(NotFoundError);
    await groups().delete(group.id);
    expect(plane.registry.find(account.api_key?.value ?? '')?.groups).toEqual([]);
    await plane.admin.admin.organization.projects.serviceAccounts.delete(account.id, {
      project_id: plane.projectId,
    });
    expect(plane.registry.access.groupsOf(account.id)).toEqual([]);
  });

  it('take nobody from elsewhere, and an unknown group has no members', async () => {
    const group = await groups().create({ name: 'Ours' });
    await expect(groups().users.create(group.id, { user_id: 'user-unknown' })).rejects.toThrow(NotFoundError);
    await expect(groups().users.create('group_unknown', { user_id: userId })).rejects.toThrow(NotFoundError);
    await expect(all(groups().users.list('group_unknown'))).rejects.toThrow(NotFoundError);
  });
});
