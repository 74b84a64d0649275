// Projects and what belongs to one: members, groups, roles, service accounts, keys, permissions, settings and limits.

import { BadRequestError, NotFoundError } from 'openai';
import { expect } from 'vitest';
import { expectListed, type Scenario, several, some } from './scenario.ts';

export async function projects({ organization }: Scenario): Promise<void> {
  const made = await several(3, (n) => organization.projects.create({ name: `Project ${n}` }));
  await expectListed(
    (page) => organization.projects.list(page),
    made.map(({ id }) => id),
  );
  const { id } = some(made[0], 'project');
  expect(await organization.projects.retrieve(id)).toMatchObject({ id, name: 'Project 0', status: 'active' });
  expect(await organization.projects.update(id, { name: 'Search' })).toMatchObject({ name: 'Search' });
  expect(await organization.projects.archive(id)).toMatchObject({ id, status: 'archived' });
  await expect(organization.projects.update(id, { name: 'Again' })).rejects.toThrow(BadRequestError);
  await expect(organization.projects.retrieve('proj_none')).rejects.toThrow(NotFoundError);
}

export async function members({ organization, memberId }: Scenario): Promise<void> {
  const { id: project } = await organization.projects.create({ name: 'Members' });
  const { users } = organization.projects;
  expect(await users.create(project, { user_id: memberId, role: 'member' })).toMatchObject({
    id: memberId,
    role: 'member',
  });
  expect(await users.retrieve(memberId, { project_id: project })).toMatchObject({ id: memberId });
  expect(await users.update(memberId, { project_id: project, role: 'owner' })).toMatchObject({
    role: 'owner',
  });
  await expectListed((page) => users.list(project, page), [memberId]);

  const role = await organization.projects.roles.create(project, {
    role_name: 'Runner',
    permissions: ['api.model.request'],
  });
  await users.roles.create(memberId, { project_id: project, role_id: role.id });
  expect(await users.roles.retrieve(role.id, { project_id: project, user_id: memberId })).toMatchObject({
    id: role.id,
  });
  await expectListed((page) => users.roles.list(memberId, { project_id: project, ...page }), [role.id]);
  await users.roles.delete(role.id, { project_id: project, user_id: memberId });

  expect(await users.delete(memberId, { project_id: project })).toMatchObject({
    id: memberId,
    deleted: true,
  });
  await expect(users.retrieve(memberId, { project_id: project })).rejects.toThrow(NotFoundError);
}

export async function projectGroups({ organization }: Scenario): Promise<void> {
  const { id: project } = await organization.projects.create({ name: 'Grouped' });
  const { groups, roles } = organization.projects;
  const made = await several(3, (n) => organization.groups.create({ name: `Team ${n}` }));
  for (const { id } of made) {
    expect(await groups.create(project, { group_id: id, role: 'member' })).toMatchObject({ group_id: id });
  }
  const [first] = made.map(({ id }) => id);
  const group = some(first, 'group');
  expect(await groups.retrieve(group, { project_id: project })).toMatchObject({ group_id: group });
  await expectListed(
    (page) => groups.list(project, page),
    made.map(({ id }) => id),
    ({ group_id }) => group_id,
  );
  const role = await roles.create(project, { role_name: 'Teams', permissions: ['api.model.request'] });
  await groups.roles.create(group, { project_id: project, role_id: role.id });
  expect(await groups.roles.retrieve(role.id, { project_id: project, group_id: group })).toMatchObject({
    id: role.id,
  });
  await expectListed((page) => groups.roles.list(group, { project_id: project, ...page }), [role.id]);
  await groups.roles.delete(role.id, { project_id: project, group_id: group });
  expect(await groups.delete(group, { project_id: project })).toMatchObject({ deleted: true });
  await expect(groups.retrieve(group, { project_id: project })).rejects.toThrow(NotFoundError);
}

export async function projectRoles({ organization }: Scenario): Promise<void> {
  const { id: project } = await organization.projects.create({ name: 'Roles' });
  const { roles } = organization.projects;
  const made = await several(3, (n) =>
    roles.create(project, { role_name: `Part ${n}`, permissions: ['api.model.request'] }),
  );
  await expectListed(
    (page) => roles.list(project, page),
    made.map(({ id }) => id),
  );
  const { id } = some(made[0], 'role');
  expect(await roles.retrieve(id, { project_id: project })).toMatchObject({ id, name: 'Part 0' });
  expect(await roles.update(id, { project_id: project, role_name: 'Caller' })).toMatchObject({
    name: 'Caller',
  });
  expect(await roles.delete(id, { project_id: project })).toMatchObject({ id, deleted: true });
  await expect(roles.retrieve(id, { project_id: project })).rejects.toThrow(NotFoundError);
}

export async function serviceAccounts({ organization, server }: Scenario): Promise<void> {
  const { id: project } = await organization.projects.create({ name: 'Accounts' });
  const { serviceAccounts: accounts, apiKeys } = organization.projects;
  const made = await several(3, (n) => accounts.create(project, { name: `Bot ${n}` }));
  await expectListed(
    (page) => accounts.list(project, page),
    made.map(({ id }) => id),
  );
  const { id, api_key: key } = some(made[0], 'account');
  const calls = (value: string) =>
    fetch(`${server.url}/v1/models`, { headers: { authorization: `Bearer ${value}` } });
  expect((await calls(some(key, 'key').value)).status).toBe(200);
  expect(await accounts.retrieve(id, { project_id: project })).toMatchObject({ id, name: 'Bot 0' });
  expect(await accounts.update(id, { project_id: project, name: 'Builder' })).toMatchObject({
    name: 'Builder',
  });
  const more = await accounts.apiKeys.create(id, { project_id: project, name: 'second', scopes: [] });
  expect((await calls(more.value)).status).toBe(200);

  expect(await apiKeys.retrieve(more.id, { project_id: project })).toMatchObject({ id: more.id });
  expect(
    await apiKeys.update(more.id, { project_id: project, scopes: ['api.all.read'], expires_in_seconds: 60 }),
  ).toMatchObject({ id: more.id, expires_at: expect.any(Number) });
  await expectListed((page) => apiKeys.list(project, page), [more.id]);
  expect(await apiKeys.delete(more.id, { project_id: project })).toMatchObject({ deleted: true });
  expect((await calls(more.value)).status).toBe(401);
  await expect(apiKeys.retrieve(more.id, { project_id: project })).rejects.toThrow(NotFoundError);

  expect(await accounts.delete(id, { project_id: project })).toMatchObject({ id, deleted: true });
  expect((await calls(some(key, 'key').value)).status).toBe(401);
}

export async function permissions({ organization }: Scenario): Promise<void> {
  const { id: project } = await organization.projects.create({ name: 'Permissions' });
  const { modelPermissions, hostedToolPermissions, serviceTierSettings, dataRetention } =
    organization.projects;
  const allowed = await modelPermissions.update(project, { mode: 'allow_list', model_ids: ['gpt-5'] });
  expect(allowed).toMatchObject({ mode: 'allow_list', model_ids: ['gpt-5'] });
  expect(await modelPermissions.retrieve(project)).toEqual(allowed);
  expect(await modelPermissions.delete(project)).toMatchObject({ deleted: true });

  const tools = await hostedToolPermissions.update(project, { web_search: { enabled: false } });
  expect(tools.web_search.enabled).toBe(false);
  expect(await hostedToolPermissions.retrieve(project)).toEqual(tools);

  const tiers = await serviceTierSettings.update(project, { default: 'fast', enabled_tiers: ['fast'] });
  expect(await serviceTierSettings.retrieve(project)).toEqual(tiers);

  expect(await dataRetention.retrieve(project)).toMatchObject({ type: 'organization_default' });
  const zero = await dataRetention.update(project, { retention_type: 'zero_data_retention' });
  expect(await dataRetention.retrieve(project)).toEqual(zero);
}

export async function rateLimits({ organization }: Scenario): Promise<void> {
  const { id: project } = await organization.projects.create({ name: 'Limits' });
  const { rateLimits: limits } = organization.projects;
  const [limit] = (await limits.listRateLimits(project, { limit: 5 })).data;
  const { id } = some(limit, 'rate limit');
  const lowered = await limits.updateRateLimit(id, { project_id: project, max_requests_per_1_minute: 7 });
  expect(lowered).toMatchObject({ id, max_requests_per_1_minute: 7 });
}
