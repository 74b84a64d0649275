// Every change is in the audit log, and no plaintext key is anywhere in the database.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { verifyChain } from '../../src/audit/chain.ts';
import { digestKey } from '../../src/keys/format.ts';
import { field, openPlane, type Plane } from '../access/plane.ts';
import { freshPostgres, freshSqlite, stores } from '../store/stores.ts';

/** Makes one of each change, and returns every plaintext that was shown. */
async function makeEveryChange(plane: Plane): Promise<string[]> {
  const { organization } = plane.admin.admin;
  const project = await organization.projects.create({ name: 'Audited' });
  const project_id = project.id;
  await organization.projects.update(project_id, { name: 'Audited twice' });
  const account = await organization.projects.serviceAccounts.create(project_id, { name: 'bot' });
  await organization.projects.serviceAccounts.update(account.id, { project_id, role: 'owner' });
  const extra = await organization.projects.serviceAccounts.apiKeys.create(account.id, { project_id });
  const body = { name: 'mine', models: ['gpt-6-luna'], addresses: ['10.0.0.0/8'] };
  const person = await plane.call('POST', `/v1/keygate/projects/${project_id}/api_keys`, { body });
  const path = `/v1/organization/projects/${project_id}/api_keys/${field(person, 'id')}`;
  await plane.call('POST', path, { body: { scopes: ['api.all.read'] } });
  await organization.projects.apiKeys.delete(field(person, 'id'), { project_id });
  const admin = await organization.adminAPIKeys.create({ name: 'spare' });
  await organization.adminAPIKeys.delete(admin.id);
  await organization.projects.serviceAccounts.delete(account.id, { project_id });
  await organization.projects.archive(project_id);
  await plane.call('GET', '/v1/organization/projects', { key: plane.projectKey });
  await plane.registry.flush(plane.store);
  return [
    plane.adminKey,
    plane.projectKey,
    account.api_key?.value ?? '',
    extra.value,
    field(person, 'value'),
    admin.value,
  ];
}

const AT_SETUP = [
  'organization.created',
  'user.added',
  'project.created',
  'api_key.created',
  'api_key.created',
];

describe.each(stores)('the audit log on $kind', (kind) => {
  it('has one entry for every change, with who made it and from where, in an unbroken chain', async () => {
    const plane = await openPlane(kind);
    try {
      await makeEveryChange(plane);
      const rows = await plane.store.db.selectFrom('audit_log').selectAll().orderBy('seq').execute();
      expect(rows.map((row) => row.type)).toEqual([
        ...AT_SETUP,
        'project.created',
        'project.updated',
        'service_account.created',
        'api_key.created',
        'service_account.updated',
        'api_key.created',
        'api_key.created',
        'api_key.updated',
        'api_key.deleted',
        'api_key.created',
        'api_key.deleted',
        'service_account.deleted',
        'project.archived',
        'administration.refused',
      ]);
      const adminId = plane.registry.find(plane.adminKey)?.keyId;
      for (const row of rows) {
        const actor = JSON.parse(row.actor);
        if (row.seq <= AT_SETUP.length) expect(actor).toEqual({ type: 'setup' });
        else if (row.type === 'administration.refused') expect(actor.api_key.id).not.toBe(adminId);
        else
          expect(actor).toMatchObject({ type: 'api_key', api_key: { id: adminId }, ip_address: '192.0.2.1' });
        expect(row.organization_id).toBe(plane.organizationId);
      }
      expect(JSON.parse(rows[12]?.payload ?? '')).toMatchObject({
        changes_requested: { scopes: ['api.all.read'] },
      });
      expect(JSON.parse(rows[16]?.payload ?? '')).toMatchObject({ data: { revoked_api_keys: 2 } });
      expect(await verifyChain(plane.store)).toMatchObject({ ok: true, entries: rows.length });
    } finally {
      await plane.close();
    }
  });
});

describe('no plaintext key', () => {
  it('is in any file of the embedded database, nor is the random half of one', async () => {
    const plane = await openPlane({ kind: 'sqlite', fresh: freshSqlite });
    try {
      const secrets = await makeEveryChange(plane);
      const digest = Buffer.from(digestKey(plane.adminKey), 'latin1');
      const look = async () => {
        const names = await readdir(plane.place.dataDir, { recursive: true, withFileTypes: true });
        const files = names.filter((name) => name.isFile()).map((name) => join(name.parentPath, name.name));
        return Buffer.concat(await Promise.all(files.map((name) => readFile(name))));
      };
      const open = await look();
      await plane.store.close();
      for (const bytes of [open, await look()]) {
        // The digest is there, so these are the right files.
        expect(bytes.includes(digest)).toBe(true);
        for (const secret of secrets) {
          expect(secret).toMatch(/^sk-/);
          expect(bytes.includes(secret)).toBe(false);
          const random = secret.slice(secret.indexOf('a2V5Z2F0ZQ') - 18, secret.indexOf('a2V5Z2F0ZQ'));
          expect(bytes.includes(random)).toBe(false);
        }
      }
    } finally {
      await plane.close();
    }
  });

  it('is in any column of any table of PostgreSQL', async () => {
    const plane = await openPlane({ kind: 'postgres', fresh: freshPostgres });
    try {
      const secrets = await makeEveryChange(plane);
      const tables = await sql<{ name: string }>`
        select quote_ident(table_name) as name from information_schema.tables where table_schema = 'public'
      `.execute(plane.store.db);
      let text = '';
      for (const { name } of tables.rows) {
        const rows = await sql<{ row: string }>`select t::text as row from ${sql.raw(name)} t`.execute(
          plane.store.db,
        );
        text += rows.rows.map(({ row }) => row).join('\n');
      }
      expect(text).toContain('audit_log-');
      for (const secret of secrets) {
        expect(secret).toMatch(/^sk-/);
        expect(text).not.toContain(secret);
        expect(text).not.toContain(Buffer.from(secret).toString('hex'));
      }
    } finally {
      await plane.close();
    }
  });
});
