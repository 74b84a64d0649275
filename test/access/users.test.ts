// Users and invitations through the unmodified official client, on both databases: who comes, who leaves, and that
// keys leave with whoever owns them.

import { BadRequestError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createControlPlane } from '../../src/access/control-plane.ts';
import { stores } from '../store/stores.ts';
import { adminKeyOf, all, expectOk, joins, keyOf, person, project, ROLE } from './people.ts';
import { clientOf, errorOf, field, openPlane, type Plane } from './plane.ts';

describe.each(stores)('users on $kind', (kind) => {
  let plane: Plane;
  let ownerId: string;
  beforeAll(async () => {
    plane = await openPlane(kind);
    ownerId = (await all(plane.admin.admin.organization.users.list()))[0]?.id ?? '';
  });
  afterAll(async () => {
    expect(plane?.faults).toEqual([]);
    await plane?.close();
  });
  const users = () => plane.admin.admin.organization.users;

  it('are added, listed, changed and deleted', async () => {
    const id = await person(plane);
    expect(await users().retrieve(id)).toMatchObject({ id, object: 'organization.user', role: 'reader' });
    const changed = await users().update(id, { role: 'owner', technical_level: 'high' });
    expect(changed).toMatchObject({ role: 'owner', technical_level: 'high', developer_persona: null });
    expect((await users().update(id, { technical_level: null })).technical_level).toBeNull();
    expect((await all(users().list({ limit: 1 }))).map((one) => one.id)).toContain(id);
    expect(await users().delete(id)).toEqual({ object: 'organization.user.deleted', id, deleted: true });
    await expect(users().retrieve(id)).rejects.toThrow(NotFoundError);
    await expect(users().delete(id)).rejects.toThrow(NotFoundError);
  });

  it('have an address that nobody else has, however it is written', async () => {
    const body = { email: 'Same@Example.com' };
    await expectOk(plane.call('POST', '/v1/keygate/users', { body }));
    const again = await plane.call('POST', '/v1/keygate/users', { body: { email: 'same@example.COM' } });
    expect(again.status).toBe(400);
    expect(errorOf(again).param).toBe('email');
    const none = await plane.call('POST', '/v1/keygate/users', { body: { email: 'nobody' } });
    expect(errorOf(none)).toMatchObject({ param: 'email' });
  });

  it('the last owner can neither leave nor become less', async () => {
    await expect(users().delete(ownerId)).rejects.toThrow(/last owner/);
    await expect(users().update(ownerId, { role: 'reader' })).rejects.toThrow(/last owner/);
    await expect(users().roles.delete(ROLE.organizationOwner.id, { user_id: ownerId })).rejects.toThrow(
      BadRequestError,
    );
    const second = await person(plane, 'owner');
    await users().update(second, { role: 'reader' });
    await expect(users().delete(ownerId)).rejects.toThrow(/last owner/);
    await users().delete(second);
  });

  it('leave with all their keys in the same moment, and never take the last admin key along', async () => {
    const id = await person(plane, 'owner');
    const other = await project(plane, 'Left');
    const keys = [
      await keyOf(plane, plane.projectId, id),
      await keyOf(plane, other, id),
      await adminKeyOf(plane, id),
    ];
    for (const key of keys) expect(plane.registry.find(key)).toBeDefined();
    await users().delete(id);
    for (const key of keys) expect(plane.registry.find(key)).toBeUndefined();
    const entry = await plane.store.db
      .selectFrom('audit_log')
      .select('payload')
      .where('type', '=', 'user.deleted')
      .orderBy('seq', 'desc')
      .executeTakeFirstOrThrow();
    expect(JSON.parse(entry.payload)).toEqual({ id, data: { revoked_api_keys: 3 } });
    const stored = await plane.store.db
      .selectFrom('api_keys')
      .select('revoked_at')
      .where('owner_id', '=', id)
      .execute();
    expect(stored.every(({ revoked_at }) => revoked_at !== null)).toBe(true);
    await person(plane, 'owner');
    await expect(users().delete(ownerId)).rejects.toThrow(/last admin key/);
    expect(plane.registry.find(plane.adminKey)).toBeDefined();
  });

  it('taken out of a project, or losing their role, lose their keys there and only there, at once, and have them again', async () => {
    const id = await person(plane);
    const other = await project(plane, 'Second');
    await joins(plane, plane.projectId, id);
    await joins(plane, other, id);
    const here = await keyOf(plane, plane.projectId, id);
    const there = await keyOf(plane, other, id);
    const { apiKeys, users: members } = plane.admin.admin.organization.projects;
    await members.delete(id, { project_id: plane.projectId });
    expect(plane.registry.find(here)).toBeUndefined();
    expect(plane.registry.find(there)).toBeDefined();
    const inactive = await all(apiKeys.list(plane.projectId, { owner_project_access: 'inactive' }));
    expect(inactive.map(({ owner }) => owner.user?.id)).toEqual([id]);
    expect(inactive[0]?.owner_project_access).toBe('inactive');
    const active = await all(apiKeys.list(plane.projectId, { owner_project_access: 'active' }));
    expect(active.map(({ owner }) => owner.user?.id)).not.toContain(id);
    await members.create(plane.projectId, { user_id: id, role: 'member' });
    expect(plane.registry.find(here)).toBeDefined();
  });

  it('have a key in a project only while they have access to it', async () => {
    const id = await person(plane);
    const body = { name: 'no', owner_user_id: id };
    const refused = await plane.call('POST', `/v1/keygate/projects/${plane.projectId}/api_keys`, { body });
    expect(refused.status).toBe(400);
    expect(errorOf(refused).param).toBe('owner_user_id');
  });
});

describe.each(stores)('invitations on $kind', (kind) => {
  let plane: Plane;
  beforeAll(async () => {
    plane = await openPlane(kind);
  });
  afterAll(async () => {
    expect(plane?.faults).toEqual([]);
    await plane?.close();
  });
  const invites = () => plane.admin.admin.organization.invites;
  const shown = (body: object) => expectOk(plane.call('POST', '/v1/keygate/invites', { body }));
  const accept = (token: string, more: object = {}) =>
    plane.call('POST', '/v1/keygate/invites/accept', { key: null, body: { token, ...more } });

  it('are created, listed, retrieved and deleted in the published shape, without their token', async () => {
    const made = await invites().create({ email: 'Ada@Example.com', role: 'reader' });
    const now = Math.floor(plane.clock.now() / 1000);
    expect(made).toEqual({
      object: 'organization.invite',
      id: expect.stringMatching(/^invite-/),
      email: 'ada@example.com',
      role: 'reader',
      status: 'pending',
      projects: [{ id: plane.projectId, role: 'member' }],
      created_at: now,
      expires_at: now + 7 * 86_400,
      accepted_at: null,
    });
    expect(await invites().retrieve(made.id)).toEqual(made);
    expect((await all(invites().list())).map(({ id }) => id)).toContain(made.id);
    await expect(invites().create({ email: 'ada@example.com', role: 'owner' })).rejects.toMatchObject({
      param: 'email',
    });
    expect(await invites().delete(made.id)).toEqual({
      object: 'organization.invite.deleted',
      id: made.id,
      deleted: true,
    });
    await expect(invites().retrieve(made.id)).rejects.toThrow(NotFoundError);
    expect((await invites().create({ email: 'a@b.example', role: 'reader', projects: [] })).projects).toEqual(
      [],
    );
    await expect(
      invites().create({
        email: 'c@b.example',
        role: 'reader',
        projects: [{ id: 'proj_none', role: 'member' }],
      }),
    ).rejects.toMatchObject({ param: 'projects[0].id' });
  });

  it('make a user with its role and projects when they are accepted, once', async () => {
    const other = await project(plane, 'Invited');
    const invite = await shown({
      email: 'grace@example.com',
      role: 'reader',
      projects: [{ id: other, role: 'owner' }],
    });
    const token = field(invite, 'token');
    const accepted = await expectOk(accept(token, { name: 'Grace', admin_key: true }));
    const { user, projects, admin_api_key } = accepted.body as {
      user: { id: string };
      projects: unknown;
      admin_api_key: { value: string };
    };
    expect(user).toMatchObject({ name: 'Grace', email: 'grace@example.com', role: 'reader' });
    expect(projects).toEqual([{ id: other, role: 'owner' }]);
    expect(await invites().retrieve(field(invite, 'id'))).toMatchObject({
      status: 'accepted',
      accepted_at: expect.any(Number),
    });
    const grace = clientOf(plane.app, admin_api_key.value).admin.organization;
    const account = await grace.projects.serviceAccounts.create(other, { name: 'hers' });
    expect(plane.registry.find(account.api_key?.value ?? '')).toBeDefined();
    await expect(grace.projects.create({ name: 'no' })).rejects.toMatchObject({ status: 403 });
    await expect(grace.projects.serviceAccounts.create(plane.projectId, { name: 'no' })).rejects.toThrow(
      NotFoundError,
    );
    const again = await accept(token);
    expect(again.status).toBe(400);
    expect(errorOf(again).param).toBe('token');
    await expect(invites().delete(field(invite, 'id'))).rejects.toThrow(/accepted/);
  });

  it('expire after seven days, and a new token makes them good again and the old one void', async () => {
    const invite = await shown({ email: 'late@example.com', role: 'reader' });
    const token = field(invite, 'token');
    plane.clock.advance(7 * 86_400_000);
    expect((await invites().retrieve(field(invite, 'id'))).status).toBe('expired');
    expect(errorOf(await accept(token)).message).toMatch(/expired/);
    const renewed = await expectOk(plane.call('POST', `/v1/keygate/invites/${field(invite, 'id')}/token`));
    expect((await accept(token)).status).toBe(400);
    expect((await accept(field(renewed, 'token'))).status).toBe(200);
  });

  it('are mailed where mail is set up, and the outbox holds their token sealed only', async () => {
    const told: { id: string; token: string }[] = [];
    const mail = {
      seal: async ({ id }: { id: string }, token: Uint8Array | string) => {
        told.push({ id, token: token.toString() });
        return Buffer.from('sealed');
      },
    };
    const app = createControlPlane({ ...plane, mail });
    const admin = clientOf(app, plane.adminKey).admin.organization;
    const made = await admin.invites.create({ email: 'mailed@example.com', role: 'reader' });
    expect(told).toEqual([{ id: made.id, token: expect.stringMatching(/^kgi_/) }]);
    const sent = await plane.store.db.selectFrom('deliveries').selectAll().execute();
    expect(sent).toMatchObject([
      { channel: 'email', target: 'mailed@example.com', event_type: 'invite.sent' },
    ]);
    expect(sent[0]?.body).toContain('{secret}');
    expect(JSON.stringify(sent)).not.toContain(told[0]?.token);
    expect((await accept(told[0]?.token ?? '')).status).toBe(200);
  });

  it('keep no token: neither in the store nor in the audit log', async () => {
    const token = field(await shown({ email: 'quiet@example.com', role: 'reader' }), 'token');
    const rows = [
      ...(await plane.store.db.selectFrom('invites').selectAll().execute()),
      ...(await plane.store.db.selectFrom('audit_log').selectAll().execute()),
    ];
    expect(JSON.stringify(rows)).not.toContain(token);
  });
});
