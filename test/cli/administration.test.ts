import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mintKey } from '../../src/keys/format.ts';
import { ServerDouble } from './double.ts';
import { type Given, run } from './running.ts';

let server: ServerDouble;
let url: string;

beforeEach(async () => {
  server = new ServerDouble();
  url = await server.start();
});

afterEach(() => server.stop());

const keygate = (args: string[], given: Given = {}) =>
  run(args, { ...given, env: { KEYGATE_URL: url, KEYGATE_ADMIN_KEY: server.adminKey, ...given.env } });

const key = (id: string, fields: object = {}) => ({
  id,
  object: 'organization.project.api_key',
  name: `name of ${id}`,
  redacted_value: 'sk-proj-abc...wxyz',
  created_at: 1_767_225_600,
  expires_at: 1_775_001_600,
  last_used_at: null,
  owner: { type: 'user', user: { id: 'user-1', name: 'Owner' } },
  type: 'project',
  scopes: [],
  models: null,
  addresses: ['10.0.0.0/8'],
  ...fields,
});

describe('keys create', () => {
  test('shows the new key once, says how to end it, and sends only what was asked for', async () => {
    const { code, out } = await keygate(['keys', 'create', 'build server']);
    expect(code).toBe(0);
    expect(out).toContain('\n  sk-project-value\n');
    expect(out).toContain('`keygate keys revoke key_new` ends it');
    expect(server.asked.at(-1)).toMatchObject({
      method: 'POST',
      path: '/v1/keygate/projects/proj_1/api_keys',
      body: { name: 'build server', type: 'project' },
    });
  });

  test('narrows a key by scopes, models, addresses and time', async () => {
    const options = [
      '--scope',
      'a',
      '--scope',
      'b',
      '--model',
      'm1,m2',
      '--address',
      '10.0.0.0/8',
      '--expires',
      '90d',
    ];
    await keygate(['keys', 'create', 'ci', '--type', 'test', ...options]);
    expect(server.asked.at(-1)?.body).toEqual({
      name: 'ci',
      type: 'test',
      scopes: ['a', 'b'],
      models: ['m1', 'm2'],
      addresses: ['10.0.0.0/8'],
      expires_in_seconds: 7_776_000,
    });
  });

  test('with --quiet prints the key alone, with --json the server’s object', async () => {
    expect((await keygate(['keys', 'create', 'x', '-q'])).out).toBe('sk-project-value\n');
    const { out } = await keygate(['keys', 'create', 'x', '--json']);
    expect(JSON.parse(out)).toMatchObject({
      id: 'key_new',
      name: 'x',
      value: 'sk-project-value',
      redacted_value: expect.any(String),
    });
  });

  test('for a service account that is not there: makes it without an unrestricted key, then the key', async () => {
    const { out } = await keygate(['keys', 'create', '--service-account', 'jobs', '--scope', 'a', '-q']);
    expect(out).toBe('sk-svcacct-value\n');
    const base = '/v1/organization/projects/proj_1/service_accounts';
    expect(server.changes).toEqual([
      `POST ${base}`,
      `POST ${base}/svc_acct_new`,
      `POST ${base}/svc_acct_new/api_keys`,
    ]);
    const bodies = server.asked.filter(({ method }) => method === 'POST').map(({ body }) => body);
    expect(bodies).toEqual([
      { name: 'jobs', create_service_account_only: true },
      { role: 'member' },
      { scopes: ['a'] },
    ]);
  });

  test('for a service account that is there: adds a key to it', async () => {
    server.serviceAccounts = [{ id: 'svc_acct_7', name: 'jobs', role: 'member', created_at: 1 }];
    await keygate(['keys', 'create', 'second', '--service-account', 'jobs']);
    expect(server.changes).toEqual([
      'POST /v1/organization/projects/proj_1/service_accounts/svc_acct_7/api_keys',
    ]);
    expect(server.asked.at(-1)?.body).toEqual({ name: 'second' });
  });

  test('with --admin makes an admin key of the organization', async () => {
    const { out } = await keygate(['keys', 'create', 'ops', '--admin', '--expires', '1h', '-q']);
    expect(out).toBe('sk-admin-value\n');
    expect(server.changes).toEqual(['POST /v1/keygate/admin_api_keys']);
    expect(server.asked.at(-1)?.body).toEqual({ name: 'ops', expires_in_seconds: 3600 });
  });

  test.each([
    [['keys', 'create'], 'Give the key a name'],
    [['keys', 'create', 'x', '--admin', '--model', 'm'], '--admin goes with a name, --owner, --scope'],
    [
      ['keys', 'create', '--service-account', 'x', '--model', 'm'],
      'narrowed by --scope, --expires, --dpop and',
    ],
    [['keys', 'create', 'x', '--expires', '90'], 'It must be a time from 1s to 365d'],
    [['keys', 'create', 'x', '--expires', '2000d'], 'It must be a time from 1s to 365d'],
    [['keys', 'create', 'x', '--type', 'admin'], 'Allowed choices are project, test'],
    [['keys', 'create', 'x', '--scope', 'a,,b'], 'It must not be empty'],
    [['keys', 'creat', 'x'], 'Did you mean create?'],
    [['keys', 'list', '--limit', '0'], 'It must be from 1 to 100000'],
    [['nonsense'], "unknown command 'nonsense'"],
  ])('%j is a mistake of usage: exit code 2, before anything is sent', async (args, said) => {
    const { code, out, err } = await keygate(args);
    expect(code).toBe(2);
    expect(err).toContain(said);
    expect(out).toBe('');
    expect(server.asked).toEqual([]);
  });
});

describe('keys list and show', () => {
  test('are tables for people', async () => {
    server.keys = [
      key('key_1', { environment: 'development' }),
      key('key_22', {
        name: null,
        type: 'test',
        environment: 'production',
        expires_at: null,
        last_used_at: 1_767_312_000,
      }),
    ];
    const { code, out } = await keygate(['keys', 'list']);
    expect(code).toBe(0);
    expect(out).toBe(
      [
        'ID      NAME           TYPE     ENVIRONMENT  KEY                 OWNER  CREATED            EXPIRES            LAST USED',
        'key_1   name of key_1  project  development  sk-proj-abc...wxyz  Owner  2026-01-01 00:00Z  2026-04-01 00:00Z  never',
        'key_22                 test     production   sk-proj-abc...wxyz  Owner  2026-01-01 00:00Z  never              2026-01-02 00:00Z',
        '',
      ].join('\n'),
    );
    const shown = await keygate(['keys', 'show', 'key_1']);
    expect(shown.out).toMatch(/^Id +key_1\nName +name of key_1\nType +project\n/);
    expect(shown.out).toMatch(/\nScopes +all\nModels +all of the project\nAddresses +10\.0\.0\.0\/8\n/);
  });

  test('are the API’s own objects for programs', async () => {
    server.keys = [key('key_1')];
    expect(JSON.parse((await keygate(['keys', 'list', '--json'])).out)).toEqual({
      object: 'list',
      data: server.keys,
      has_more: false,
    });
    expect(JSON.parse((await keygate(['keys', 'show', 'key_1', '--json'])).out)).toEqual(server.keys[0]);
    await keygate(['keys', 'list', '--admin', '--json']);
    expect(server.asked.at(-1)?.path).toBe('/v1/organization/admin_api_keys?limit=100');
  });

  test('a long list is read page by page; what is left out is said', async () => {
    server.keys = Array.from({ length: 250 }, (_, at) => key(`key_${at}`));
    const all = JSON.parse((await keygate(['keys', 'list', '--json', '--limit', '1000'])).out);
    expect(all.data).toHaveLength(250);
    expect(new Set(all.data.map(({ id }: { id: string }) => id)).size).toBe(250);
    const some = await keygate(['keys', 'list', '--limit', '120']);
    expect(some.out.trimEnd().split('\n')).toHaveLength(121);
    expect(some.err).toContain('Only the first 120');
  });

  test('names cannot write to the terminal what is not theirs', async () => {
    server.keys = [key('key_1', { name: 'a\u001b]0;owned\u0007\nb\u009b2J' })];
    const { out } = await keygate(['keys', 'list'], { terminal: true, env: { NO_COLOR: '1' } });
    expect(out).toContain('a]0;owned b2J');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that none is left is the point
    expect(out).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
  });

  test('heads are bold on a terminal, unless NO_COLOR is set', async () => {
    expect((await keygate(['keys', 'list'], { terminal: true })).out).toContain('\u001b[1m');
    expect((await keygate(['keys', 'list'], { terminal: true, env: { NO_COLOR: '1' } })).out).not.toContain(
      '\u001b',
    );
  });
});

describe('keys revoke', () => {
  test('ends each key that is named, and says which, up to one that is refused', async () => {
    server.keys = [key('key_1'), key('key_2')];
    const { code, out, err } = await keygate(['keys', 'revoke', 'key_1', 'key_9', 'key_2']);
    expect(code).toBe(1);
    expect(out).toBe('Revoked key_1.\n');
    expect(err).toBe('Not here. (404, req_double)\n');
    const both = await keygate(['keys', 'revoke', 'key_1', 'key_2', '--json']);
    expect(JSON.parse(both.out)).toHaveLength(2);
    await keygate(['keys', 'revoke', '--admin', 'key_1']);
    expect(server.changes.at(-1)).toBe('DELETE /v1/organization/admin_api_keys/key_1');
  });

  test('an id cannot reach beyond its place in the path', async () => {
    await keygate(['keys', 'revoke', '../../admin_api_keys/key_1']);
    expect(server.changes).toEqual([
      'DELETE /v1/organization/projects/proj_1/api_keys/..%2F..%2Fadmin_api_keys%2Fkey_1',
    ]);
  });
});

describe('projects', () => {
  test('create and list, for people and for programs', async () => {
    expect((await keygate(['projects', 'create', 'Search'])).out).toBe(
      'Project      Search\nId           proj_2\nEnvironment  production\n',
    );
    expect(JSON.parse((await keygate(['projects', 'create', 'Search', '--json'])).out)).toMatchObject({
      id: 'proj_2',
    });
    expect((await keygate(['projects', 'list'])).out).toContain(
      'proj_1  Default project  production   active  2026-01-01 00:00Z',
    );
    const changed = await keygate(['projects', 'update', 'Default project', '--environment', 'staging']);
    expect(changed.out).toBe('Project      Default project\nId           proj_1\nEnvironment  staging\n');
    expect(server.changes.at(-1)).toBe('POST /v1/keygate/projects/proj_1');
    expect(await keygate(['projects', 'update', 'proj_1'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--name or --environment'),
    });
    expect((await keygate(['projects', 'create', 'x', '--environment', 'moon'])).code).toBe(2);
    await keygate(['projects', 'list', '--archived', '--json']);
    expect(server.asked.at(-1)?.path).toBe('/v1/keygate/projects?include_archived=true&limit=100');
  });

  test('--project takes an id or a name; without it the only project is meant', async () => {
    const [first] = server.projects;
    if (!first) throw new Error('the double has a project');
    const several = [first, { ...first, id: 'proj_2', name: 'Search' }];
    server.projects = several;
    for (const project of ['proj_2', 'Search']) {
      await keygate(['keys', 'create', 'x', '--project', project]);
      expect(server.changes.at(-1)).toBe('POST /v1/keygate/projects/proj_2/api_keys');
    }
    const open = await keygate(['keys', 'create', 'x']);
    expect(open).toMatchObject({ code: 2, out: '' });
    expect(open.err).toContain(
      'There are several projects: name one with --project: proj_1 (Default project), proj_2 (Search).',
    );
    const unknown = await keygate(['keys', 'list', '-p', 'nope']);
    expect(unknown).toMatchObject({ code: 1 });
    expect(unknown.err).toContain('There is no active project "nope"');
    server.projects = several.map((project) => ({ ...project, name: 'Same' }));
    expect((await keygate(['keys', 'list', '-p', 'Same'])).err).toContain(
      'Several projects are called "Same"',
    );
  });
});

describe('when the server cannot be talked to', () => {
  test('nothing listens there: exit code 3, and what to do', async () => {
    await server.stop();
    const { code, err } = await keygate(['keys', 'list']);
    expect(code).toBe(3);
    expect(err).toBe(
      `No keygate answers at ${url} (ECONNREFUSED): start it with \`npm run up\` or \`keygate serve\`, or set KEYGATE_URL.\n`,
    );
    await server.start();
  });

  test('what listens there is no keygate: exit code 3, and the key is not sent further', async () => {
    server.intercept = (_, response) => response.writeHead(200).end('<html>');
    expect(await keygate(['keys', 'list'])).toMatchObject({ code: 3 });
    server.intercept = (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end();
    const { code, err } = await keygate(['keys', 'list']);
    expect(code).toBe(3);
    expect(err).toContain('is no keygate of this version: it answered 302');
  });

  test('the server refuses: exit code 1, its own words and the id of the request', async () => {
    server.intercept = (_, response) =>
      response
        .writeHead(401, { 'content-type': 'application/json' })
        .end('{"error":{"message":"Incorrect API key provided."}}');
    expect(await keygate(['projects', 'list'])).toMatchObject({
      code: 1,
      out: '',
      err: 'Incorrect API key provided. (401, req_double)\n',
    });
  });

  test.each([
    [{ KEYGATE_URL: 'localhost:4141' }, 'KEYGATE_URL must be the server'],
    [{ KEYGATE_ADMIN_KEY: '' }, 'KEYGATE_ADMIN_KEY holds no whole key of a keygate'],
    [{ KEYGATE_ADMIN_KEY: mintKey('project') }, 'KEYGATE_ADMIN_KEY holds a project key'],
    [{ KEYGATE_ADMIN_KEY: 'sk-admin-of-somebody-else' }, 'KEYGATE_ADMIN_KEY holds no whole key of a keygate'],
  ])('a variable that cannot be used is named: exit code 78, nothing sent', async (env, said) => {
    const { code, err } = await keygate(['projects', 'list'], { env });
    expect(code).toBe(78);
    expect(err).toContain(said);
    expect(err).not.toContain('somebody');
    expect(server.asked).toEqual([]);
  });

  test('without KEYGATE_ADMIN_KEY the SDK’s OPENAI_ADMIN_KEY is used, and without either it is said', async () => {
    const env = { KEYGATE_URL: `${url}/v1/` };
    expect(
      await run(['projects', 'list'], { env: { ...env, OPENAI_ADMIN_KEY: server.adminKey } }),
    ).toMatchObject({ code: 0 });
    const { code, err } = await run(['projects', 'list'], { env });
    expect(code).toBe(78);
    expect(err).toContain('set KEYGATE_ADMIN_KEY');
  });
});
