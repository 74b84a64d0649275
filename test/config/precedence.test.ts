import { describe, expect, test } from 'vitest';
import { SETTINGS, type SettingName } from '../../src/config/settings.ts';
import { mintKey } from '../../src/keys/format.ts';
import { load, refusal } from './loading.ts';

const WHSEC = `whsec_${'A'.repeat(44)}`;
const ADMIN_KEY = mintKey('admin');

const ROOT_KEY = 'bm90IGEgcm9vdCBrZXkgb2YgYW55IHNlcnZlciEhMTI=';

describe('where a setting comes from', () => {
  test('nothing set: the documented defaults, which need no file and no variable', () => {
    const { config, notices } = load();
    expect(config).toMatchObject({
      host: '127.0.0.1',
      port: 4141,
      admin: null,
      dataDir: '/srv/.keygate',
      databaseUrl: null,
      bootstrapAdminKey: null,
      trustedProxies: [],
      providers: [],
      models: [],
      logLevel: 'info',
      node: 'box',
    });
    expect(config.bounds).toEqual({
      headerBytes: 65_536,
      bodyBytes: 33_554_432,
      uploadBytes: 536_870_912,
      jsonDepth: 128,
      idleMs: 60_000,
      providerIdleMs: 600_000,
      totalMs: 1_800_000,
      connectMs: 10_000,
      inFlight: 4096,
      unrecordedEvents: 100_000,
      drainMs: 30_000,
    });
    expect(notices).toEqual([]);
  });

  test('the command line wins over the environment, that over the file, that over the default', () => {
    const yaml = 'port: 1001\nhost: ::1\nlog_level: warn';
    const env = { KEYGATE_PORT: '1002', KEYGATE_HOST: 'localhost' };
    const loaded = load({ yaml, env, flags: { port: '1003' } });
    expect(loaded.config).toMatchObject({ port: 1003, host: 'localhost', logLevel: 'warn', node: 'box' });
    expect(loaded.origins).toMatchObject({
      port: '--port',
      host: 'KEYGATE_HOST',
      logLevel: 'keygate.yaml',
      node: 'default',
    });
    expect(load({ yaml, env }).config.port).toBe(1002);
    expect(load({ yaml }).config.port).toBe(1001);
  });

  test('every setting can be given in the environment and in the file, with the same result', () => {
    const values: Record<SettingName, [text: string, file: string]> = {
      host: ['0.0.0.0', '0.0.0.0'],
      port: ['5000', '5000'],
      adminHost: ['::1', '"::1"'],
      adminPort: ['5001', '5001'],
      data: ['/var/lib/keygate', '/var/lib/keygate'],
      databaseUrl: ['postgres://u:p@db/keygate', 'env:DB'],
      redisUrl: ['rediss://u:p@cache:6380/2', 'env:CACHE'],
      bootstrapAdminKey: [ADMIN_KEY, 'file:/run/admin'],
      rootKey: [ROOT_KEY, 'env:ROOT'],
      previousRootKey: [ROOT_KEY, 'file:/run/root'],
      secretsRefreshMs: ['600s', '10m'],
      keyLifetimeMs: ['30s', '30000ms'],
      trustedProxies: ['10.1.2.3/8, ::1', '[10.0.0.0/8, "::1/128"]'],
      outgoingAllowPrivate: ['10.1.2.3/8, Vault.internal', '[10.0.0.0/8, vault.internal]'],
      tlsCert: ['/run/tls/cert.pem', '/run/tls/cert.pem'],
      tlsKey: ['/run/tls/key.pem', '/run/tls/key.pem'],
      publicUrl: ['https://keygate.example.com/', 'https://keygate.example.com'],
      dpopNonce: ['on', '"on"'],
      signInIssuer: ['https://login.example.com/t', 'https://login.example.com/t'],
      signInClientId: ['keygate', 'keygate'],
      signInClientSecret: ['shh', 'env:SHH'],
      sessionLifetimeMs: ['1h', '60m'],
      accessTokenLifetimeMs: ['15m', '900s'],
      auditSyslog: ['tls://logs:6514', 'tls://logs:6514'],
      auditWebhookUrl: ['https://siem/x', 'env:SIEM'],
      auditWebhookSecret: [WHSEC, 'env:WHSEC'],
      auditRetentionMs: ['365d', '8760h'],
      smtpUrl: ['smtp://u:p@mail:587', 'env:MAIL'],
      smtpFrom: ['keygate <k@example.com>', 'keygate <k@example.com>'],
      smtpStartTls: ['optional', 'optional'],
      whenRedisIsAway: ['open', 'open'],
      redisTimeoutMs: ['1s', '1000ms'],
      account: ['postpaid', 'postpaid'],
      batchConcurrency: ['16', '16'],
      batchesRunning: ['2', '2'],
      unpriced: ['count', 'count'],
      replyTokens: ['4096', '4096'],
      unboundedReplies: ['stop', 'stop'],
      stopModels: ['Local-*, other', '[local-*, other]'],
      usageRetentionMs: ['720h', '30d'],
      prompts: ['on', 'on'],
      promptsRedact: ['personal', 'personal'],
      promptsBytes: ['64MB', '67108864'],
      promptsMs: ['48h', '2d'],
      logLevel: ['debug', 'debug'],
      node: ['node-1', 'node-1'],
      headerBytes: ['32KB', '32768'],
      bodyBytes: ['64mb', '64 MiB'],
      uploadBytes: ['1.5G', '1536MB'],
      jsonDepth: ['64', '64'],
      idleMs: ['90s', '1.5m'],
      providerIdleMs: ['120s', '2m'],
      totalMs: ['1h', '60min'],
      connectMs: ['250ms', '0.25s'],
      inFlight: ['100', '100'],
      unrecordedEvents: ['5000', '5000'],
      drainMs: ['0s', '0s'],
    };
    const env: Record<string, string> = {};
    const groups: Record<string, string[]> = {};
    const lines: string[] = [];
    for (const [name, row] of Object.entries(SETTINGS)) {
      const [text, file] = values[name as SettingName];
      env[row.env] = text;
      const [group = '', leaf] = row.path.split('.');
      if (leaf === undefined) lines.push(`${row.path}: ${file}`);
      else {
        groups[group] ??= [];
        groups[group].push(`  ${leaf}: ${file}`);
      }
    }
    for (const [group, inside] of Object.entries(groups)) lines.push(`${group}:`, ...inside);
    const byEnvironment = load({ env });
    const byFile = load({
      yaml: lines.join('\n'),
      env: {
        DB: 'postgres://u:p@db/keygate',
        CACHE: 'rediss://u:p@cache:6380/2',
        MAIL: 'smtp://u:p@mail:587',
        SIEM: 'https://siem/x',
        WHSEC,
        ROOT: ROOT_KEY,
        SHH: 'shh',
      },
      files: { '/run/admin': `${ADMIN_KEY}\n`, '/run/root': ROOT_KEY },
    });
    expect(byFile.config).toEqual(byEnvironment.config);
    expect(byFile.config.databaseUrl?.reveal()).toBe('postgres://u:p@db/keygate');
    expect(byFile.config.secrets.rootKey?.reveal()).toBe(ROOT_KEY);
    expect(byFile.config.redisUrl?.reveal()).toBe('rediss://u:p@cache:6380/2');
    expect(byFile.config.bootstrapAdminKey?.reveal()).toBe(ADMIN_KEY);
    expect(byFile.config.trustedProxies).toEqual(['10.0.0.0/8', '::1/128']);
    expect(byFile.config.bounds).toMatchObject({ uploadBytes: 1_610_612_736, idleMs: 90_000, drainMs: 0 });
    expect(Object.values(byEnvironment.origins)).toEqual(Object.values(SETTINGS).map((row) => row.env));
  });

  test('--config names the file, else KEYGATE_CONFIG; a file that was named must be there', () => {
    const files = { '/etc/a.yaml': 'port: 1', '/srv/b.yaml': 'port: 2' };
    const env = { KEYGATE_CONFIG: 'b.yaml' };
    expect(load({ files, env }).config.port).toBe(2);
    expect(load({ files, env, config: '/etc/a.yaml' }).config.port).toBe(1);
    expect(refusal({ env })).toBe('KEYGATE_CONFIG names a file that does not exist: "b.yaml".');
    expect(refusal({ config: 'c.yaml' })).toBe('--config names a file that does not exist: "c.yaml".');
    expect(refusal({ config: ' ' })).toMatch(/^--config is empty/);
  });

  test('a relative path counts from the working directory, and one in the file from the file', () => {
    const files = { '/etc/keygate/a.yaml': 'data: ./data' };
    expect(load({ files, config: '/etc/keygate/a.yaml' }).config.dataDir).toBe('/etc/keygate/data');
    expect(load({ env: { KEYGATE_DATA: 'data' } }).config.dataDir).toBe('/srv/data');
    expect(load({ files, config: '/etc/keygate/a.yaml', flags: { data: 'd' } }).config.dataDir).toBe(
      '/srv/d',
    );
  });

  test('an empty file, or one of comments and empty groups, changes nothing', () => {
    const { config } = load();
    for (const yaml of ['', '# nothing\n', 'providers:\nmodels:\nbounds:\nadmin:\n', '{}']) {
      expect(load({ yaml }).config).toEqual(config);
    }
  });

  test('nothing of the configuration can be changed after it was loaded', () => {
    const { config } = load({ env: { OPENAI_API_KEY: 'sk-provider' }, yaml: 'models: {fast: openai/small}' });
    const frozen = (value: unknown): boolean =>
      value === null ||
      typeof value !== 'object' ||
      (Object.isFrozen(value) && Object.values(value).every(frozen));
    expect(frozen(config)).toBe(true);
    const url = config.providers[0]?.baseUrl;
    expect(() => {
      if (url) url.href = 'https://elsewhere.example';
    }).toThrow(TypeError);
    expect(url?.href).toBe('https://api.openai.com/v1');
  });
});

describe('a value that is not allowed', () => {
  test.each([
    ['KEYGATE_PORT', 'abc', 'a port number from 0 to 65535'],
    ['KEYGATE_PORT', '65536', 'a port number from 0 to 65535'],
    ['KEYGATE_PORT', '', 'it is an empty text'],
    ['KEYGATE_HOST', '1.2.3.400', 'an IP address or a host name'],
    ['KEYGATE_HOST', 'http://x', 'an IP address or a host name'],
    ['KEYGATE_IDLE_TIMEOUT', '60', 'a time with its unit from 1s to 1h'],
    ['KEYGATE_IDLE_TIMEOUT', '2h', 'a time with its unit from 1s to 1h'],
    ['KEYGATE_MAX_BODY_BYTES', '32 apples', 'a size from 1KB to 1GB'],
    ['KEYGATE_MAX_BODY_BYTES', '-1', 'a size from 1KB to 1GB'],
    ['KEYGATE_MAX_IN_FLIGHT', '1e3', 'a whole number from 1 to 1000000'],
    ['KEYGATE_LOG_LEVEL', 'verbose', 'one of fatal, error, warn, info and debug'],
    ['KEYGATE_TRUSTED_PROXIES', '10.0.0.0/40', 'addresses or CIDR ranges'],
    ['KEYGATE_NODE', 'a b', 'a name of 1 to 63 letters'],
  ])('%s=%s is refused by name, with what is allowed', (name, text, allowed) => {
    const said = refusal({ env: { [name]: text } });
    expect(said.startsWith(`${name} must be `)).toBe(true);
    expect(said).toContain(allowed);
  });

  test('in the file it is named by its path, on the command line by its option', () => {
    expect(refusal({ yaml: 'bounds: {max_json_depth: 0}' })).toBe(
      'In keygate.yaml, bounds.max_json_depth must be a whole number from 1 to 1000; it is "0".',
    );
    expect(refusal({ flags: { port: 'x' } })).toMatch(/^--port must be a port number/);
  });

  test('everything that is wrong is told at once, a sentence a line', () => {
    const said = refusal({ yaml: 'port: x', env: { KEYGATE_NODE: '/', KEYGATE_IDLE_TIMEOUT: '1' } });
    expect(said.split('\n')).toHaveLength(3);
  });

  test('an unknown key of the file is refused, with what was probably meant', () => {
    expect(refusal({ yaml: 'prot: 1' })).toBe('keygate.yaml has no setting "prot" (did you mean port?).');
    expect(refusal({ yaml: 'bounds: {idle_time: 1s}' })).toBe(
      'In keygate.yaml, bounds has no setting "idle_time" (did you mean idle_timeout?).',
    );
    expect(refusal({ yaml: 'zzzzzz: 1' })).toContain('; known are host, port,');
    expect(refusal({ yaml: '__proto__: {port: 1}' })).toContain('has a key __proto__');
  });

  test('YAML that cannot be read is told by line and column', () => {
    expect(refusal({ yaml: 'host: ::1\nport: [1\n' })).toMatch(
      /^keygate\.yaml is not valid YAML at line 3, /,
    );
    expect(refusal({ yaml: 'port: 1\nport: 2' })).toMatch(/at line 2, column 1: duplicate key\.$/);
    expect(refusal({ yaml: '- 1' })).toBe('keygate.yaml must be a group of settings.');
  });

  test('an administration address without its port, or on the API’s port, is refused', () => {
    expect(refusal({ env: { KEYGATE_ADMIN_HOST: '::1' } })).toContain('without admin.port');
    expect(refusal({ env: { KEYGATE_ADMIN_PORT: '4141' } })).toContain(
      'give the administration another port',
    );
    expect(load({ env: { KEYGATE_ADMIN_PORT: '0' } }).config.admin).toEqual({ host: '127.0.0.1', port: 0 });
  });
});

describe('what an administrator is told unasked', () => {
  test('listening beyond this machine without TLS, and with administration on the same address', () => {
    const { notices } = load({ env: { KEYGATE_HOST: '0.0.0.0' } });
    expect(notices.join('\n')).toMatch(/without TLS[\s\S]*KEYGATE_ADMIN_PORT/);
    expect(load({ env: { KEYGATE_HOST: '0.0.0.0', KEYGATE_ADMIN_PORT: '4142' } }).notices).toHaveLength(1);
  });

  test('a misspelt variable, because it has no effect', () => {
    const { notices } = load({
      env: { KEYGATE_MAX_BODY_BYTE: '1', KEYGATE_OPENAI_KEY: 'x', KEYGATE_ENGINE: 'y' },
    });
    expect(notices).toEqual([
      'KEYGATE_MAX_BODY_BYTE is no setting of keygate and has no effect (did you mean KEYGATE_MAX_BODY_BYTES?).',
    ]);
  });

  test('the variables that Kubernetes sets for a service called keygate are no settings', () => {
    const env = {
      KEYGATE_PORT: 'tcp://10.0.0.7:4141',
      KEYGATE_PORT_4141_TCP: 'tcp://10.0.0.7:4141',
      KEYGATE_SERVICE_HOST: '10.0.0.7',
    };
    const { config, notices, origins } = load({ env });
    expect(config.port).toBe(4141);
    expect(origins.port).toBe('default');
    expect(notices).toEqual([expect.stringContaining('enableServiceLinks: false')]);
  });

  test('a trusted proxy range that holds everybody', () => {
    expect(load({ env: { KEYGATE_TRUSTED_PROXIES: '0.0.0.0/0' } }).notices.join()).toContain('everybody');
  });
});
