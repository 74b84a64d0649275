import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConstraintError } from '../../src/store/errors.ts';
import type { Store } from '../../src/store/store.ts';
import { ground, keyRow, ORGANIZATION, PROJECT } from './rows.ts';
import { type StorePlace, stores } from './stores.ts';

describe.each(stores)('values on $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  beforeAll(async () => {
    place = await fresh();
    store = await place.open();
    await store.write((tx) => ground(tx));
  });
  afterAll(() => place.remove());

  const putKey = (over: Parameters<typeof keyRow>[1], id = 'key_refused') =>
    store.db.insertInto('api_keys').values(keyRow(id, over)).execute();

  it('come back as they were given: text, bytes, large integers and null', async () => {
    const key = {
      ...keyRow('key_values'),
      name: 'ünï \u{1F511} "quoted" \\ \u007f',
      digest: new Uint8Array(Array.from({ length: 32 }, (_, i) => i * 8)),
      created_at: Number.MAX_SAFE_INTEGER,
      expires_at: Number.MIN_SAFE_INTEGER,
      models: '["a","b"]',
    };
    await store.db.insertInto('api_keys').values(key).execute();
    const stored = await store.db
      .selectFrom('api_keys')
      .selectAll()
      .where('digest', '=', key.digest)
      .executeTakeFirst();
    expect(stored).toEqual(key);
  });

  it('take part of a larger buffer as that part only', async () => {
    const whole = Buffer.alloc(96, 7);
    whole.fill(9, 32, 64);
    await putKey({ digest: whole.subarray(32, 64) }, 'key_part');
    const stored = await store.db
      .selectFrom('api_keys')
      .select('digest')
      .where('id', '=', 'key_part')
      .executeTakeFirst();
    expect(stored?.digest).toEqual(new Uint8Array(32).fill(9));
  });

  it('count and sum to numbers', async () => {
    await store.db
      .insertInto('meta')
      .values([
        { name: 'x', value: '1' },
        { name: 'y', value: '2' },
      ])
      .execute();
    const row = await store.db
      .selectFrom('organizations')
      .select(({ fn }) => [fn.countAll<number>().as('count'), fn.sum<number>('created_at').as('sum')])
      .executeTakeFirst();
    expect(row).toEqual({ count: 1, sum: 1 });
  });

  it('are listed in the same order on both databases, by their bytes', async () => {
    const names = ['a', 'B', 'Z', 'ä', '_', '1', 'aa', '\u{1F511}', 'é'];
    await store.db
      .insertInto('users')
      .values(
        names.map((id) => ({
          id,
          organization_id: ORGANIZATION,
          name: id,
          email: id,
          role: 'reader',
          created_at: 1,
        })),
      )
      .execute();
    const rows = await store.db.selectFrom('users').select('id').orderBy('id').execute();
    expect(rows.map((row) => row.id)).toEqual(
      names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    );
  });

  it('that are beyond exact integers are refused and not rounded', async () => {
    await expect(putKey({ created_at: 2 ** 53 })).rejects.toThrow(/cannot be stored/);
    await expect(putKey({ created_at: 1.5 })).rejects.toThrow(/cannot be stored/);
    await expect(putKey({ created_at: Number.NaN })).rejects.toThrow(/cannot be stored/);
    await expect(sql`select ${sql.lit('')} || 'x', 9007199254740993`.execute(store.db)).rejects.toThrow();
  });

  it('of text with a NUL are refused with 400, because one of the databases could not keep it', async () => {
    await expect(putKey({ name: 'a\0b' })).rejects.toMatchObject({ status: 400 });
  });

  it.each([
    ['a digest that is not 32 bytes', { digest: new Uint8Array(31) }, 'check'],
    ['an admin key with a project', { type: 'admin' as const }, 'check'],
    ['a project key without a project', { project_id: null }, 'check'],
    ['a project of another organization', { organization_id: 'org-other' }, 'foreign_key'],
    ['a project that does not exist', { project_id: 'proj_none' }, 'foreign_key'],
    ['a digest that is known already', { digest: keyRow('key_first').digest }, 'unique'],
  ])('refuse %s', async (_, over, constraint) => {
    await store.db
      .insertInto('api_keys')
      .values(keyRow('key_first'))
      .onConflict((c) => c.doNothing())
      .execute();
    await store.db
      .insertInto('organizations')
      .values({ id: 'org-other', name: 'Other', created_at: 1 })
      .onConflict((c) => c.doNothing())
      .execute();
    const error = await putKey(over).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ConstraintError);
    expect(error).toMatchObject({ constraint });
  });

  it('never appear in the error of a refused row', async () => {
    await store.db.insertInto('meta').values({ name: 'topsecret', value: 'x' }).execute();
    const error = await store.db
      .insertInto('meta')
      .values({ name: 'topsecret', value: 'y' })
      .execute()
      .catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ConstraintError);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('topsecret');
  });

  it('of an owned object are found by project and id together', async () => {
    const object = { id: 'resp_1', kind: 'response', provider: 'openai', created_at: 1 };
    await store.db
      .insertInto('owned_objects')
      .values({ ...object, project_id: PROJECT })
      .execute();
    const twice = store.db
      .insertInto('owned_objects')
      .values({ ...object, project_id: PROJECT })
      .execute();
    await expect(twice).rejects.toBeInstanceOf(ConstraintError);
    await store.db
      .insertInto('projects')
      .values({
        id: 'proj_b',
        organization_id: ORGANIZATION,
        name: 'b',
        status: 'active',
        environment: 'staging',
        is_default: 0,
        created_at: 1,
        archived_at: null,
      })
      .execute();
    await store.db
      .insertInto('owned_objects')
      .values({ ...object, project_id: 'proj_b' })
      .execute();
  });

  it('are read in pages: a query without a limit that finds too many is refused', async () => {
    const many = sql`with recursive n(i) as (select 1 union all select i + 1 from n where i < 20001) select i from n`;
    await expect(many.execute(store.db)).rejects.toThrow(/more than 20000 rows/);
  });

  it('tell how many rows a statement changed', async () => {
    const result = await store.db
      .updateTable('organizations')
      .set({ name: 'N' })
      .where('id', '=', ORGANIZATION)
      .executeTakeFirst();
    expect(result.numUpdatedRows).toBe(1n);
    const none = await store.db.deleteFrom('meta').where('name', '=', 'nobody').executeTakeFirst();
    expect(none.numDeletedRows).toBe(0n);
  });
});
