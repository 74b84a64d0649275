// What the commands about people share: users, groups and roles as the API gives them, and how each is found by what
// people call it.

import { z } from 'zod';
import { CommandError, EXIT } from './exit.ts';
import type { Server } from './server.ts';

export const MOST_LOOKED_THROUGH = 10_000;

export const User = z.looseObject({
  id: z.string(),
  name: z.string().nullish(),
  email: z.string().nullish(),
  role: z.string().nullish(),
  added_at: z.number().nullish(),
});
export type User = z.infer<typeof User>;

export const Group = z.looseObject({ id: z.string(), name: z.string(), created_at: z.number() });
export type Group = z.infer<typeof Group>;

export const Role = z.looseObject({
  id: z.string(),
  name: z.string(),
  description: z.string().nullish(),
  permissions: z.array(z.string()),
  predefined_role: z.boolean(),
});
export type Role = z.infer<typeof Role>;

/** Any reply whose content the command does not need. */
export const Done = z.looseObject({});

export const USERS = '/v1/organization/users';
export const GROUPS = '/v1/organization/groups';

/** Where a project's users and groups are, or its roles, which the platform keeps apart. */
export function inProject(projectId: string): string {
  return `/v1/organization/projects/${encodeURIComponent(projectId)}`;
}

export function rolesOf(projectId: string | null): string {
  return projectId === null ? '/v1/organization' : `/v1/projects/${encodeURIComponent(projectId)}`;
}

function noSuch(what: string, wanted: string, list: string): CommandError {
  return new CommandError(
    EXIT.refused,
    `There is no ${what} "${wanted}": \`${list}\` shows those that there are.`,
  );
}

/** The user with this id or e-mail address. */
export async function findUser(server: Server, wanted: string): Promise<User> {
  if (wanted.includes('@')) {
    const query = new URLSearchParams({ 'emails[]': wanted.toLowerCase() });
    const [user] = (await server.list(`${USERS}?${query}`, User, 1)).data;
    if (user !== undefined) return user;
    throw noSuch('user', wanted, 'keygate users list');
  }
  return await server.get(`${USERS}/${encodeURIComponent(wanted)}`, User);
}

/** The group with this id or name. */
export async function findGroup(server: Server, wanted: string): Promise<Group> {
  const { data } = await server.list(GROUPS, Group, MOST_LOOKED_THROUGH);
  const group = data.find(({ id, name }) => id === wanted || name === wanted);
  if (group !== undefined) return group;
  throw noSuch('group', wanted, 'keygate groups list');
}

/** The role with this id or name, of a project or (null) of the organization. */
export async function findRole(server: Server, wanted: string, projectId: string | null): Promise<Role> {
  const { data } = await server.list(`${rolesOf(projectId)}/roles`, Role, MOST_LOOKED_THROUGH);
  const role = data.find(({ id, name }) => id === wanted || name === wanted);
  if (role !== undefined) return role;
  throw noSuch('role', wanted, projectId === null ? 'keygate roles list' : 'keygate roles list --project …');
}
