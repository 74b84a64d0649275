// Roles, who has them, and that they are held to: through the unmodified official client, on both databases.

import { BadRequestError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stores } from '../store/stores.ts';
import { adminKeyOf, all, joins, keyOf, person, project, ROLE } from './people.ts';
import { clientOf, errorOf, openPlane, type Plane } from './plane.ts';

describe.each(stores)('roles on $kind', (kind) => {
  let plane: Plane;
  beforeAll(async () => {
    plane = await openPlane(kind);
  });
  afterAll(async () => {
    expect(plane?.faults).toEqual([]);
    await plane?.close();
  });
  const organization = () => plane.admin.admin.organization;
  const rights = (key: string) => plane.registry.find(key)?.rights;

  describe('of the organization', () => {
    it('are created, listed after the predefined ones, changed and deleted', async () => {
      const { roles } = organization();
      const made = await roles.create({
        role_name: 'Usage',
        permissions: ['api.usage.read'],
        description: 'looks',
      });
      expect(made).toEqual({
        object: 'role',
        id: expect.stringMatching(/^role_/),
        name: 'Usage',
        description: 'looks',
        permissions: ['api.usage.read'],
        resource_type: 'api.organization',
        predefined_role: false,
      });
      expect(await roles.retrieve(made.id)).toEqual(made);
      const listed = await all(roles.list({ limit: 1 }));
      expect(listed.map(({ name }) => name)).toEqual(['owner', 'reader', 'Usage']);
      expect(listed.map(({ predefined_role }) => predefined_role)).toEqual([true, true, false]);
      const changed = await roles.update(made.id, { role_name: 'Reports', permissions: ['api.groups.read'] });
      expect(changed).toMatchObject({
        name: 'Reports',
        permissions: ['api.groups.read'],
        description: 'looks',
      });
      expect(await roles.delete(made.id)).toEqual({ object: 'role.deleted', id: made.id, deleted: true });
      await expect(roles.retrieve(made.id)).rejects.toThrow(NotFoundError);
    });

    it('that are predefined cannot be changed or deleted', async () => {
      const { roles } = organization();
      await expect(roles.update(ROLE.organizationReader.id, { permissions: [] })).rejects.toThrow(
        BadRequestError,
      );
      await expect(roles.delete(ROLE.organizationOwner.id)).rejects.toThrow(/predefined/);
      await expect(roles.create({ role_name: 'owner', permissions: [] })).rejects.toMatchObject({
        param: 'role_name',
      });
    });

    it('name permissions that there are', async () => {
      const { roles } = organization();
      await expect(
        roles.create({ role_name: 'x', permissions: ['api.usage.read', 'api.made.up'] }),
      ).rejects.toMatchObject({ param: 'permissions[1]' });
    });

    it('are given to users and groups, listed with where they come from, and taken away', async () => {
      const { roles, users, groups } = organization();
      const id = await person(plane);
      const role = await roles.create({ role_name: 'Given', permissions: ['api.usage.read'] });
      const group = await groups.create({ name: 'Given' });
      const given = await users.roles.create(id, { role_id: role.id });
      expect(given).toMatchObject({ object: 'user.role', role, user: { id } });
      expect(await groups.roles.create(group.id, { role_id: role.id })).toMatchObject({
        object: 'group.role',
        group: { object: 'group', id: group.id, scim_managed: false },
      });
      await groups.users.create(group.id, { user_id: id });
      const listed = await all(users.roles.list(id));
      expect(listed.map(({ name }) => name).sort()).toEqual(['Given', 'reader']);
      expect(listed.find(({ name }) => name === 'Given')?.assignment_sources).toEqual([
        { principal_type: 'group', principal_id: group.id },
      ]);
      expect(await users.roles.retrieve(role.id, { user_id: id })).toMatchObject({
        created_by: expect.stringMatching(/^user-/),
        created_by_user_obj: { email: 'owner@localhost' },
      });
      expect(await users.roles.delete(role.id, { user_id: id })).toEqual({
        object: 'user.role.deleted',
        deleted: true,
      });
      await expect(users.roles.delete(role.id, { user_id: id })).rejects.toThrow(NotFoundError);
      expect(await users.roles.retrieve(role.id, { user_id: id })).toMatchObject({ id: role.id });
      expect(await groups.roles.delete(role.id, { group_id: group.id })).toEqual({
        object: 'group.role.deleted',
        deleted: true,
      });
      await expect(users.roles.retrieve(role.id, { user_id: id })).rejects.toThrow(NotFoundError);
    });

    it('of an owner make an owner, and taking it away ends that', async () => {
      const { users } = organization();
      const id = await person(plane);
      await users.roles.create(id, { role_id: ROLE.organizationOwner.id });
      expect((await users.retrieve(id)).role).toBe('owner');
      await users.roles.delete(ROLE.organizationOwner.id, { user_id: id });
      expect((await users.retrieve(id)).role).toBe('reader');
    });
  });

  describe('of a project', () => {
    it('are the project’s own: another project neither sees nor gives them', async () => {
      const { roles, users } = organization().projects;
      const other = await project(plane, 'Roles');
      const made = await roles.create(other, { role_name: 'Files', permissions: ['api.files.read'] });
      expect(made.resource_type).toBe('api.project');
      expect((await all(roles.list(other))).map(({ name }) => name)).toEqual([
        'owner',
        'member',
        'viewer',
        'Files',
      ]);
      await expect(roles.retrieve(made.id, { project_id: plane.projectId })).rejects.toThrow(NotFoundError);
      await expect(organization().roles.retrieve(made.id)).rejects.toThrow(NotFoundError);
      const id = await person(plane);
      await expect(users.roles.create(id, { project_id: plane.projectId, role_id: made.id })).rejects.toThrow(
        NotFoundError,
      );
      await expect(
        users.roles.create(id, { project_id: other, role_id: ROLE.organizationOwner.id }),
      ).rejects.toThrow(NotFoundError);
      await expect(
        roles.create(other, { role_name: 'Too much', permissions: ['api.management.read'] }),
      ).rejects.toMatchObject({ param: 'permissions[0]' });
    });

    it('open the project to whoever has one, with what it grants and no more', async () => {
      const { roles, users } = organization().projects;
      const other = await project(plane, 'Opened');
      const role = await roles.create(other, {
        role_name: 'Embedder',
        permissions: ['api.model.embeddings.request', 'api.files.write'],
      });
      const id = await person(plane);
      await users.roles.create(id, { project_id: other, role_id: role.id });
      const key = await keyOf(plane, other, id);
      expect([...(rights(key) ?? [])].sort()).toEqual([
        'api.files.read',
        'api.files.write',
        'api.model.embeddings.request',
      ]);
      const narrow = await keyOf(plane, other, id, { scopes: ['api.all.read', 'api.model.request'] });
      expect([...(rights(narrow) ?? [])].sort()).toEqual(['api.files.read', 'api.model.embeddings.request']);
      await roles.update(role.id, { project_id: other, permissions: ['api.files.read'] });
      expect([...(rights(key) ?? [])]).toEqual(['api.files.read']);
      expect(await users.retrieve(id, { project_id: other })).toMatchObject({ role: 'Embedder' });
      await roles.delete(role.id, { project_id: other });
      expect(plane.registry.find(key)).toBeUndefined();
      await expect(users.retrieve(id, { project_id: other })).rejects.toThrow(NotFoundError);
    });

    it('owner, member and viewer are what the table says', async () => {
      const { users } = organization().projects;
      const id = await person(plane);
      await joins(plane, plane.projectId, id, 'viewer');
      const key = await keyOf(plane, plane.projectId, id);
      expect(rights(key)?.has('api.files.read')).toBe(true);
      expect(rights(key)?.has('api.model.request')).toBe(false);
      expect(rights(key)?.has('api.files.write')).toBe(false);
      expect((await users.update(id, { project_id: plane.projectId, role: 'member' })).role).toBe('member');
      expect(rights(key)?.has('api.model.request')).toBe(true);
      expect(rights(key)?.has('api.organization.projects.write')).toBe(false);
      expect((await users.update(id, { project_id: plane.projectId, role: 'owner' })).role).toBe('owner');
      expect(rights(key)?.has('api.organization.projects.write')).toBe(true);
      expect(rights(key)?.has('api.management.read')).toBe(false);
      const listed = await all(users.list(plane.projectId, { limit: 1 }));
      expect(listed.map((user) => user.id)).toContain(id);
      await expect(users.create(plane.projectId, { user_id: id, role: 'member' })).rejects.toMatchObject({
        param: 'user_id',
      });
      await expect(
        users.create(plane.projectId, { email: 'owner@localhost', role: 'boss' }),
      ).rejects.toMatchObject({ param: 'role' });
    });

    it('come by groups too, and go with them', async () => {
      const { groups } = organization();
      const projects = organization().projects;
      const other = await project(plane, 'Grouped');
      const group = await groups.create({ name: 'Whole team' });
      const id = await person(plane);
      await groups.users.create(group.id, { user_id: id });
      const added = await projects.groups.create(other, { group_id: group.id, role: ROLE.projectMember.id });
      expect(added).toMatchObject({
        object: 'project.group',
        project_id: other,
        group_id: group.id,
        group_name: 'Whole team',
        group_type: 'group',
      });
      expect(await projects.groups.retrieve(group.id, { project_id: other })).toEqual(added);
      expect(await all(projects.groups.list(other))).toEqual([added]);
      const key = await keyOf(plane, other, id);
      expect(rights(key)?.has('api.model.request')).toBe(true);
      await projects.groups.roles.create(group.id, { project_id: other, role_id: ROLE.projectOwner.id });
      expect(rights(key)?.has('api.organization.projects.write')).toBe(true);
      expect(await projects.groups.delete(group.id, { project_id: other })).toEqual({
        object: 'project.group.deleted',
        deleted: true,
      });
      expect(plane.registry.find(key)).toBeUndefined();
      await expect(projects.groups.retrieve(group.id, { project_id: other })).rejects.toThrow(NotFoundError);
    });
  });

  describe('are held to on the control plane', () => {
    const as = async (userId: string, scopes: string[] = []) =>
      clientOf(plane.app, await adminKeyOf(plane, userId, scopes)).admin.organization;

    it('an admin key does what its owner may: a reader reads groups and roles, an owner everything', async () => {
      const reader = await as(await person(plane));
      await expect(all(reader.groups.list())).resolves.toBeDefined();
      expect(await all(reader.projects.list())).toEqual([]);
      await expect(all(reader.users.list())).rejects.toMatchObject({ status: 403 });
      await expect(reader.groups.create({ name: 'no' })).rejects.toMatchObject({ status: 403 });
      const owner = await as(await person(plane, 'owner'));
      await expect(all(owner.projects.list())).resolves.toBeDefined();
    });

    it('an admin key of an owner does what its scopes say', async () => {
      const id = await person(plane, 'owner');
      const looks = await as(id, ['api.management.read']);
      await expect(all(looks.projects.list())).resolves.toBeDefined();
      await expect(looks.projects.create({ name: 'no' })).rejects.toThrow(/api\.management\.write/);
      const reports = await as(id, ['api.usage.read']);
      await expect(reports.usage.costs({ start_time: 0 })).resolves.toBeDefined();
      await expect(all(reports.projects.list())).rejects.toThrow(/api\.management\.read/);
    });

    it('a restricted admin key makes no key that may more', async () => {
      const id = await person(plane, 'owner');
      const restricted = await adminKeyOf(plane, id, ['api.management.write']);
      const made = await plane.call('POST', '/v1/keygate/admin_api_keys', {
        key: restricted,
        body: { name: 'n' },
      });
      expect(made.body).toMatchObject({ scopes: ['api.management.write'] });
      const more = { name: 'n', scopes: ['api.usage.read'] };
      const refused = await plane.call('POST', '/v1/keygate/admin_api_keys', { key: restricted, body: more });
      expect(refused.status).toBe(403);
      const others = {
        name: 'n',
        owner_user_id: (await all(plane.admin.admin.organization.users.list()))[0]?.id,
      };
      const another = await plane.call('POST', '/v1/keygate/admin_api_keys', {
        key: restricted,
        body: others,
      });
      expect(another.body).toMatchObject({ scopes: ['api.management.write'] });
    });

    it('a project owner administers its project and no other, which for it is not there', async () => {
      const mine = await project(plane, 'Mine');
      const id = await person(plane);
      await joins(plane, mine, id, 'owner');
      const me = await as(id);
      expect((await all(me.projects.list())).map((one) => one.id)).toEqual([mine]);
      const account = await me.projects.serviceAccounts.create(mine, { name: 'bot' });
      expect(plane.registry.find(account.api_key?.value ?? '')).toBeDefined();
      await me.projects.users.create(mine, { user_id: await person(plane), role: 'member' });
      await me.projects.update(mine, { name: 'Still mine' });
      for (const elsewhere of [plane.projectId, 'proj_none']) {
        await expect(me.projects.retrieve(elsewhere)).rejects.toThrow(NotFoundError);
        await expect(me.projects.serviceAccounts.create(elsewhere, { name: 'no' })).rejects.toThrow(
          NotFoundError,
        );
        await expect(all(me.projects.apiKeys.list(elsewhere))).rejects.toThrow(NotFoundError);
      }
      await expect(me.projects.archive(mine)).rejects.toMatchObject({ status: 403 });
    });

    it('a member has keys of its own and sees nobody else’s; it creates no service account', async () => {
      const here = await project(plane, 'Members');
      const id = await person(plane);
      await joins(plane, here, id);
      const key = await adminKeyOf(plane, id);
      const path = `/v1/keygate/projects/${here}/api_keys`;
      const own = await plane.call('POST', path, { key, body: { name: 'own' } });
      expect(own.status).toBe(200);
      const owner = await person(plane, 'owner');
      const strange = await keyOf(plane, here, owner);
      const strangeId = plane.registry.find(strange)?.keyId ?? '';
      const inName = await plane.call('POST', path, { key, body: { name: 'no', owner_user_id: owner } });
      expect(inName.status).toBe(403);
      const me = clientOf(plane.app, key).admin.organization.projects;
      expect((await all(me.apiKeys.list(here))).map((one) => one.owner.user?.id)).toEqual([id]);
      await expect(me.apiKeys.retrieve(strangeId, { project_id: here })).rejects.toThrow(NotFoundError);
      await expect(me.apiKeys.delete(strangeId, { project_id: here })).rejects.toThrow(NotFoundError);
      await expect(me.apiKeys.update(strangeId, { project_id: here, scopes: [] })).rejects.toThrow(
        NotFoundError,
      );
      await expect(me.serviceAccounts.create(here, { name: 'no' })).rejects.toMatchObject({ status: 403 });
      await expect(me.users.create(here, { user_id: owner, role: 'member' })).rejects.toMatchObject({
        status: 403,
      });
    });

    it('nobody gives rights that they do not have', async () => {
      const { roles, users, groups } = organization();
      const id = await person(plane);
      const writer = await roles.create({
        role_name: 'Role writer',
        permissions: ['api.roles.write', 'api.groups.write', 'api.usage.read'],
      });
      await users.roles.create(id, { role_id: writer.id });
      const me = await as(id);
      await expect(me.users.roles.create(id, { role_id: ROLE.organizationOwner.id })).rejects.toMatchObject({
        status: 403,
      });
      await expect(
        me.roles.create({ role_name: 'More', permissions: ['api.management.write'] }),
      ).rejects.toThrow(/do not have/);
      await expect(me.roles.update(writer.id, { permissions: ['api.management.write'] })).rejects.toThrow(
        /do not have/,
      );
      const owners = await groups.create({ name: 'Owners' });
      await groups.roles.create(owners.id, { role_id: ROLE.organizationOwner.id });
      await expect(me.groups.users.create(owners.id, { user_id: id })).rejects.toThrow(/do not have/);
      await expect(me.groups.delete(owners.id)).rejects.toThrow(/do not have/);
      const less = await me.roles.create({ role_name: 'Less', permissions: ['api.usage.read'] });
      expect((await me.users.roles.create(id, { role_id: less.id })).role.id).toBe(less.id);
      const projectOwner = await person(plane);
      const mine = await project(plane, 'No more');
      await joins(plane, mine, projectOwner, 'owner');
      const they = await as(projectOwner, ['api.organization.projects.write']);
      await expect(they.projects.users.create(mine, { user_id: id, role: 'owner' })).rejects.toThrow(
        /do not have/,
      );
    });

    it('a custom role of the organization counts in every project', async () => {
      const { roles, users } = organization();
      const id = await person(plane);
      const role = await roles.create({ role_name: 'Everywhere', permissions: ['api.files.read'] });
      await users.roles.create(id, { role_id: role.id });
      const other = await project(plane, 'Everywhere');
      const key = await keyOf(plane, other, id);
      expect([...(rights(key) ?? [])]).toEqual(['api.files.read']);
      await users.roles.delete(role.id, { user_id: id });
      expect(plane.registry.find(key)).toBeUndefined();
    });

    it('scopes of keys are named, and of the kind that the key is of', async () => {
      const path = `/v1/keygate/projects/${plane.projectId}/api_keys`;
      for (const scopes of [
        ['api.files.read', 'api.made.up'],
        ['api.files.read', 'api.management.read'],
      ]) {
        const reply = await plane.call('POST', path, { body: { name: 'n', scopes } });
        expect(reply.status).toBe(400);
        expect(errorOf(reply).param).toBe('scopes[1]');
      }
    });
  });
});
