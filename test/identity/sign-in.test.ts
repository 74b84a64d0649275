// People sign in with `keygate login` through a real OpenID provider, and then act with their own roles.

import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Provider from 'oidc-provider';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addCommands } from '../../src/cli/commands.ts';
import { CommandError } from '../../src/cli/exit.ts';
import type { Io } from '../../src/cli/io.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { openStore } from '../../src/store/open.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { signInAt } from './browser.ts';

interface Person {
  readonly email?: string;
  readonly email_verified?: boolean;
  readonly name?: string;
}

/** Who the issuer knows, by the name that they enter. */
const PEOPLE: Record<string, Person> = {
  owner: { email: 'Owner@localhost', email_verified: true, name: 'Owner' },
  stranger: { email: 'stranger@example.com', email_verified: true },
  unverified: { email: 'owner@localhost', email_verified: false },
  nameless: {},
  invited: { email: 'invited@example.com', email_verified: true, name: 'Ina' },
  impostor: { email: 'owner@localhost', email_verified: true },
};

async function startProvider(): Promise<{ server: Server; url: string }> {
  let provider: Provider | null = null;
  const server = createServer((request, response) => void provider?.callback()(request, response));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  provider = new Provider(url, {
    clients: [
      {
        client_id: 'keygate',
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
        redirect_uris: ['http://127.0.0.1/callback'],
      },
    ],
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true } },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...PEOPLE[id] }) }),
    cookies: { keys: ['test'] },
  });
  return { server, url };
}

describe('keygate login', () => {
  let issuer: Awaited<ReturnType<typeof startProvider>>;
  let server: TestServer;
  let home: string;
  beforeAll(async () => {
    issuer = await startProvider();
    server = await startTestServer({
      env: {
        KEYGATE_OUTGOING_ALLOW_PRIVATE: '127.0.0.1',
        KEYGATE_SIGN_IN_ISSUER: issuer.url,
        KEYGATE_SIGN_IN_CLIENT_ID: 'keygate',
      },
    });
    home = mkdtempSync(join(tmpdir(), 'keygate-home-'));
  });
  afterAll(async () => {
    await server?.stop();
    server?.remove();
    issuer?.server.close();
    issuer?.server.closeAllConnections();
    rmSync(home, { recursive: true, force: true });
  });

  /** Runs a command; a person with a browser does what it says on standard error. */
  async function run(args: string[], login?: string) {
    const out: string[] = [];
    let visit: Promise<unknown> = Promise.resolve();
    const io: Io = {
      out: (text) => out.push(text),
      err: (text) => {
        const [address] = /https?:\/\/\S+/.exec(text) ?? [];
        const [, code] = /enter (\S+?)[,.]/.exec(text) ?? [];
        if (address !== undefined && login !== undefined)
          visit = signInAt(address.replace(/,$/, ''), login, code);
      },
      env: { KEYGATE_URL: server.url, HOME: home },
      cwd: home,
      hostname: 'test',
      outIsTerminal: false,
      inIsTerminal: false,
      readInput: async () => '',
      readFile: (path) => readFileSync(path, 'utf8'),
      onSignal: () => () => {},
      exitNow: () => {},
      now: () => Date.now(),
      monotonic: () => performance.now(),
    };
    const program = buildProgram(
      io,
      async () => {
        throw new Error('no server is started here');
      },
      addCommands,
    );
    const error = await program.parseAsync(['node', 'keygate', ...args]).then(
      () => null,
      (failed: unknown) => failed,
    );
    await visit;
    return { out: out.join(''), error };
  }

  it('signs a person in by the browser, who then administers without a key, and signs out', async () => {
    expect((await run(['projects', 'list'])).error).toBeInstanceOf(CommandError);
    const { out, error } = await run(['login'], 'owner');
    expect(error).toBeNull();
    expect(out).toMatch(/^Signed in as owner@localhost, until 20/);
    expect((await run(['projects', 'list'])).out).toContain('Default project');
    expect((await run(['keys', 'create', 'by a person'])).out).toContain('sk-proj-');
    const who = await run(['whoami']);
    expect(who.out).toMatch(/As\s+owner@localhost/);
    expect(who.out).toMatch(/By\s+session sess_/);

    const file = join(home, '.config', 'keygate', 'sessions.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { value } = JSON.parse(readFileSync(file, 'utf8'))[server.url];
    expect(value).toMatch(/^sk-sess-/);
    const status = async (path: string) => (await server.request(path, { key: value })).status;
    expect(await status('/v1/organization/projects')).toBe(200);
    // A session administers; models are for keys.
    expect(await status('/v1/models')).toBe(403);
    expect((await run(['logout'])).out).toBe('Signed out owner@localhost.\n');
    expect(await status('/v1/organization/projects')).toBe(401);
    expect((await run(['projects', 'list'])).error).toBeInstanceOf(CommandError);
  });

  it('signs a person in by a code that is entered on another device', async () => {
    const { out, error } = await run(['login', '--no-browser'], 'owner');
    expect(error).toBeNull();
    expect(out).toMatch(/^Signed in as owner@localhost/);
    expect((await run(['logout'])).out).toMatch(/^Signed out/);
  }, 30_000);

  it('makes a user of who was invited, with the role of the invitation', async () => {
    const invited = await server.admin('POST', '/v1/organization/invites', {
      email: 'Invited@example.com',
      role: 'reader',
    });
    expect(invited.status).toBe(200);
    expect((await run(['login'], 'invited')).out).toMatch(/^Signed in as invited@example.com/);
    // A reader sees groups and roles, and of the projects those that it is in: the default one, if the invite names none.
    expect((await run(['whoami'])).out).toMatch(/As\s+invited@example.com/);
    const { value } = JSON.parse(readFileSync(join(home, '.config', 'keygate', 'sessions.json'), 'utf8'))[
      server.url
    ];
    expect((await server.request('/v1/organization/groups', { key: value })).status).toBe(200);
    const projects = await server.request('/v1/organization/projects', { key: value });
    expect(await projects.json()).toMatchObject({ data: [{ id: server.projectId }] });
    expect((await server.request('/v1/organization/admin_api_keys', { key: value })).status).toBe(403);
    const users = await server.admin('GET', '/v1/organization/users');
    expect(JSON.stringify(users.body)).toContain('"name":"Ina"');
    expect((await run(['logout'])).error).toBeNull();
  });

  it.each([
    ['a stranger', 'stranger'],
    ['who has not proved the address', 'unverified'],
    ['who has no address', 'nameless'],
    ['another person with the address of a user', 'impostor'],
  ])('refuses %s, and does not say why', async (_, login) => {
    const { error } = await run(['login'], login);
    expect(error).toBeInstanceOf(CommandError);
    expect(String(error)).toMatch(/The sign-in failed\. The reason is in the audit log\. \(401/);
  });

  it('refuses what does not come from a sign-in of its own', async () => {
    const post = async (body: unknown) => {
      const reply = await server.request('/v1/keygate/sign_in', {
        method: 'POST',
        key: null,
        body: JSON.stringify(body),
      });
      return {
        status: reply.status,
        body: (await reply.json()) as { error: { code: string; param: string } },
      };
    };
    const good = {
      grant_type: 'authorization_code',
      code: 'made-up',
      code_verifier: 'v'.repeat(43),
      nonce: 'n'.repeat(16),
      redirect_uri: 'http://127.0.0.1:4000/callback',
    };
    expect((await post(good)).body.error.code).toBe('sign_in_failed');
    for (const redirect_uri of [
      'https://evil.test/callback',
      'http://127.0.0.1:1@evil.test/',
      'http://localhost:1/x',
    ]) {
      expect((await post({ ...good, redirect_uri })).body.error.param).toBe('redirect_uri');
    }
    expect((await post({ ...good, user: 'owner' })).status).toBe(400);
    expect((await post({ grant_type: 'password', username: 'owner' })).status).toBe(400);
    const keyed = await server.request('/v1/keygate/session', { method: 'DELETE' });
    expect(keyed.status).toBe(400);
  });

  it('keeps sessions over a restart, ends them by their time, and tells all of it to the audit log', async () => {
    expect((await run(['login'], 'owner')).error).toBeNull();
    const { value } = JSON.parse(readFileSync(join(home, '.config', 'keygate', 'sessions.json'), 'utf8'))[
      server.url
    ];
    await server.stop();
    const again = await startTestServer({ dataDir: server.dataDir });
    expect((await again.request('/v1/organization/projects', { key: value })).status).toBe(200);
    expect((await again.request('/v1/keygate/sign_in', { key: null })).status).toBe(404);
    await again.stop();
    const store = await openStore({
      dataDir: server.dataDir,
      databaseUrl: null,
      clock: systemClock,
      onError: () => {},
    });
    try {
      const sessions = await store.db.selectFrom('sessions').selectAll().execute();
      expect(sessions).toHaveLength(1);
      expect(Buffer.from(sessions[0]?.digest ?? []).toString('hex')).not.toContain(
        Buffer.from(value).toString('hex'),
      );
      await store.write((tx) =>
        tx
          .updateTable('sessions')
          .set({ expires_at: Date.now() - 1 })
          .execute(),
      );
      const rows = await store.db
        .selectFrom('audit_log')
        .select(['type', 'actor', 'payload'])
        .where('type', 'like', 'log%')
        .orderBy('seq')
        .execute();
      const types = rows.map(({ type }) => type);
      expect(types.filter((type) => type === 'login.succeeded')).toHaveLength(4);
      expect(types.filter((type) => type === 'logout.succeeded')).toHaveLength(3);
      const reasons = rows.flatMap(({ type, payload }) =>
        type === 'login.failed' ? [JSON.parse(payload).error_code] : [],
      );
      expect(reasons.slice(0, 4)).toEqual([
        'user_unknown',
        'email_not_verified',
        'email_missing',
        'user_is_of_another_subject',
      ]);
      expect(JSON.parse(rows[0]?.actor ?? '{}')).toMatchObject({
        type: 'session',
        session: { user: { email: 'owner@localhost' } },
      });
      expect(JSON.stringify(rows)).not.toContain(value);
      const created = await store.db
        .selectFrom('audit_log')
        .select('actor')
        .where('type', '=', 'api_key.created')
        .orderBy('seq', 'desc')
        .executeTakeFirstOrThrow();
      expect(JSON.parse(created.actor).type).toBe('session');
    } finally {
      await store.close();
    }
    const late = await startTestServer({ dataDir: server.dataDir });
    expect((await late.request('/v1/organization/projects', { key: value })).status).toBe(401);
    await late.stop();
  });
});
