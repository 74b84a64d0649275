import { format, inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { describe as describeConfig } from '../../src/config/describe.ts';
import { mintKey } from '../../src/keys/format.ts';
import { type Given, load, refusal } from './loading.ts';

const ADMIN_KEY = mintKey('admin');
const DATABASE = 'postgres://keygate:p4ssw0rd@db.internal/keygate';
const PROVIDER_KEY = 'sk-proj-provider-0123456789abcdefghijklmnop';

describe('where a secret comes from', () => {
  test('a variable, or a file that the variable with _FILE names, without its surrounding white space', () => {
    const files = {
      '/run/secrets/db': `\n  ${DATABASE}\n`,
      '/srv/admin.key': ADMIN_KEY,
      '/run/openai': PROVIDER_KEY,
    };
    const env = {
      KEYGATE_DATABASE_URL_FILE: '/run/secrets/db',
      KEYGATE_BOOTSTRAP_ADMIN_KEY_FILE: 'admin.key',
      OPENAI_API_KEY_FILE: '/run/openai',
    };
    const { config, origins } = load({ files, env });
    expect(config.databaseUrl?.reveal()).toBe(DATABASE);
    expect(config.bootstrapAdminKey?.reveal()).toBe(ADMIN_KEY);
    expect(config.providers[0]?.credential?.reveal()).toBe(PROVIDER_KEY);
    expect(origins.databaseUrl).toBe('KEYGATE_DATABASE_URL_FILE');
  });

  test('in the file only a reference, env:NAME or file:path, the path counting from the file', () => {
    const yaml = `
      database_url: env:DB
      bootstrap_admin_key: file:secrets/admin
      providers:
        one: {base_url: "https://one.example/v1", credential: "file:/run/one", models: ["*"]}
    `;
    const files = { '/srv/secrets/admin': ADMIN_KEY, '/run/one': PROVIDER_KEY };
    const { config } = load({ yaml, files, env: { DB: DATABASE } });
    expect(config.databaseUrl?.reveal()).toBe(DATABASE);
    expect(config.bootstrapAdminKey?.reveal()).toBe(ADMIN_KEY);
    expect(config.providers[0]?.credential?.reveal()).toBe(PROVIDER_KEY);
  });
});

const one = (credential: string): string =>
  `providers: {one: {base_url: "https://one.example/v1", credential: ${JSON.stringify(credential)}}}`;

test('another keygate can be a provider, with a key that it issued', () => {
  const key = mintKey('project');
  expect(load({ yaml: one('env:K'), env: { K: key } }).config.providers[0]?.credential?.reveal()).toBe(key);
});

describe('a secret that cannot be used', () => {
  const cases: [what: string, given: Given, said: string | RegExp][] = [
    ['an empty variable', { env: { KEYGATE_DATABASE_URL: '' } }, /^KEYGATE_DATABASE_URL is empty/],
    ['an empty OPENAI_API_KEY', { env: { OPENAI_API_KEY: ' ' } }, /^OPENAI_API_KEY is empty/],
    [
      'an empty file',
      { env: { KEYGATE_BOOTSTRAP_ADMIN_KEY_FILE: '/e' }, files: { '/e': '\n' } },
      /^KEYGATE_BOOTSTRAP_ADMIN_KEY_FILE names the file "\/e", which is empty/,
    ],
    [
      'a file that is not there',
      { env: { OPENAI_API_KEY_FILE: '/no' } },
      'OPENAI_API_KEY_FILE names a file that does not exist: "/no".',
    ],
    [
      'two places at once',
      { env: { KEYGATE_DATABASE_URL: DATABASE, KEYGATE_DATABASE_URL_FILE: '/f' } },
      'KEYGATE_DATABASE_URL and KEYGATE_DATABASE_URL_FILE are both set: unset one of them.',
    ],
    [
      'a line break inside',
      { env: { OPENAI_API_KEY: 'a\r\nb' } },
      /^OPENAI_API_KEY holds spaces, line breaks or other characters/,
    ],
    [
      'another kind of database',
      { env: { KEYGATE_DATABASE_URL: 'mysql://u:p@h/d' } },
      /^KEYGATE_DATABASE_URL must lead to a PostgreSQL address/,
    ],
    [
      'a first admin key that is another kind of key',
      { env: { KEYGATE_BOOTSTRAP_ADMIN_KEY: mintKey('project') } },
      /must lead to an admin key, .*; it is a project key\.$/,
    ],
    [
      'a first admin key with a wrong character',
      { env: { KEYGATE_BOOTSTRAP_ADMIN_KEY: ADMIN_KEY.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')) } },
      /it is a key with a wrong character in it: copy it again\.$/,
    ],
    [
      'a first admin key of one’s own invention',
      { env: { KEYGATE_BOOTSTRAP_ADMIN_KEY: 'hunter2' } },
      /it is no key of keygate's format\.$/,
    ],
    [
      'a reference to a variable that is not set',
      { yaml: one('env:NOPE') },
      'In keygate.yaml, providers.one.credential names the variable NOPE, which is not set: set it, or name another.',
    ],
    [
      'a reference to an empty variable',
      { yaml: one('env:E'), env: { E: '' } },
      /names the variable E, which is empty/,
    ],
    [
      'a plain-text credential',
      { yaml: one(PROVIDER_KEY) },
      /credential must be a reference, env:NAME or file:\/path/,
    ],
    ['an empty credential', { yaml: one('') }, /credential must be a reference/],
    [
      'a plain-text database address',
      { yaml: `database_url: ${DATABASE}` },
      /database_url must be a reference/,
    ],
    [
      'a key of this gateway for OpenAI',
      {
        yaml: 'providers: {one: {base_url: "https://api.openai.com/v1", credential: "env:K"}}',
        env: { K: mintKey('project') },
      },
      /providers\.one\.credential leads to a key that a keygate issued/,
    ],
  ];

  test.each(cases)('%s is refused, never taken for none', (_, given, said) => {
    const message = refusal(given);
    if (typeof said === 'string') expect(message).toBe(said);
    else expect(message).toMatch(said);
  });
});

describe('secrets are never shown', () => {
  const env = {
    KEYGATE_DATABASE_URL: DATABASE,
    KEYGATE_REDIS_URL: 'redis://:r3d1sp4ss@cache',
    KEYGATE_BOOTSTRAP_ADMIN_KEY: ADMIN_KEY,
    OPENAI_API_KEY: PROVIDER_KEY,
  };

  test('not by JSON.stringify, util.inspect, string conversion, nor by the description of the configuration', () => {
    const loaded = load({ env });
    const { databaseUrl } = loaded.config;
    const everything = [
      JSON.stringify(loaded),
      inspect(loaded, { depth: null, showHidden: true, getters: true }),
      format('%s %j %o %O', databaseUrl, loaded, loaded, loaded),
      `${databaseUrl} ${Object.values(databaseUrl ?? {})} ${JSON.stringify(describeConfig(loaded))}`,
    ].join('\n');
    for (const secret of [DATABASE, 'p4ssw0rd', 'r3d1sp4ss', ADMIN_KEY, PROVIDER_KEY])
      expect(everything).not.toContain(secret);
    expect(describeConfig(loaded).settings).toContainEqual({
      setting: 'database_url',
      value: '[redacted]',
      from: 'KEYGATE_DATABASE_URL',
    });
  });

  test('nor by an error, wherever in the file or the environment a secret was put by mistake', () => {
    const secret = 'sk-live-Zx81kQpTw0aBcD93';
    const misplaced: Given[] = [
      { yaml: `port: ${secret}` },
      { yaml: `${secret}: 1` },
      { yaml: `providers: {${secret}: {}}` },
      { yaml: `providers: {one: {${secret}: 1}}` },
      { yaml: `providers: {one: ${secret}}` },
      { yaml: one(secret) },
      { yaml: `providers: {one: {base_url: "https://u:${secret}@h", credential: none}}` },
      { yaml: `providers: {one: {base_url: "ftp://h/?k=${secret}", credential: none}}` },
      {
        yaml: `providers: {one: {base_url: "https://h", credential: none, headers: {Authorization: ${secret}}}}`,
      },
      { yaml: `providers: {one: {base_url: "https://h", credential: none, headers: {X-Key: ${secret}}}}` },
      { yaml: `models: {fast: ${secret}}` },
      { yaml: `limits: {${secret}: 1}` },
      { yaml: `limits: {tiers: ${secret}}` },
      { yaml: `limits: {projects: {${secret}: {}, p: {${secret}: {}}}}` },
      { yaml: `limits: {charge: ${secret}}` },
      { yaml: `models: {fast: ${secret}/x}` },
      { yaml: `port: *${secret}` },
      { yaml: `port: !${secret} 1` },
      { yaml: `port: "${secret}` },
      { yaml: `- ${secret}\n${secret}: [` },
      { env: { KEYGATE_PORT: secret } },
      { env: { KEYGATE_LOG_LEVEL: secret } },
      { env: { KEYGATE_TRUSTED_PROXIES: secret } },
      { env: { KEYGATE_DATABASE_URL: secret } },
      { env: { KEYGATE_BOOTSTRAP_ADMIN_KEY: secret } },
      { env: { OPENAI_API_KEY: `${secret} ${secret}` } },
    ];
    for (const given of misplaced) expect(refusal(given)).not.toContain('Zx81kQ');
  });
});

describe('OPENAI_API_KEY in the server’s environment', () => {
  test('makes OpenAI the provider of every model when the file names none', () => {
    const { config, notices } = load({ env: { OPENAI_API_KEY: PROVIDER_KEY } });
    expect(config.providers).toHaveLength(1);
    expect(config.providers[0]).toMatchObject({
      name: 'openai',
      auth: 'bearer',
      models: ['*'],
      allowPrivate: false,
    });
    expect(config.providers[0]?.baseUrl.href).toBe('https://api.openai.com/v1');
    expect(notices).toEqual([]);
  });

  test('is ignored with a notice when it is a key for clients of a keygate, whole or damaged', () => {
    for (const key of [mintKey('project'), mintKey('test'), mintKey('admin').slice(0, -3)]) {
      const { config, notices } = load({ env: { OPENAI_API_KEY: key } });
      expect(config.providers).toEqual([]);
      expect(notices).toEqual([expect.stringMatching(/^OPENAI_API_KEY holds a key that a keygate issued/)]);
      expect(notices.join()).not.toContain(key);
    }
  });

  test('never goes to the address in OPENAI_BASE_URL, which is for clients', () => {
    const { config, notices } = load({
      env: { OPENAI_API_KEY: PROVIDER_KEY, OPENAI_BASE_URL: 'http://127.0.0.1:4141/v1' },
    });
    expect(config.providers[0]?.baseUrl.href).toBe('https://api.openai.com/v1');
    expect(notices).toEqual([expect.stringMatching(/^OPENAI_BASE_URL is for clients/)]);
  });

  test('is not read when the file speaks of providers, even to say that there are none', () => {
    const env = { OPENAI_API_KEY: PROVIDER_KEY };
    expect(load({ env, yaml: 'providers: {}' }).config.providers).toEqual([]);
    const yaml =
      'providers: {local: {base_url: "http://127.0.0.1:1/v1", credential: none, allow_private: true}}';
    expect(load({ env, yaml }).config.providers.map((provider) => provider.name)).toEqual(['local']);
  });
});
