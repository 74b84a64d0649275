// The commands about people against a whole server: what somebody does in the first week with a team.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { run } from './running.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server?.stop();
  server?.remove();
});

const keygate = (args: readonly string[], key: string | null = server.adminKey) =>
  run([...args], { env: { KEYGATE_URL: server.adminUrl, ...(key !== null && { KEYGATE_ADMIN_KEY: key }) } });

/** Runs it, wants it to succeed, and gives its output. */
async function ok(...args: string[]): Promise<string> {
  const { code, out, err } = await keygate(args);
  expect(err, args.join(' ')).not.toMatch(/refused|fault/);
  expect(code, `${args.join(' ')}: ${err}`).toBe(0);
  return out;
}

describe('users, invites, groups and roles', () => {
  test('a user is added, joins a project, has a key there, leaves, and is removed', async () => {
    expect(await ok('users', 'add', 'ada@example.com', '--name', 'Ada Lovelace')).toContain(
      'ada@example.com',
    );
    expect(await ok('users', 'list')).toMatch(/ada@example\.com +Ada Lovelace +reader/);
    const early = await keygate(['keys', 'create', 'k', '--owner', 'ada@example.com', '-q']);
    expect(early.code).not.toBe(0);
    expect(early.err).toMatch(/has no access to the project/);
    expect(await ok('users', 'join', 'ada@example.com')).toBe(
      'ada@example.com is member in Default project.\n',
    );
    expect(await ok('users', 'join', 'ADA@example.com', '--role', 'viewer')).toContain('is viewer in');
    expect(await ok('users', 'list', '--project', 'Default project')).toMatch(/ada@example\.com.*viewer/);
    const key = (await ok('keys', 'create', 'k', '--owner', 'ada@example.com', '-q')).trim();
    expect((await server.request('/v1/models', { key })).status).toBe(200);
    await ok('users', 'leave', 'ada@example.com');
    expect((await server.request('/v1/models', { key })).status).toBe(401);
    await ok('users', 'join', 'ada@example.com');
    expect((await server.request('/v1/models', { key })).status).toBe(200);
    expect(await ok('users', 'role', 'ada@example.com', '--role', 'owner')).toContain('owner');
    await ok('users', 'remove', 'ada@example.com');
    expect((await server.request('/v1/models', { key })).status).toBe(401);
    const gone = await keygate(['users', 'remove', 'ada@example.com']);
    expect(gone.err).toContain('There is no user "ada@example.com"');
  });

  test('somebody is invited, accepts without a key, and manages their own keys with the one they get', async () => {
    const shown = await ok('invites', 'create', 'grace@example.com', '--project', 'Default project=member');
    const token = /keygate invites accept (kgi_\w+)/.exec(shown)?.[1] ?? '';
    expect(await ok('invites', 'list')).toMatch(/grace@example\.com +reader +pending/);
    const accepted = await keygate(['invites', 'accept', token, '--name', 'Grace', '--admin-key'], null);
    expect(accepted.code).toBe(0);
    const theirs = /KEYGATE_ADMIN_KEY=(sk-admin-\S+)/.exec(accepted.out)?.[1] ?? '';
    expect(await ok('invites', 'list')).toMatch(/grace@example\.com +reader +accepted/);
    const own = await keygate(['keys', 'create', 'mine', '-q'], theirs);
    expect(own.err).toBe('');
    expect((await server.request('/v1/models', { key: own.out.trim() })).status).toBe(200);
    const made = await keygate(['users', 'list'], theirs);
    expect(made.err).toMatch(/insufficient permissions/);
    const again = await keygate(['invites', 'accept', token], null);
    expect(again.err).toMatch(/works once/);
  });

  test('a group gets a role in a project, and whoever is in it works there', async () => {
    await ok('users', 'add', 'team@example.com');
    await ok('groups', 'create', 'Data science');
    await ok('groups', 'add', 'Data science', 'team@example.com');
    expect(await ok('groups', 'members', 'Data science')).toContain('team@example.com');
    await ok('groups', 'join', 'Data science', '--role', 'viewer');
    const key = (await ok('keys', 'create', 'k', '--owner', 'team@example.com', '-q')).trim();
    expect((await server.request('/v1/models', { key })).status).toBe(200);
    await ok('groups', 'remove', 'Data science', 'team@example.com');
    expect((await server.request('/v1/models', { key })).status).toBe(401);
    await ok('groups', 'leave', 'Data science');
    expect(await ok('groups', 'list')).toContain('Data science');
    await ok('groups', 'delete', 'Data science');
    expect(await ok('groups', 'list')).not.toContain('Data science');
  });

  test('a role is made, given, looked at and taken away', async () => {
    await ok('users', 'add', 'reports@example.com');
    await ok('roles', 'create', 'Reports', '--permission', 'api.usage.read');
    expect(await ok('roles', 'list')).toMatch(/Reports +custom +api\.usage\.read/);
    await ok('roles', 'assign', 'Reports', '--user', 'reports@example.com');
    expect(await ok('roles', 'list', '--user', 'reports@example.com')).toContain('Reports');
    const key = (
      await ok(
        'keys',
        'create',
        'dash',
        '--admin',
        '--owner',
        'reports@example.com',
        '--scope',
        'api.usage.read',
        '-q',
      )
    ).trim();
    const costs = await fetch(`${server.adminUrl}/v1/organization/costs?start_time=0`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(costs.status).toBe(200);
    await ok('roles', 'unassign', 'Reports', '--user', 'reports@example.com');
    await ok('roles', 'create', 'Looks', '--permission', 'api.files.read', '--project', 'Default project');
    await ok('roles', 'assign', 'Looks', '--user', 'reports@example.com', '--project', 'Default project');
    await ok('roles', 'delete', 'Looks', '--project', 'Default project');
    await ok('roles', 'delete', 'Reports');
    const nobody = await keygate(['roles', 'assign', 'owner']);
    expect(nobody.code).toBe(2);
    expect(nobody.err).toContain('--user USER or --group GROUP');
  });
});
