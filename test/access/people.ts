// People for tests of who may do what: users with roles, and keys of theirs.

import { PREDEFINED_ROLES } from '../../src/access/permission-names.ts';
import { field, type Plane } from './plane.ts';

let count = 0;

/** A new user of the organization; a reader if nothing else is said. Its id. */
export async function person(plane: Plane, role: 'owner' | 'reader' = 'reader'): Promise<string> {
  count += 1;
  const body = { email: `person-${count}@example.com`, name: `Person ${count}`, role };
  return field(await expectOk(plane.call('POST', '/v1/keygate/users', { body })), 'id');
}

/** A project key of this user, made by an owner. */
export async function keyOf(
  plane: Plane,
  projectId: string,
  userId: string,
  body: object = {},
): Promise<string> {
  const order = { name: 'key', owner_user_id: userId, ...body };
  return field(
    await expectOk(plane.call('POST', `/v1/keygate/projects/${projectId}/api_keys`, { body: order })),
    'value',
  );
}

/** An admin key of this user, made by an owner. */
export async function adminKeyOf(
  plane: Plane,
  userId: string,
  scopes: readonly string[] = [],
): Promise<string> {
  const body = { name: 'admin', owner_user_id: userId, scopes };
  return field(await expectOk(plane.call('POST', '/v1/keygate/admin_api_keys', { body })), 'value');
}

/** A further project. Its id. */
export async function project(plane: Plane, name = 'Other'): Promise<string> {
  return field(await expectOk(plane.call('POST', '/v1/organization/projects', { body: { name } })), 'id');
}

/** Puts a user into a project with one of its predefined roles. */
export async function joins(
  plane: Plane,
  projectId: string,
  userId: string,
  role: 'owner' | 'member' | 'viewer' | string = 'member',
): Promise<void> {
  const body = { user_id: userId, role };
  await expectOk(plane.call('POST', `/v1/organization/projects/${projectId}/users`, { body }));
}

export const ROLE = PREDEFINED_ROLES;

export async function expectOk<T extends { readonly status: number; readonly body: unknown }>(
  reply: Promise<T>,
): Promise<T> {
  const got = await reply;
  if (got.status !== 200) throw new Error(`${got.status}: ${JSON.stringify(got.body)}`);
  return got;
}

export async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of pages) items.push(item);
  return items;
}
