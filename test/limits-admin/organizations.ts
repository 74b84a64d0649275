// A further organization in the store of a server that is not running, as one installation may have several.

import { placeRole } from '../../src/access/assignments.ts';
import { PREDEFINED_ROLES } from '../../src/access/permission-names.ts';
import type { Attribution } from '../../src/audit/model.ts';
import { issueKey } from '../../src/keys/issue.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { newId } from '../../src/platform/ids.ts';
import { openStore } from '../../src/store/open.ts';

/** Returns the admin key of the new organization. */
export async function addOrganization(dataDir: string): Promise<string> {
  const clock = systemClock;
  const store = await openStore({ dataDir, databaseUrl: null, clock, onError: () => {} });
  try {
    return await store.write(async (tx) => {
      const by: Attribution = {
        organizationId: newId('org-'),
        actor: { type: 'setup' },
        at: clock.now(),
      };
      const owner = newId('user-');
      await tx
        .insertInto('organizations')
        .values({ id: by.organizationId, name: 'Strangers', created_at: by.at })
        .execute();
      await tx
        .insertInto('users')
        .values({
          id: owner,
          organization_id: by.organizationId,
          name: 'Stranger',
          email: 'stranger@example.com',
          role: 'owner',
          created_at: by.at,
        })
        .execute();
      await placeRole(store, tx, by, {
        projectId: null,
        principal: { type: 'user', id: owner },
        roleId: PREDEFINED_ROLES.organizationOwner.id,
      });
      const { value } = await issueKey(store, tx, by, {
        type: 'admin',
        name: 'Admin',
        projectId: null,
        owner: { type: 'user', id: owner },
      });
      return value;
    });
  } finally {
    await store.close();
  }
}
