// Users: who belongs to the organization, and with which role. Each verb does its rows, its audit entry and its
// announcements inside the caller's `Store.write`. When a user leaves, its keys are revoked in the same transaction.

import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import { revokeKeysOfOwner } from '../keys/issue.ts';
import { countAdminKeys } from '../keys/store.ts';
import { ApiError } from '../platform/errors.ts';
import { newId } from '../platform/ids.ts';
import type { Store, Tx } from '../store/store.ts';
import { assignRole, placeRole } from './assignments.ts';
import { leaveGroups } from './groups.ts';
import type { User } from './model.ts';
import { PREDEFINED_ROLES } from './permission-names.ts';
import { getUser } from './store.ts';
import { invalidParameter } from './validation.ts';

const OWNER = PREDEFINED_ROLES.organizationOwner.id;
const READER = PREDEFINED_ROLES.organizationReader.id;

/** An address as it is kept and compared. */
export function plainEmail(email: string): string {
  return email.trim().toLowerCase();
}

export interface NewUser {
  readonly email: string;
  readonly name: string;
  readonly role: 'owner' | 'reader';
}

export async function addUser(store: Store, tx: Tx, by: Attribution, order: NewUser): Promise<User> {
  const email = plainEmail(order.email);
  await refuseTakenEmail(tx, by, email);
  const user = {
    id: newId('user-'),
    organization_id: by.organizationId,
    name: order.name,
    email,
    role: order.role,
    created_at: by.at,
    developer_persona: null,
    technical_level: null,
  } satisfies User;
  await tx.insertInto('users').values(user).execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'user.added',
    payload: { id: user.id, data: { role: user.role, email } },
  });
  await placeRole(store, tx, by, {
    projectId: null,
    principal: { type: 'user', id: user.id },
    roleId: order.role === 'owner' ? OWNER : READER,
  });
  await store.announce(tx, 'user', user.id, by.at);
  return user;
}

/** 400 if somebody in the organization has this address. */
export async function refuseTakenEmail(tx: Tx, by: Attribution, email: string): Promise<void> {
  const taken = await tx
    .selectFrom('users')
    .select('id')
    .where('organization_id', '=', by.organizationId)
    .where('email', '=', email)
    .executeTakeFirst();
  if (taken !== undefined) {
    throw invalidParameter('email', "Invalid 'email': a user of this organization has this address already.");
  }
}

export interface UserChanges {
  readonly role?: 'owner' | 'reader';
  readonly developer_persona?: string | null | undefined;
  readonly technical_level?: string | null | undefined;
}

export async function changeUser(
  store: Store,
  tx: Tx,
  by: Attribution,
  id: string,
  changes: UserChanges,
): Promise<User> {
  const user = await getUser(tx, by.organizationId, id);
  if (Object.keys(changes).length === 0) return user;
  const { role, developer_persona, technical_level } = changes;
  const texts = {
    ...(developer_persona !== undefined && { developer_persona }),
    ...(technical_level !== undefined && { technical_level }),
  };
  if (role !== undefined) await setBaseRole(store, tx, by, user, role);
  if (Object.keys(texts).length > 0) {
    await tx
      .updateTable('users')
      .set(texts)
      .where('organization_id', '=', by.organizationId)
      .where('id', '=', id)
      .execute();
  }
  const payload = { id, changes_requested: { ...(role && { role }), ...texts } };
  await append(tx, { by, projectId: null, type: 'user.updated', payload });
  await store.announce(tx, 'access', id, by.at);
  return await getUser(tx, by.organizationId, id);
}

/** Makes it an owner or a reader, and not the other. */
async function setBaseRole(
  store: Store,
  tx: Tx,
  by: Attribution,
  user: User,
  role: 'owner' | 'reader',
): Promise<void> {
  if (role === 'reader') await assertNotLastOwner(tx, by, user.id);
  await tx
    .deleteFrom('role_assignments')
    .where('principal_id', '=', user.id)
    .where('project_id', 'is', null)
    .where('role_id', '=', role === 'owner' ? READER : OWNER)
    .execute();
  await placeRole(store, tx, by, {
    projectId: null,
    principal: { type: 'user', id: user.id },
    roleId: role === 'owner' ? OWNER : READER,
  });
  await noteOwner(tx, by, user.id);
}

/** Gives a role of the organization to a user. */
export async function giveOrganizationRole(
  store: Store,
  tx: Tx,
  by: Attribution,
  userId: string,
  roleId: string,
): Promise<void> {
  await assignRole(store, tx, by, { projectId: null, principal: { type: 'user', id: userId }, roleId });
  await noteOwner(tx, by, userId);
}

/** The user's own column says whether it is an owner: kept as its assignments are. */
export async function noteOwner(tx: Tx, by: Attribution, userId: string): Promise<void> {
  const role = (await ownersOf(tx, by)).includes(userId) ? 'owner' : 'reader';
  await tx
    .updateTable('users')
    .set({ role })
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', userId)
    .execute();
}

async function ownersOf(tx: Tx, by: Attribution): Promise<readonly string[]> {
  const owners = await tx
    .selectFrom('role_assignments')
    .select('principal_id')
    .where('organization_id', '=', by.organizationId)
    .where('project_id', 'is', null)
    .where('principal_type', '=', 'user')
    .where('role_id', '=', OWNER)
    .execute();
  return owners.map(({ principal_id }) => principal_id);
}

/** The organization keeps an owner who is one directly: groups can be emptied by whoever fills them. */
export async function assertNotLastOwner(tx: Tx, by: Attribution, userId: string): Promise<void> {
  const owners = await ownersOf(tx, by);
  if (owners.length === 1 && owners[0] === userId) {
    throw new ApiError(
      400,
      'This is the last owner of the organization: make somebody else an owner first.',
      {
        param: 'user_id',
      },
    );
  }
}

/** The user leaves: its keys, roles and memberships end with it, at once. Returns how many keys were revoked. */
export async function deleteUser(store: Store, tx: Tx, by: Attribution, id: string): Promise<number> {
  await getUser(tx, by.organizationId, id);
  await assertNotLastOwner(tx, by, id);
  const revoked = await revokeKeysOfOwner(tx, by, id);
  if ((await countAdminKeys(tx, by.organizationId, by.at)) === 0) {
    throw new ApiError(400, 'This user owns the last admin key: create one for somebody else first.', {
      param: 'user_id',
    });
  }
  await leaveGroups(tx, id);
  await tx
    .deleteFrom('role_assignments')
    .where('organization_id', '=', by.organizationId)
    .where('principal_id', '=', id)
    .execute();
  await tx
    .deleteFrom('users')
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  const payload = { id, data: { revoked_api_keys: revoked } };
  await append(tx, { by, projectId: null, type: 'user.deleted', payload });
  await store.announce(tx, 'user', id, by.at);
  return revoked;
}
