// Turning the root key reaches everything that is sealed: a whole server with one of each, and a look through every
// column of every table for what the old key still wraps. A table that seals and does not tell of it fails here.

import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { startTestServer } from '../harness/server.ts';
import { startClouds, VAULT_REGISTRATION } from './clouds.ts';

describe('turning the root key', () => {
  it('wraps everything again, wherever it is kept, and files and secrets open afterwards', async () => {
    const clouds = await startClouds();
    const yaml = `${clouds.yaml}providers:\n  mock: {base_url: "http://127.0.0.1:9/v1", credential: "sealed:main", allow_private: true, models: ["gpt-*"]}\n`;
    const server = await startTestServer({ yaml, env: clouds.env });
    try {
      await server.admin('POST', '/v1/keygate/secrets/main', { value: 'MARKER-one' });
      const key = await server.admin('POST', '/v1/keygate/external_keys', VAULT_REGISTRATION);
      const closed = await server.admin('POST', '/v1/organization/projects', {
        name: 'closed',
        external_key_id: key.body['id'],
      });
      expect(closed.status).toBe(200);
      const own = `/v1/keygate/projects/${closed.body['id']}/credentials/mock`;
      expect((await server.admin('POST', own, { value: 'MARKER-two' })).status).toBe(200);
      const endpoint = await server.admin('POST', '/v1/keygate/webhooks', {
        name: 'hook',
        url: 'https://hooks.example.com/',
        event_types: ['batch.completed'],
      });
      await fetch(`${server.adminUrl}/v1/keygate/cloud_identity/jwks`);
      const text = `${'x'.repeat(1_500_000)}MARKER-three`;
      const file = await server.client.files.create({
        file: new File([text], 'big.txt'),
        purpose: 'user_data',
      });

      const before = await server.admin('GET', '/v1/keygate/root_key');
      const [old] = before.body['keys'] as string[];
      const turned = await server.admin('POST', '/v1/keygate/root_key/rotate', {});
      expect(turned.status).toBe(200);
      const [now] = turned.body['keys'] as string[];
      expect(turned.body['keys']).toHaveLength(1);
      const content = await (await server.client.files.content(file.id)).text();
      expect(content === text).toBe(true);
      expect(endpoint.status).toBe(200);
      await server.stop();
      const columns = sealedColumns(join(server.dataDir, 'keygate.db'));
      expect(columns.flatMap(({ keys }) => keys)).not.toContain(old);
      const sealed = columns.filter(({ keys }) => keys.includes(now ?? '')).map(({ column }) => column);
      expect(sealed).toEqual(
        expect.arrayContaining([
          'contents.bytes',
          'content_keys.wrapped',
          'sealed_secrets.sealed',
          'sealed_keys.sealed',
          'webhook_endpoints.secret',
        ]),
      );
    } finally {
      await server.stop();
      server.remove();
      await clouds.close();
    }
  });
});

/** For every column that holds sealed bytes: the ids of the root keys that wrap them. */
function sealedColumns(path: string): { column: string; keys: string[] }[] {
  const db = new DatabaseSync(path, { readOnly: true });
  const found: { column: string; keys: string[] }[] = [];
  try {
    const tables = db.prepare("select name from sqlite_master where type = 'table'").all();
    for (const { name: table } of tables) {
      for (const { name, type } of db
        .prepare(`select name, type from pragma_table_info(?)`)
        .all(String(table))) {
        if (String(type).toLowerCase() !== 'blob') continue;
        const rows = db
          .prepare(
            `select distinct lower(hex(substr("${name}", 7, 16))) as id from "${table}" where substr("${name}", 1, 5) = x'4b47533100'`,
          )
          .all();
        if (rows.length > 0) {
          found.push({ column: `${table}.${name}`, keys: rows.map(({ id }) => String(id)) });
        }
      }
    }
  } finally {
    db.close();
  }
  return found;
}
