// The audit log: whole when nobody touched it, and broken at the right place when somebody did.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { append, readHead, verifyChain } from '../../src/audit/chain.ts';
import { entryHash } from '../../src/audit/check.ts';
import type { Attribution } from '../../src/audit/model.ts';
import type { OrganizationId } from '../../src/platform/ids.ts';
import type { AuditTable } from '../../src/store/schema.ts';
import type { Store } from '../../src/store/store.ts';
import { type StorePlace, stores } from '../store/stores.ts';

const by: Attribution = {
  organizationId: 'org-test' as OrganizationId,
  actor: {
    type: 'api_key',
    api_key: { id: 'key_1', type: 'user', owner_id: 'user-1' },
    ip_address: '192.0.2.1',
  },
  at: 1_767_225_600_000,
};

function write(store: Store, count: number): Promise<void> {
  return store.write(async (tx) => {
    for (let n = 0; n < count; n++) {
      const payload = { id: `proj_${n}`, data: { name: `größe "${n}" \u2028 \\` } };
      await append(tx, { by, projectId: null, type: 'project.created', payload });
    }
  });
}

describe.each(stores)('the audit log on $kind', (kind) => {
  let place: StorePlace;
  let store: Store;
  let rows: AuditTable[];

  beforeAll(async () => {
    place = await kind.fresh();
    store = await place.open();
    await write(store, 30);
    rows = await store.db.selectFrom('audit_log').selectAll().orderBy('seq').execute();
  });
  afterAll(async () => {
    await place?.remove();
  });
  /** Puts the log back as it was written. */
  beforeEach(async () => {
    await store.write(async (tx) => {
      await tx.deleteFrom('audit_log').execute();
      await tx.insertInto('audit_log').values(rows).execute();
      const last = rows.at(-1);
      await tx
        .updateTable('meta')
        .set({ value: `${last?.seq}:${last?.hash}` })
        .where('name', '=', 'audit_head')
        .execute();
    });
  });

  /** Changes a row as somebody with the database's own tools would. */
  const tamper = (seq: number, changes: Partial<AuditTable>) =>
    store.write((tx) => tx.updateTable('audit_log').set(changes).where('seq', '=', seq).execute());
  const remove = (from: number, to: number) =>
    store.write((tx) => tx.deleteFrom('audit_log').where('seq', '>=', from).where('seq', '<=', to).execute());

  it('is whole as it was written, and says its head', async () => {
    const head = await readHead(store.db);
    expect(head.seq).toBe(30);
    expect(await verifyChain(store)).toEqual({
      ok: true,
      entries: 30,
      base: { seq: 0, hash: '0'.repeat(64) },
      head,
    });
  });

  it('is checked in pages, and may grow meanwhile', async () => {
    const verifying = Promise.all([verifyChain(store), write(store, 50), verifyChain(store)]);
    for (const verdict of await verifying) if (verdict) expect(verdict).toMatchObject({ ok: true });
    await write(store, 1200);
    expect(await verifyChain(store)).toMatchObject({ ok: true, entries: 1280 });
  });

  it('shows a change of any column of any entry, and of the hash itself', async () => {
    const changes: Partial<AuditTable>[] = [
      { id: 'audit_log-other' },
      { at: by.at + 1 },
      { organization_id: 'org-other' },
      { project_id: 'proj_other' },
      { type: 'project.archived' },
      { actor: '{}' },
      { payload: '{}' },
      { previous_hash: 'f'.repeat(64) },
      { hash: 'f'.repeat(64) },
    ];
    for (const [n, change] of changes.entries()) {
      const seq = 3 * (n + 1);
      const before = rows[seq - 1];
      if (before === undefined) throw new Error('no such row');
      await tamper(seq, change);
      expect(await verifyChain(store), JSON.stringify(change)).toMatchObject({
        ok: false,
        seq,
        entries: seq - 1,
      });
      await tamper(seq, before);
    }
    expect(await verifyChain(store)).toMatchObject({ ok: true });
  });

  it('shows an altered entry also when its own hash was made anew', async () => {
    for (const [seq, found] of [
      [10, 11],
      [30, 30],
    ] as const) {
      const row = rows[seq - 1];
      if (row === undefined) throw new Error('no such row');
      const altered = { ...row, payload: '{"id":"proj_forged"}' };
      await tamper(seq, { ...altered, hash: entryHash(altered) });
      expect(await verifyChain(store)).toMatchObject({ ok: false, seq: found });
      await tamper(seq, row);
    }
  });

  it('shows an entry that was removed, at the beginning, in the middle and at the end', async () => {
    await remove(30, 30);
    expect(await verifyChain(store)).toMatchObject({ ok: false, seq: 30 });
    await remove(12, 12);
    expect(await verifyChain(store)).toMatchObject({ ok: false, seq: 12, problem: 'Entry 12 is missing.' });
    await remove(1, 1);
    expect(await verifyChain(store)).toMatchObject({ ok: false, seq: 1 });
  });

  it('shows a cut: from the middle on, or all of it', async () => {
    await remove(15, 30);
    expect(await verifyChain(store)).toMatchObject({ ok: false, seq: 15, entries: 14 });
    await remove(1, 30);
    expect(await verifyChain(store)).toMatchObject({ ok: false, seq: 1, entries: 0 });
  });

  it('shows a cut also after new entries were written over it', async () => {
    await remove(20, 30);
    await write(store, 3);
    expect(await verifyChain(store)).toMatchObject({ ok: false, seq: 20, entries: 19 });
  });

  it('shows entries that changed places', async () => {
    const [a, b] = [rows[9], rows[10]];
    if (!a || !b) throw new Error('no such row');
    await store.write(async (tx) => {
      await tx.deleteFrom('audit_log').where('seq', 'in', [a.seq, b.seq]).execute();
      await tx
        .insertInto('audit_log')
        .values([
          { ...a, seq: b.seq },
          { ...b, seq: a.seq },
        ])
        .execute();
    });
    expect(await verifyChain(store)).toMatchObject({ ok: false, seq: 10 });
  });

  it('shows an entry of somebody’s own, rightly hashed but not in the chain', async () => {
    await store.write(async (tx) => {
      const last = rows.at(-1);
      if (last === undefined) throw new Error('no such row');
      await tx
        .insertInto('audit_log')
        .values({ ...last, seq: 31, id: 'audit_log-own' })
        .execute();
    });
    expect(await verifyChain(store)).toMatchObject({ ok: false });
  });

  it('shows a chain that was rewritten whole, to whoever kept a head elsewhere', async () => {
    const kept = await readHead(store.db);
    await store.write(async (tx) => {
      await tx.deleteFrom('audit_log').execute();
      await tx.deleteFrom('meta').where('name', '=', 'audit_head').execute();
    });
    await write(store, 29);
    expect(await verifyChain(store)).toMatchObject({ ok: true });
    expect(await verifyChain(store, kept)).toMatchObject({ ok: false, seq: 30 });
    await write(store, 2);
    expect(await verifyChain(store, kept)).toMatchObject({
      ok: false,
      seq: 30,
      problem: 'Entry 30 was replaced by another.',
    });
  });

  it('keeps no entry of a change that was rolled back', async () => {
    const failing = store.write(async (tx) => {
      await append(tx, { by, projectId: null, type: 'project.created', payload: { id: 'proj_never' } });
      throw new Error('rolled back');
    });
    await expect(failing).rejects.toThrow('rolled back');
    expect(await verifyChain(store)).toMatchObject({ ok: true, entries: 30 });
  });

  it('has one order when many changes are made at once', async () => {
    await Promise.all(Array.from({ length: 20 }, () => write(store, 2)));
    expect(await verifyChain(store)).toMatchObject({ ok: true, entries: 70 });
  });
});
