// The organization's own resources: admin keys, users, invites, groups, roles and their assignments, retention.

import { NotFoundError } from 'openai';
import { expect } from 'vitest';
import { expectListed, type Scenario, several, some } from './scenario.ts';

export async function adminKeys({ organization, server }: Scenario): Promise<void> {
  const { adminAPIKeys } = organization;
  const made = await several(3, (n) => adminAPIKeys.create({ name: `Key ${n}`, expires_in_seconds: 3600 }));
  await expectListed(
    (page) => adminAPIKeys.list(page),
    made.map(({ id }) => id),
  );
  const [first] = made;
  const { id, value } = some(first, 'admin key');
  expect(value).toMatch(/^sk-admin-/);
  expect(await adminAPIKeys.retrieve(id)).not.toHaveProperty('value');
  const works = () => fetch(`${server.adminUrl}/v1/organization/projects`, bearer(value));
  expect((await works()).status).toBe(200);
  expect(await adminAPIKeys.delete(id)).toMatchObject({ id, deleted: true });
  expect((await works()).status).toBe(401);
  await expect(adminAPIKeys.retrieve(id)).rejects.toThrow(NotFoundError);
}

function bearer(key: string): RequestInit {
  return { headers: { authorization: `Bearer ${key}` } };
}

export async function invites({ organization, server }: Scenario): Promise<void> {
  const projects = [{ id: server.projectId, role: 'member' as const }];
  const made = await several(3, (n) =>
    organization.invites.create({ email: `guest-${n}@example.com`, role: 'reader', projects }),
  );
  await expectListed(
    (page) => organization.invites.list(page),
    made.map(({ id }) => id),
  );
  const { id } = some(made[0], 'invite');
  expect(await organization.invites.retrieve(id)).toMatchObject({ id, status: 'pending', role: 'reader' });
  expect(await organization.invites.delete(id)).toMatchObject({ id, deleted: true });
  await expect(organization.invites.retrieve(id)).rejects.toThrow(NotFoundError);
}

export async function users({ organization, memberId }: Scenario): Promise<void> {
  await expectListed((page) => organization.users.list(page), [memberId]);
  expect(await organization.users.retrieve(memberId)).toMatchObject({ id: memberId, role: 'reader' });
  expect(await organization.users.update(memberId, { role: 'owner' })).toMatchObject({ role: 'owner' });
  expect(await organization.users.update(memberId, { role: 'reader' })).toMatchObject({ role: 'reader' });
}

export async function roles({ organization, memberId }: Scenario): Promise<void> {
  const made = await several(3, (n) =>
    organization.roles.create({ role_name: `Role ${n}`, permissions: ['api.organization.projects.read'] }),
  );
  await expectListed(
    (page) => organization.roles.list(page),
    made.map(({ id }) => id),
  );
  const { id } = some(made[0], 'role');
  expect(await organization.roles.retrieve(id)).toMatchObject({ id, name: 'Role 0', predefined_role: false });
  const changed = await organization.roles.update(id, { role_name: 'Auditor', description: 'Reads.' });
  expect(changed).toMatchObject({ name: 'Auditor', description: 'Reads.' });

  const ofUser = organization.users.roles;
  await ofUser.create(memberId, { role_id: id });
  expect(await ofUser.retrieve(id, { user_id: memberId })).toMatchObject({ id });
  await expectListed((page) => ofUser.list(memberId, page), [id]);
  await ofUser.delete(id, { user_id: memberId });
  await expect(ofUser.retrieve(id, { user_id: memberId })).rejects.toThrow(NotFoundError);

  const group = await organization.groups.create({ name: 'Auditors' });
  const ofGroup = organization.groups.roles;
  await ofGroup.create(group.id, { role_id: id });
  expect(await ofGroup.retrieve(id, { group_id: group.id })).toMatchObject({ id });
  await expectListed((page) => ofGroup.list(group.id, page), [id]);
  await ofGroup.delete(id, { group_id: group.id });
  await expect(ofGroup.retrieve(id, { group_id: group.id })).rejects.toThrow(NotFoundError);

  expect(await organization.roles.delete(id)).toMatchObject({ id, deleted: true });
  await expect(organization.roles.retrieve(id)).rejects.toThrow(NotFoundError);
}

export async function groups({ organization, memberId }: Scenario): Promise<void> {
  const made = await several(3, (n) => organization.groups.create({ name: `Group ${n}` }));
  await expectListed(
    (page) => organization.groups.list(page),
    made.map(({ id }) => id),
  );
  const { id } = some(made[0], 'group');
  expect(await organization.groups.retrieve(id)).toMatchObject({ id, name: 'Group 0' });
  expect(await organization.groups.update(id, { name: 'Search team' })).toMatchObject({
    name: 'Search team',
  });

  const members = organization.groups.users;
  await members.create(id, { user_id: memberId });
  expect(await members.retrieve(memberId, { group_id: id })).toMatchObject({ id: memberId });
  await expectListed((page) => members.list(id, page), [memberId]);
  await members.delete(memberId, { group_id: id });
  await expect(members.retrieve(memberId, { group_id: id })).rejects.toThrow(NotFoundError);

  expect(await organization.groups.delete(id)).toMatchObject({ id, deleted: true });
  await expect(organization.groups.retrieve(id)).rejects.toThrow(NotFoundError);
}

export async function retention({ organization }: Scenario): Promise<void> {
  const before = await organization.dataRetention.retrieve();
  const zero = await organization.dataRetention.update({ retention_type: 'zero_data_retention' });
  expect(zero.type).toBe('zero_data_retention');
  expect(await organization.dataRetention.retrieve()).toEqual(zero);
  expect(before.object).toBe(zero.object);
  await organization.dataRetention.update({ retention_type: 'modified_abuse_monitoring' });
}

export async function auditLogs({ organization, server }: Scenario): Promise<void> {
  const { auditLogs: log } = organization;
  const made = await organization.projects.create({ name: 'Watched' });
  await organization.projects.update(made.id, { name: 'Watched closely' });
  const about: string[] = [];
  for await (const entry of log.list({ resource_ids: [made.id], limit: 1 })) about.push(entry.type);
  expect(about).toEqual(['project.updated', 'project.created']);
  const [created] = (await log.list({ resource_ids: [made.id], event_types: ['project.created'] })).data;
  const entry = some(created, 'entry');
  expect(entry.actor?.type).toBe('api_key');
  const keyId = some(entry.actor?.api_key?.id, 'key of the actor');
  const by = await log.list({ actor_ids: [keyId], limit: 5 });
  expect(by.data.length).toBe(5);
  const later = await log.list({ effective_at: { gt: entry.effective_at + 3600 } });
  expect(later.data).toEqual([]);
  const elsewhere = await log.list({ project_ids: [server.projectId], resource_ids: [made.id] });
  expect(elsewhere.data).toEqual([]);
}
