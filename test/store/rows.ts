// Rows to test with: whole, with the references that the tables insist on.

import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Insertable } from 'kysely';
import type { ApiKeyTable } from '../../src/store/schema.ts';
import type { Db, NewSegment, Tx } from '../../src/store/store.ts';

export const ORGANIZATION = 'org-test';
export const PROJECT = 'proj_test';

/** The organization and project that keys of `keyRow` belong to. */
export async function ground(db: Db | Tx): Promise<void> {
  await db.insertInto('organizations').values({ id: ORGANIZATION, name: 'Test', created_at: 1 }).execute();
  await db
    .insertInto('projects')
    .values({
      id: PROJECT,
      organization_id: ORGANIZATION,
      name: 'Test',
      status: 'active',
      environment: 'development',
      is_default: 1,
      created_at: 1,
      archived_at: null,
    })
    .execute();
}

export function keyRow(id: string, over: Partial<Insertable<ApiKeyTable>> = {}): Insertable<ApiKeyTable> {
  return {
    id,
    organization_id: ORGANIZATION,
    project_id: PROJECT,
    type: 'project',
    digest: new Uint8Array(createHash('sha256').update(id).digest()),
    redacted: 'sk-proj-abc***wxyz',
    name: `key ${id}`,
    owner_type: 'user',
    owner_id: 'user-test',
    scopes: '[]',
    models: null,
    addresses: null,
    created_at: 1,
    expires_at: null,
    last_used_at: null,
    revoked_at: null,
    confirmation: null,
    ...over,
  };
}

/** A segment whose payload is the number and `fill` more bytes. */
export function segment(number: number, fill = 0): NewSegment {
  const payload = new Uint8Array(
    Buffer.concat([Buffer.from(`${number}\n`), Buffer.alloc(fill, number % 251)]),
  );
  return {
    node: 'test',
    first_at: number,
    last_at: number + 1,
    events: 1,
    format: 1,
    crc: crc32(payload),
    payload,
  };
}

export function segmentNumber(payload: Uint8Array): number {
  return Number.parseInt(Buffer.from(payload.subarray(0, 20)).toString('latin1'), 10);
}

/** `read` until `enough`, for what happens in the background; the test's own time-out is the bound. */
export async function eventually<T>(read: () => T | Promise<T>, enough: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await read();
    if (enough(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
