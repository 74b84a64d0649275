// The Administration API through the unmodified official client, on both databases.

import { AuthenticationError, BadRequestError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseKey } from '../../src/keys/format.ts';
import { stores } from '../store/stores.ts';
import { clientOf, field, openPlane, type Plane } from './plane.ts';

async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of pages) items.push(item);
  return items;
}

describe.each(stores)('the official client on $kind', (kind) => {
  let plane: Plane;
  beforeAll(async () => {
    plane = await openPlane(kind);
  });
  afterAll(async () => {
    await plane?.close();
  });
  const organization = () => plane.admin.admin.organization;

  describe('projects', () => {
    it('creates, retrieves, renames, lists and archives a project', async () => {
      const { projects } = organization();
      const made = await projects.create({ name: 'Search' });
      expect(made).toEqual({
        object: 'organization.project',
        id: expect.stringMatching(/^proj_[0-9A-Za-z]{24}$/),
        name: 'Search',
        created_at: Math.floor(plane.clock.now() / 1000),
        archived_at: null,
        status: 'active',
        external_key_id: null,
      });
      expect(await projects.retrieve(made.id)).toEqual(made);
      expect((await projects.update(made.id, { name: 'Find' })).name).toBe('Find');
      expect((await projects.retrieve(made.id)).name).toBe('Find');
      const archived = await projects.archive(made.id);
      expect(archived).toMatchObject({ status: 'archived', archived_at: expect.any(Number), name: 'Find' });
      expect(await projects.archive(made.id)).toEqual(archived);
      expect((await all(projects.list())).map((p) => p.id)).not.toContain(made.id);
      expect((await all(projects.list({ include_archived: true }))).map((p) => p.id)).toContain(made.id);
    });

    it('lists every project once over many pages, also those made in the same millisecond', async () => {
      const { projects } = organization();
      const made = new Set<string>();
      for (let n = 0; n < 25; n++) made.add((await projects.create({ name: `Page ${n}` })).id);
      const listed = await all(projects.list({ limit: 4 }));
      const ids = listed.map((p) => p.id);
      expect(new Set(ids).size).toBe(ids.length);
      for (const id of made) expect(ids).toContain(id);
      const times = listed.map((p) => p.created_at);
      expect(times).toEqual([...times].sort((a, b) => a - b));
      const first = await projects.list({ limit: 4 });
      expect(first.has_more).toBe(true);
      expect(first.last_id).toBe(first.data.at(-1)?.id);
    });

    it('keeps the default project, and leaves an archived one as it is', async () => {
      const { projects } = organization();
      await expect(projects.archive(plane.projectId)).rejects.toThrow(BadRequestError);
      const { id } = await projects.create({ name: 'Over' });
      await projects.archive(id);
      await expect(projects.update(id, { name: 'Again' })).rejects.toThrow(/archived/);
      await expect(projects.serviceAccounts.create(id, { name: 'late' })).rejects.toThrow(/archived/);
      const late = await plane.call('POST', `/v1/keygate/projects/${id}/api_keys`, {
        body: { name: 'late' },
      });
      expect(late.status).toBe(400);
    });

    it('stops a project’s keys with its archiving, before the reply arrives', async () => {
      const { id } = await organization().projects.create({ name: 'Brief' });
      const account = await organization().projects.serviceAccounts.create(id, { name: 'bot' });
      const person = await plane.call('POST', `/v1/keygate/projects/${id}/api_keys`, {
        body: { name: 'me' },
      });
      const keys = [account.api_key?.value ?? '', field(person, 'value')];
      for (const key of keys) expect(plane.registry.find(key)).toBeDefined();
      await organization().projects.archive(id);
      for (const key of keys) expect(plane.registry.find(key)).toBeUndefined();
    });
  });

  describe('project keys', () => {
    const issue = async (projectId: string, body: object) =>
      await plane.call('POST', `/v1/keygate/projects/${projectId}/api_keys`, { body });

    it('are issued by keygate’s own route, with the plaintext in that reply and nowhere after', async () => {
      const reply = await issue(plane.projectId, {
        name: 'laptop',
        scopes: ['api.model.request'],
        models: ['gpt-6-luna'],
        addresses: ['10.1.2.3/8', '192.0.2.1'],
        expires_in_seconds: 3600,
      });
      expect(reply.status).toBe(200);
      const value = field(reply, 'value');
      const now = Math.floor(plane.clock.now() / 1000);
      expect(parseKey(value)).toEqual({ ok: true, type: 'project' });
      expect(reply.body).toMatchObject({
        object: 'organization.project.api_key',
        name: 'laptop',
        type: 'project',
        status: 'active',
        scopes: ['api.model.request'],
        models: ['gpt-6-luna'],
        addresses: ['10.0.0.0/8', '192.0.2.1/32'],
        created_at: now,
        expires_at: now + 3600,
        last_used_at: null,
        revoked_at: null,
        owner_project_access: 'active',
        owner: { type: 'user', user: { role: 'owner' } },
      });
      const id = field(reply, 'id');
      const principal = plane.registry.find(value);
      expect(principal).toMatchObject({ keyId: id, type: 'project', organizationId: plane.organizationId });
      expect(principal?.project?.id).toBe(plane.projectId);
      const shown = await plane.call('GET', `/v1/keygate/projects/${plane.projectId}/api_keys/${id}`);
      expect(JSON.stringify(shown.body)).not.toContain(value);
      expect(shown.body).not.toHaveProperty('value');
    });

    it('are listed and retrieved in the published shape, over pages', async () => {
      const { id: project_id } = await organization().projects.create({ name: 'Keys' });
      for (let n = 0; n < 7; n++) await issue(project_id, { name: `key ${n}` });
      const { apiKeys } = organization().projects;
      const listed = await all(apiKeys.list(project_id, { limit: 3 }));
      expect(listed.map((key) => key.name).sort()).toEqual([0, 1, 2, 3, 4, 5, 6].map((n) => `key ${n}`));
      const [first] = listed;
      expect(first).toEqual({
        object: 'organization.project.api_key',
        id: expect.stringMatching(/^key_/),
        name: expect.any(String),
        redacted_value: expect.stringMatching(/^sk-proj-[0-9A-Za-z]{3}\.\.\.[0-9A-Za-z]{4}$/),
        created_at: expect.any(Number),
        last_used_at: null,
        expires_at: null,
        owner_project_access: 'active',
        owner: {
          type: 'user',
          user: {
            id: expect.stringMatching(/^user-/),
            name: 'Owner',
            email: 'owner@localhost',
            role: 'owner',
            created_at: expect.any(Number),
          },
        },
      });
      expect(await apiKeys.retrieve(first?.id ?? '', { project_id })).toEqual(first);
      expect(await all(apiKeys.list(project_id, { owner_project_access: 'inactive' }))).toEqual([]);
    });

    it('are gone from the registry before the reply to their deletion arrives, and stay gone', async () => {
      const { apiKeys } = organization().projects;
      for (let n = 0; n < 10; n++) {
        const made = await issue(plane.projectId, { name: 'short-lived' });
        const [id, value] = [field(made, 'id'), field(made, 'value')];
        expect(plane.registry.find(value)).toBeDefined();
        const deleted = await apiKeys.delete(id, { project_id: plane.projectId });
        expect(plane.registry.find(value)).toBeUndefined();
        expect(deleted).toEqual({ object: 'organization.project.api_key.deleted', id, deleted: true });
        await expect(apiKeys.delete(id, { project_id: plane.projectId })).rejects.toThrow(NotFoundError);
        await expect(apiKeys.retrieve(id, { project_id: plane.projectId })).rejects.toThrow(NotFoundError);
        const shown = await plane.call('GET', `/v1/keygate/projects/${plane.projectId}/api_keys/${id}`);
        expect(shown.body).toMatchObject({ id, status: 'revoked', revoked_at: expect.any(Number) });
        expect(plane.registry.find(value)).toBeUndefined();
      }
    });

    it('that were revoked are listed by keygate’s own route when asked for', async () => {
      const { id: project } = await organization().projects.create({ name: 'History' });
      const kept = field(await issue(project, { name: 'kept' }), 'id');
      const gone = field(await issue(project, { name: 'gone' }), 'id');
      await organization().projects.apiKeys.delete(gone, { project_id: project });
      const ids = async (query: string) => {
        const reply = await plane.call('GET', `/v1/keygate/projects/${project}/api_keys${query}`);
        return (reply.body as { data: { id: string }[] }).data.map((key) => key.id).sort();
      };
      expect(await ids('')).toEqual([kept]);
      expect(await ids('?status=all')).toEqual([kept, gone].sort());
    });

    it('change their scopes and their expiry, in effect with the reply', async () => {
      const made = await issue(plane.projectId, { name: 'narrowed' });
      const [id, value] = [field(made, 'id'), field(made, 'value')];
      const project_id = plane.projectId;
      const { apiKeys } = organization().projects;
      expect(plane.registry.find(value)?.scopes).toEqual([]);
      const narrowed = await apiKeys.update(id, { project_id, scopes: ['api.all.read'] });
      expect(narrowed).toEqual(await apiKeys.retrieve(id, { project_id }));
      expect(narrowed).not.toHaveProperty('value');
      expect(plane.registry.find(value)?.scopes).toEqual(['api.all.read']);
      const limited = await apiKeys.update(id, { project_id, expires_in_seconds: 60 });
      expect(limited.expires_at).toBe(Math.floor(plane.clock.now() / 1000) + 60);
      expect(plane.registry.find(value)?.scopes).toEqual(['api.all.read']);
      plane.clock.advance(59_999);
      expect(plane.registry.find(value)).toBeDefined();
      plane.clock.advance(1);
      expect(plane.registry.find(value)).toBeUndefined();
      await expect(apiKeys.update(id, { project_id, expires_in_seconds: 60 })).rejects.toThrow(/expired key/);
      const shown = await plane.call('GET', `/v1/keygate/projects/${plane.projectId}/api_keys/${id}`);
      expect(shown.body).toMatchObject({ status: 'expired' });
    });

    it('of type test are issued as sk-test- keys', async () => {
      const made = await issue(plane.projectId, { name: 'sandboxed', type: 'test' });
      expect(parseKey(field(made, 'value'))).toEqual({ ok: true, type: 'test' });
      expect(plane.registry.find(field(made, 'value'))?.type).toBe('test');
    });
  });

  describe('service accounts', () => {
    it('come with a key shown once, and take their keys with them when they are deleted', async () => {
      const { serviceAccounts } = organization().projects;
      const project_id = plane.projectId;
      const made = await serviceAccounts.create(project_id, { name: 'ci' });
      expect(made).toEqual({
        object: 'organization.project.service_account',
        id: expect.stringMatching(/^svc_acct_/),
        name: 'ci',
        role: 'member',
        created_at: expect.any(Number),
        api_key: {
          object: 'organization.project.service_account.api_key',
          id: expect.stringMatching(/^key_/),
          value: expect.stringMatching(/^sk-svcacct-/),
          name: 'Secret Key',
          created_at: expect.any(Number),
          expires_at: null,
        },
      });
      const brief = await serviceAccounts.create(project_id, { name: 'brief', expires_in_seconds: 60 });
      expect(brief.api_key?.expires_at).toBe(Math.floor(plane.clock.now() / 1000) + 60);
      const lasting = await serviceAccounts.apiKeys.create(brief.id, {
        project_id,
        expires_in_seconds: null,
      });
      expect(lasting.expires_at).toBeNull();
      const second = await serviceAccounts.apiKeys.create(made.id, {
        project_id,
        name: 'two',
        scopes: ['api.all.read'],
      });
      const values = [made.api_key?.value ?? '', second.value];
      for (const value of values) {
        expect(plane.registry.find(value)).toMatchObject({ type: 'service_account', ownerId: made.id });
      }
      expect(plane.registry.find(second.value)?.scopes).toEqual(['api.all.read']);
      const { api_key: _, ...account } = made;
      expect(await serviceAccounts.retrieve(made.id, { project_id })).toEqual(account);
      expect((await serviceAccounts.update(made.id, { project_id, name: 'cd', role: 'owner' })).name).toBe(
        'cd',
      );
      expect(await serviceAccounts.retrieve(made.id, { project_id })).toMatchObject({
        name: 'cd',
        role: 'owner',
      });
      const key = await organization().projects.apiKeys.retrieve(second.id, { project_id });
      expect(key.owner).toMatchObject({
        type: 'service_account',
        service_account: { id: made.id, name: 'cd' },
      });

      expect(await serviceAccounts.delete(made.id, { project_id })).toMatchObject({
        id: made.id,
        deleted: true,
      });
      for (const value of values) expect(plane.registry.find(value)).toBeUndefined();
      await expect(serviceAccounts.retrieve(made.id, { project_id })).rejects.toThrow(NotFoundError);
      await expect(organization().projects.apiKeys.retrieve(second.id, { project_id })).rejects.toThrow(
        NotFoundError,
      );
      const shown = await plane.call('GET', `/v1/keygate/projects/${project_id}/api_keys/${second.id}`);
      expect(shown.body).toMatchObject({ status: 'revoked', owner_project_access: 'inactive' });
    });

    it('may be made without a key and a role, and get keys once they have a role', async () => {
      const { serviceAccounts } = organization().projects;
      const project_id = plane.projectId;
      const made = await serviceAccounts.create(project_id, {
        name: 'bare',
        create_service_account_only: true,
      });
      expect(made).toMatchObject({ role: 'none', api_key: null });
      await expect(serviceAccounts.apiKeys.create(made.id, { project_id })).rejects.toThrow(/no role/);
      await serviceAccounts.update(made.id, { project_id, role: 'member' });
      expect((await serviceAccounts.apiKeys.create(made.id, { project_id })).name).toBe('Secret Key');
    });

    it('are listed over pages', async () => {
      const { id } = await organization().projects.create({ name: 'Bots' });
      const { serviceAccounts } = organization().projects;
      for (let n = 0; n < 5; n++) await serviceAccounts.create(id, { name: `bot ${n}` });
      const names = (await all(serviceAccounts.list(id, { limit: 2 }))).map((account) => account.name);
      expect(names.sort()).toEqual([0, 1, 2, 3, 4].map((n) => `bot ${n}`));
    });
  });

  describe('admin keys', () => {
    it('are created, listed in either order, retrieved and deleted; a deleted one is refused at once', async () => {
      const { adminAPIKeys } = organization();
      plane.clock.advance(1000);
      const made = await adminAPIKeys.create({ name: 'second', expires_in_seconds: 600 });
      expect(made.value).toMatch(/^sk-admin-/);
      const { value, ...shown } = made;
      expect(shown).toEqual({
        object: 'organization.admin_api_key',
        id: expect.stringMatching(/^key_/),
        name: 'second',
        redacted_value: expect.stringMatching(/^sk-admin-[0-9A-Za-z]{3}\.\.\.[0-9A-Za-z]{4}$/),
        created_at: Math.floor(plane.clock.now() / 1000),
        expires_at: Math.floor(plane.clock.now() / 1000) + 600,
        last_used_at: null,
        owner: {
          type: 'user',
          object: 'organization.user',
          id: expect.stringMatching(/^user-/),
          name: 'Owner',
          created_at: expect.any(Number),
          role: 'owner',
        },
      });
      expect(await adminAPIKeys.retrieve(made.id)).toEqual(shown);
      const up = (await all(adminAPIKeys.list({ limit: 1 }))).map((key) => key.id);
      const down = (await all(adminAPIKeys.list({ limit: 1, order: 'desc' }))).map((key) => key.id);
      expect(up.at(-1)).toBe(made.id);
      expect(down).toEqual([...up].reverse());
      const other = clientOf(plane.app, value).admin.organization;
      expect((await other.projects.retrieve(plane.projectId)).id).toBe(plane.projectId);
      expect(await adminAPIKeys.delete(made.id)).toMatchObject({ id: made.id, deleted: true });
      await expect(other.projects.retrieve(plane.projectId)).rejects.toThrow(AuthenticationError);
      await expect(adminAPIKeys.retrieve(made.id)).rejects.toThrow(NotFoundError);
    });

    it('cannot be deleted down to none, so that nobody is locked out', async () => {
      const { adminAPIKeys } = organization();
      const [only, ...others] = await all(adminAPIKeys.list());
      for (const { id } of others) await adminAPIKeys.delete(id);
      await expect(adminAPIKeys.delete(only?.id ?? '')).rejects.toThrow(/last admin key/);
    });
  });

  describe('users', () => {
    it('lists and retrieves the organization’s users, also by address', async () => {
      const { users } = organization();
      const [owner, ...others] = await all(users.list());
      expect(others).toEqual([]);
      expect(owner).toMatchObject({ object: 'organization.user', role: 'owner', email: 'owner@localhost' });
      expect(await users.retrieve(owner?.id ?? '')).toEqual(owner);
      expect(await all(users.list({ emails: ['owner@localhost', 'x@y'] }))).toEqual([owner]);
      expect(await all(users.list({ emails: ['x@y', 'z@y'] }))).toEqual([]);
      await expect(users.retrieve('user-none')).rejects.toThrow(NotFoundError);
    });
  });

  it('finds nothing of one project through another, whatever the id', async () => {
    const { projects } = organization();
    const [a, b] = [await projects.create({ name: 'A' }), await projects.create({ name: 'B' })];
    const account = await projects.serviceAccounts.create(a.id, { name: 'of A' });
    const keyId = account.api_key?.id ?? '';
    const project_id = b.id;
    await expect(projects.apiKeys.retrieve(keyId, { project_id })).rejects.toThrow(NotFoundError);
    await expect(projects.apiKeys.delete(keyId, { project_id })).rejects.toThrow(NotFoundError);
    await expect(projects.apiKeys.list(project_id, { after: keyId })).rejects.toThrow(BadRequestError);
    await expect(projects.serviceAccounts.retrieve(account.id, { project_id })).rejects.toThrow(
      NotFoundError,
    );
    await expect(projects.serviceAccounts.update(account.id, { project_id, name: 'x' })).rejects.toThrow(
      NotFoundError,
    );
    await expect(projects.serviceAccounts.delete(account.id, { project_id })).rejects.toThrow(NotFoundError);
    await expect(projects.serviceAccounts.apiKeys.create(account.id, { project_id })).rejects.toThrow(
      NotFoundError,
    );
    await expect(projects.serviceAccounts.list(project_id, { after: account.id })).rejects.toThrow(
      BadRequestError,
    );
    await expect(organization().adminAPIKeys.retrieve(keyId)).rejects.toThrow(NotFoundError);
    await expect(organization().adminAPIKeys.delete(keyId)).rejects.toThrow(NotFoundError);
    const update = await plane.call('POST', `/v1/organization/projects/${b.id}/api_keys/${keyId}`, {
      body: { scopes: ['api.all.read'] },
    });
    expect(update.status).toBe(404);
    expect((await plane.call('GET', `/v1/keygate/projects/${b.id}/api_keys/${keyId}`)).status).toBe(404);
    const [admin] = await all(organization().adminAPIKeys.list());
    await expect(projects.apiKeys.retrieve(admin?.id ?? '', { project_id })).rejects.toThrow(NotFoundError);
    expect(plane.registry.find(account.api_key?.value ?? '')).toMatchObject({
      scopes: [],
      ownerId: account.id,
    });
  });

  it('finds nothing of another organization, though it is in the same database', async () => {
    const at = plane.clock.now();
    const other = { organization_id: 'org-other', created_at: at };
    await plane.store.write(async (tx) => {
      await tx
        .insertInto('organizations')
        .values({ id: 'org-other', name: 'Other', created_at: at })
        .execute();
      await tx
        .insertInto('projects')
        .values({
          ...other,
          id: 'proj_other',
          name: 'P',
          status: 'active',
          environment: 'production',
          is_default: 1,
          archived_at: null,
        })
        .execute();
      await tx
        .insertInto('users')
        .values({ ...other, id: 'user-other', name: 'U', email: 'u@other', role: 'owner' })
        .execute();
      await tx
        .insertInto('service_accounts')
        .values({ ...other, id: 'svc_acct_other', project_id: 'proj_other', name: 'S', role: 'member' })
        .execute();
    });
    const { projects, users } = organization();
    await expect(projects.retrieve('proj_other')).rejects.toThrow(NotFoundError);
    await expect(projects.archive('proj_other')).rejects.toThrow(NotFoundError);
    await expect(projects.update('proj_other', { name: 'mine' })).rejects.toThrow(NotFoundError);
    await expect(projects.apiKeys.list('proj_other')).rejects.toThrow(NotFoundError);
    await expect(projects.serviceAccounts.list('proj_other')).rejects.toThrow(NotFoundError);
    await expect(projects.serviceAccounts.create('proj_other', { name: 'x' })).rejects.toThrow(NotFoundError);
    const path = { project_id: 'proj_other' };
    await expect(projects.serviceAccounts.delete('svc_acct_other', path)).rejects.toThrow(NotFoundError);
    await expect(users.retrieve('user-other')).rejects.toThrow(NotFoundError);
    expect((await all(projects.list())).map((p) => p.id)).not.toContain('proj_other');
    const body = { name: 'x', owner_user_id: 'user-other' };
    expect(
      (await plane.call('POST', `/v1/keygate/projects/${plane.projectId}/api_keys`, { body })).status,
    ).toBe(404);
    expect(plane.faults).toEqual([]);
  });
});
