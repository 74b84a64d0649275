// The first start: an empty store gets an organization, its owner, a default project and the keys to begin with, in
// one transaction, so that a start that is cut off leaves nothing half done, and of two nodes that start at once on
// one database only one does it.
//
// With an administrator's own bootstrap key (KEYGATE_BOOTSTRAP_ADMIN_KEY) that key becomes an admin key and nothing
// is shown. On later starts the setting is declarative: a different key is added as a further admin key, so that a
// container's key is rotated by changing its secret and starting it again; the old one works until it is deleted.
// A key that was revoked stays revoked, whatever the setting says.

import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import type { Secret } from '../config/model.ts';
import { digestKey, parseKey } from '../keys/format.ts';
import { issueKey } from '../keys/issue.ts';
import { keyByDigest } from '../keys/store.ts';
import type { Clock } from '../platform/clock.ts';
import { SetupError } from '../platform/errors.ts';
import { newId, type OrganizationId, type ProjectId } from '../platform/ids.ts';
import type { Store, Tx } from '../store/store.ts';
import { placeRole } from './assignments.ts';
import { PREDEFINED_ROLES } from './permission-names.ts';
import { createProject, firstOwner } from './store.ts';

export interface BootstrapDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly adminKey: Secret | null;
  /** Told what the administrator should know and what does not stop the start. */
  readonly warn?: (message: string) => void;
}

export interface Bootstrapped {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId;
  /** Plaintexts, to be shown once; null when the administrator gave the admin key. */
  readonly adminKey: string | null;
  readonly projectKey: string | null;
}

/** Sets an empty store up; null if it was set up before. Throws SetupError for a bootstrap key that is none. */
export async function bootstrap(deps: BootstrapDeps): Promise<Bootstrapped | null> {
  const given = deps.adminKey === null ? null : checkedAdminKey(deps.adminKey);
  return await deps.store.write(async (tx) => {
    const organization = await tx
      .selectFrom('organizations')
      .select('id')
      .orderBy('created_at')
      .executeTakeFirst();
    if (organization === undefined) return await setUp(deps, tx, given);
    // The column holds what newId made.
    if (given !== null) await addAdminKey(deps, tx, organization.id as OrganizationId, given);
    return null;
  });
}

function checkedAdminKey(secret: Secret): string {
  const key = secret.reveal();
  const parsed = parseKey(key);
  if (parsed.ok && parsed.type === 'admin') return key;
  const what = parsed.ok ? `a ${parsed.type} key` : 'not a complete keygate key';
  throw new SetupError(
    `KEYGATE_BOOTSTRAP_ADMIN_KEY is ${what}. Make an admin key with \`keygate keys mint --type admin\` and set it.`,
  );
}

async function setUp({ store, clock }: BootstrapDeps, tx: Tx, given: string | null): Promise<Bootstrapped> {
  const at = clock.now();
  const organizationId = newId('org-');
  const by: Attribution = { organizationId, actor: { type: 'setup' }, at };
  const name = 'Default organization';
  await tx.insertInto('organizations').values({ id: organizationId, name, created_at: at }).execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'organization.created',
    payload: { id: organizationId, data: { name } },
  });
  await store.announce(tx, 'organization', organizationId, at);
  const owner = await addOwner(store, tx, by);
  const project = await createProject(store, tx, by, { name: 'Default project', isDefault: true });
  const admin = await issueKey(store, tx, by, {
    type: 'admin',
    name: given === null ? 'First admin key' : 'Bootstrap admin key',
    projectId: null,
    owner,
    ...(given !== null && { existing: given }),
  });
  if (given !== null) return { organizationId, projectId: project.id, adminKey: null, projectKey: null };
  const first = { type: 'project', name: 'First project key', projectId: project.id, owner } as const;
  const { value: projectKey } = await issueKey(store, tx, by, first);
  return { organizationId, projectId: project.id, adminKey: admin.value, projectKey };
}

async function addOwner(store: Store, tx: Tx, by: Attribution) {
  const id = newId('user-');
  const user = { id, name: 'Owner', email: 'owner@localhost', role: 'owner' as const };
  await tx
    .insertInto('users')
    .values({ ...user, organization_id: by.organizationId, created_at: by.at })
    .execute();
  await append(tx, { by, projectId: null, type: 'user.added', payload: { id, data: { role: user.role } } });
  await store.announce(tx, 'user', id, by.at);
  const roleId = PREDEFINED_ROLES.organizationOwner.id;
  await placeRole(store, tx, by, { projectId: null, principal: { type: 'user', id }, roleId });
  return { type: 'user' as const, id };
}

async function addAdminKey(
  deps: BootstrapDeps,
  tx: Tx,
  organizationId: OrganizationId,
  given: string,
): Promise<void> {
  const known = await keyByDigest(tx, digestKey(given));
  if (known !== undefined) {
    if (known.revoked_at !== null) {
      deps.warn?.(
        'KEYGATE_BOOTSTRAP_ADMIN_KEY names an admin key that was revoked; it stays revoked. Set a new one.',
      );
    }
    return;
  }
  const owner = await firstOwner(tx, organizationId);
  if (owner === undefined)
    throw new SetupError('The organization has no owner, so no admin key can be added to it.');
  await issueKey(
    deps.store,
    tx,
    { organizationId, actor: { type: 'setup' }, at: deps.clock.now() },
    {
      type: 'admin',
      name: 'Bootstrap admin key',
      projectId: null,
      owner: { type: 'user', id: owner.id },
      existing: given,
    },
  );
}
