// What notifications keep sealed, for wrapping again with a new key: the signing secrets of webhook endpoints.

import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { SealedColumn } from '../secrets/rewrap.ts';

const column = (name: string, of: 'secret' | 'old_secret'): SealedColumn => ({
  name,
  async page(db, after, limit) {
    const rows = await db
      .selectFrom('webhook_endpoints')
      .select(['id', 'organization_id', 'project_id', of])
      .where('id', '>', after)
      .where(of, 'is not', null)
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.flatMap((row) => {
      const sealed = row[of];
      if (sealed == null) return [];
      return [
        {
          key: row.id,
          place: {
            // The columns hold what newId made.
            organizationId: row.organization_id as OrganizationId,
            projectId: row.project_id as ProjectId | null,
            purpose: 'delivery' as const,
            id: row.id,
          },
          sealed,
        },
      ];
    });
  },
  async replace(tx, id, before, after) {
    await tx
      .updateTable('webhook_endpoints')
      .set({ [of]: after })
      .where('id', '=', id)
      .where(of, '=', before)
      .execute();
  },
});

export const sealedInNotify: readonly SealedColumn[] = [
  column('webhook secrets', 'secret'),
  column('former webhook secrets', 'old_secret'),
];
