// `keygate audit` against a real server: the chain is checked from outside, and a log that was tampered with is found out.

import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { type Given, run } from './running.ts';

describe('keygate audit', () => {
  let server: TestServer;
  const keygate = (args: string[], given: Given = {}) =>
    run(['audit', ...args], {
      ...given,
      env: { KEYGATE_URL: server.adminUrl, KEYGATE_ADMIN_KEY: server.adminKey },
    });

  beforeAll(async () => {
    server = await startTestServer();
    for (let at = 0; at < 5; at++)
      await server.admin('POST', '/v1/organization/projects', { name: `Ünïcode ${at} \u2028 "quoted"` });
  });
  afterAll(async () => {
    await server?.stop();
    server?.remove();
  });

  test('list shows what was done, by whom', async () => {
    const { code, out } = await keygate(['list', '--type', 'project.created', '--limit', '2']);
    expect(code).toBe(0);
    expect(out).toMatch(
      /^ENTRY +TIME +WHAT +OBJECT +BY +PROJECT\n\d+ +\d{4}-\d\d-\d\d \d\d:\d\dZ +project\.created +proj_\w+ +key_/,
    );
    expect(out.trim().split('\n')).toHaveLength(3);
    const json = await keygate(['list', '--json', '--resource', 'proj_none']);
    expect(JSON.parse(json.out)).toMatchObject({ object: 'list', data: [], has_more: false });
  });

  test('verify says that the log is whole, and its head is one that it knows again', async () => {
    const head = (await keygate(['head'])).out;
    expect(head).toMatch(/^\d+:[0-9a-f]{64}\n$/);
    const verified = await keygate(['verify', '--anchor-file', '/heads'], { files: { '/heads': head } });
    expect(verified).toMatchObject({ code: 0, err: '' });
    expect(verified.out).toMatch(
      /^The audit log is whole: \d+ entries\.\nIts head, to be kept elsewhere: \d+:[0-9a-f]{64}\n$/,
    );
    const json = JSON.parse((await keygate(['verify', '--json'])).out);
    expect(json).toMatchObject({ ok: true, base: { seq: 0 } });
    const wrong = await keygate(['verify', '--anchor', `2:${'0'.repeat(64)}`]);
    expect(wrong.code).toBe(1);
    expect(wrong.err).toContain('Entry 2 was replaced by another');
    expect((await keygate(['verify', '--anchor', 'nonsense'])).code).toBe(2);
  });

  test('an export verifies without the server, goes on where it ended, and shows what was altered in it', async () => {
    const first = (await keygate(['export', '--until', '4'])).out;
    const rest = (await keygate(['export', '--resume', '/audit.jsonl'], { files: { '/audit.jsonl': first } }))
      .out;
    const whole = first + rest;
    const seqs = whole
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).seq);
    expect(seqs).toEqual(seqs.map((_, at) => at + 1));
    const offline = (text: string) =>
      run(['audit', 'verify', '--file', '/audit.jsonl'], { files: { '/audit.jsonl': text } });
    expect(await offline(whole)).toMatchObject({ code: 0 });
    const lines = whole.trim().split('\n');
    const flaws: [string, string[]][] = [
      ['was altered', lines.map((line) => line.replace('Ünïcode 1', 'Ünïcode 7'))],
      ['is missing', lines.toSpliced(3, 1)],
      ['is missing', [...lines.slice(0, 3), lines[4] ?? '', lines[3] ?? '', ...lines.slice(5)]],
    ];
    for (const [why, changed] of flaws) {
      const ran = await offline(changed.join('\n'));
      expect([ran.code, ran.err]).toEqual([1, expect.stringContaining(why)]);
    }
    expect(await offline('nonsense')).toMatchObject({ code: 2, err: expect.stringContaining('Line 1') });
    const part = await offline(lines.slice(2).join('\n'));
    expect(part, 'a beginning that nothing vouches for').toMatchObject({ code: 1 });
  });

  test('by time: only what was in it', async () => {
    expect((await keygate(['export', '--from', '2100-01-01'])).out).toBe('');
    expect((await keygate(['export', '--to', '2000-01-01'])).out).toBe('');
    expect((await keygate(['export', '--from', 'yesterday'])).code).toBe(2);
  });

  test('an entry that somebody altered in the database is found', async () => {
    const before = await keygate(['head']);
    await server.stop();
    const database = new DatabaseSync(join(server.dataDir, 'keygate.db'));
    database.exec(
      `update audit_log set payload = replace(payload, 'Default project', 'Another') where seq = 3`,
    );
    database.close();
    const again = await startTestServer({ dataDir: server.dataDir });
    try {
      const ran = await run(['audit', 'verify', '--anchor', before.out.trim()], {
        env: { KEYGATE_URL: again.adminUrl, KEYGATE_ADMIN_KEY: server.adminKey },
      });
      expect([ran.code, ran.err]).toEqual([1, expect.stringContaining('Entry 3 was altered')]);
    } finally {
      await again.stop();
    }
  });
});
