// What files and batches keep sealed, for wrapping again with the key that seals now: each piece and each result begins with
// its own envelope, and only envelopes are read and rewritten.

import { type RawBuilder, sql } from 'kysely';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import { ENVELOPE_BYTES } from '../secrets/envelope.ts';
import type { Place } from '../secrets/purpose.ts';
import type { SealedColumn } from '../secrets/rewrap.ts';
import type { Tx } from '../store/store.ts';

interface Numbered {
  readonly name: string;
  readonly purpose: Place['purpose'];
  /** The table of the sealed rows, called `kept`, with the table of their owners, called `owner`. */
  readonly from: RawBuilder<unknown>;
  readonly table: 'contents' | 'batch_results';
  readonly id: 'content_id' | 'batch_id';
  readonly number: 'piece' | 'line';
}

interface Row {
  readonly id: string;
  readonly number: number;
  readonly sealed: Uint8Array;
  readonly organization_id: string;
  readonly project_id: string;
}

function numbered({ name, purpose, from, table, id, number }: Numbered): SealedColumn {
  const idColumn = sql.ref(`kept.${id}`);
  const numberColumn = sql.ref(`kept.${number}`);
  return {
    name,
    // Rows have up to a megabyte each, and those of a page are rewritten in one transaction.
    atOnce: 16,
    async page(db, after, limit) {
      const place = parsed(after);
      const { rows } = await sql<Row>`
        select ${idColumn} as id, ${numberColumn} as number, substr(kept.bytes, 1, ${sql.lit(ENVELOPE_BYTES)}) as sealed,
          owner.organization_id, owner.project_id
        from ${from} where (${idColumn}, ${numberColumn}) > (${place.id}, ${place.number})
        order by ${idColumn}, ${numberColumn} limit ${sql.lit(limit)}`.execute(db);
      return rows.map((row) => ({
        key: `${row.id}/${row.number}`,
        place: {
          // The store holds ids as text: here they get their brands back.
          organizationId: row.organization_id as OrganizationId,
          projectId: row.project_id as ProjectId,
          purpose,
          id: `${row.id}/${row.number}`,
        },
        sealed: row.sealed,
      }));
    },
    async replace(tx, key, before, after) {
      const place = parsed(key);
      const row = await bytesOf(tx, table, id, number, place);
      if (row === undefined || !Buffer.from(row.subarray(0, ENVELOPE_BYTES)).equals(before)) return;
      const bytes = Buffer.concat([after, row.subarray(ENVELOPE_BYTES)]);
      await sql`update ${sql.table(table)} set bytes = ${bytes}
        where ${sql.ref(id)} = ${place.id} and ${sql.ref(number)} = ${place.number}`.execute(tx);
    },
  };
}

async function bytesOf(
  tx: Tx,
  table: string,
  id: string,
  number: string,
  place: { readonly id: string; readonly number: number },
): Promise<Uint8Array | undefined> {
  const { rows } = await sql<{ bytes: Uint8Array }>`select bytes from ${sql.table(table)}
    where ${sql.ref(id)} = ${place.id} and ${sql.ref(number)} = ${place.number}`.execute(tx);
  return rows[0]?.bytes;
}

function parsed(key: string): { readonly id: string; readonly number: number } {
  const slash = key.lastIndexOf('/');
  return slash < 0
    ? { id: '', number: -1 }
    : { id: key.slice(0, slash), number: Number(key.slice(slash + 1)) };
}

export const sealedColumns: readonly SealedColumn[] = [
  numbered({
    name: 'files',
    purpose: 'file',
    from: sql`contents as kept join files as owner on owner.id = kept.content_id`,
    table: 'contents',
    id: 'content_id',
    number: 'piece',
  }),
  numbered({
    name: 'upload parts',
    purpose: 'file',
    from: sql`contents as kept join upload_parts as part on part.id = kept.content_id
      join uploads as owner on owner.id = part.upload_id`,
    table: 'contents',
    id: 'content_id',
    number: 'piece',
  }),
  numbered({
    name: 'batch results',
    purpose: 'content',
    from: sql`batch_results as kept join batches as owner on owner.id = kept.batch_id`,
    table: 'batch_results',
    id: 'batch_id',
    number: 'line',
  }),
];
