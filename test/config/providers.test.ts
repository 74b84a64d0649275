import { describe, expect, test } from 'vitest';
import { load, refusal } from './loading.ts';

const env = { KEY: 'provider-secret' };

function provider(lines: Record<string, unknown>): string {
  return JSON.stringify({ providers: { one: { credential: 'env:KEY', ...lines } } });
}

describe('a provider', () => {
  test('needs only its address and its credential; the rest has defaults', () => {
    const { config } = load({ env, yaml: provider({ base_url: 'https://api.one.example/v1/' }) });
    expect(config.providers).toEqual([
      {
        name: 'one',
        baseUrl: expect.objectContaining({ href: 'https://api.one.example/v1' }),
        credential: expect.anything(),
        credentialFrom: null,
        auth: 'bearer',
        headers: {},
        models: [],
        priority: 0,
        connections: 1024,
        allowPrivate: false,
        environments: null,
      },
    ]);
    expect(config.providers[0]?.credential?.reveal()).toBe('provider-secret');
  });

  test('keeps everything that the file says of it', () => {
    const said = {
      base_url: 'http://[::1]:8000/v1',
      auth: 'api-key',
      headers: { 'OpenAI-Organization': 'org-1' },
      models: ['gpt-*', 'o3'],
      priority: 2,
      connections: 8,
      allow_private: true,
    };
    expect(load({ env, yaml: provider(said) }).config.providers[0]).toMatchObject({
      auth: 'api-key',
      headers: { 'OpenAI-Organization': 'org-1' },
      models: ['gpt-*', 'o3'],
      priority: 2,
      connections: 8,
      allowPrivate: true,
    });
  });

  test('says none when it wants no credential; leaving it out is refused', () => {
    const local = { base_url: 'http://localhost:11434/v1', allow_private: true };
    expect(load({ yaml: provider({ ...local, credential: 'none' }) }).config.providers[0]).toMatchObject({
      credential: null,
      auth: 'none',
    });
    expect(refusal({ yaml: provider({ ...local, credential: null }) })).toContain(
      'providers.one.credential is missing: give env:NAME, file:/path, or none',
    );
    expect(refusal({ yaml: provider({ ...local, credential: 'none', auth: 'bearer' }) })).toContain(
      'auth is bearer',
    );
    expect(refusal({ env, yaml: provider({ ...local, auth: 'none' }) })).toContain('auth is none');
  });

  test.each([
    ['https://api.example.com/v1', false],
    ['https://8.8.8.8/v1', false],
    ['http://127.0.0.1:8000/v1', true],
    ['http://2130706433/v1', true],
    ['http://[::ffff:10.0.0.1]/v1', true],
    ['http://192.168.1.10:11434/v1', true],
    ['http://localhost:11434/v1', true],
    ['http://ollama:11434/v1', true],
    ['http://vllm.models.svc.cluster.local/v1', true],
    ['http://gpu.home.arpa/v1', true],
    ['https://10.0.0.1/v1', true],
    ['https://169.254.169.254/v1', true],
  ])(
    'its address %s may be used (private: %s), a private one only with allow_private',
    (base_url, isPrivate) => {
      expect(load({ env, yaml: provider({ base_url, allow_private: true }) }).config.providers).toHaveLength(
        1,
      );
      if (isPrivate)
        expect(refusal({ env, yaml: provider({ base_url }) })).toContain('add allow_private: true');
      else expect(load({ env, yaml: provider({ base_url }) }).config.providers).toHaveLength(1);
    },
  );

  test.each([
    ['http://api.example.com/v1', 'must begin with https://'],
    ['http://8.8.8.8/v1', 'must begin with https://'],
    ['http://localhost.example.com/v1', 'must begin with https://'],
    ['ftp://example.com/v1', 'must be an address that begins with https:// or http://'],
    ['api.example.com/v1', 'must be an address that begins with https:// or http://'],
    ['https://user:pw@example.com/v1', 'must not hold a user or a password'],
    ['https://example.com/v1?key=1', 'must not hold a query'],
    ['https://example.com/v1#x', 'must not hold a query'],
  ])('its address %s is refused even with allow_private', (base_url, said) => {
    expect(refusal({ env, yaml: provider({ base_url, allow_private: true }) })).toContain(
      `In keygate.yaml, providers.one.base_url ${said}`,
    );
  });

  test.each([
    [{ headers: { Authorization: 'x' } }, 'headers.Authorization cannot be set here'],
    [{ headers: { 'Transfer-Encoding': 'chunked' } }, 'headers.Transfer-Encoding cannot be set here'],
    [{ headers: { 'X-A': 'a\r\nb' } }, 'headers.X-A must be one line'],
    [{ headers: { 'X A': 'a' } }, 'is no header'],
    [{ headers: { 'X-Token': 'Bearer abc' } }, 'headers.X-Token holds a credential'],
    [{ models: ['a*b'] }, 'a * only at its end'],
    [{ models: 'gpt-5' }, 'providers.one.models must be a list of texts'],
    [{ connections: 0 }, 'providers.one.connections must be at least 1'],
    [{ auth: 'basic' }, 'providers.one.auth must be one of bearer, x-api-key, api-key and none'],
    [{ allow_private: 'yes' }, 'providers.one.allow_private must be true or false'],
    [{ modls: [] }, 'providers.one has no setting "modls" (did you mean models?)'],
  ])('%j is refused by its place', (lines, said) => {
    expect(refusal({ env, yaml: provider({ base_url: 'https://one.example/v1', ...lines }) })).toContain(
      said,
    );
  });

  test('cannot take the sandbox’s name, nor one that could not stand before a slash', () => {
    const named = (name: string) =>
      refusal({ yaml: `providers: {"${name}": {base_url: "https://h", credential: none}}` });
    expect(named('sandbox')).toContain('sandbox is the provider inside keygate');
    expect(named('a/b')).toContain("is no provider's name");
  });
});

describe('a model of the administrator’s own', () => {
  const providers = 'providers: {one: {base_url: "https://one.example/v1", credential: "env:KEY"}}\n';
  const models = (text: string) => load({ env, yaml: `${providers}models: ${text}` }).config.models;

  test('is one target or several, short or long, with weights and priorities', () => {
    expect(models('{fast: one/vendor/small}')).toEqual([
      {
        name: 'fast',
        environments: null,
        targets: [{ provider: 'one', model: 'vendor/small', weight: 1, priority: 0 }],
      },
    ]);
    expect(models('{fast: [one/a, {provider: one, weight: 3, priority: 1}]}')).toEqual([
      {
        name: 'fast',
        environments: null,
        targets: [
          { provider: 'one', model: 'a', weight: 1, priority: 0 },
          { provider: 'one', model: 'fast', weight: 3, priority: 1 },
        ],
      },
    ]);
  });

  test('may lead to OpenAI when its key is in the environment and the file names no provider', () => {
    const { config } = load({ env: { OPENAI_API_KEY: 'provider' }, yaml: 'models: {fast: openai/small}' });
    expect(config.models[0]?.targets[0]).toMatchObject({ provider: 'openai', model: 'small' });
  });

  test.each([
    ['{fast: small}', 'models.fast.0 must be "provider/model"'],
    ['{fast: []}', 'models.fast must name at least one target'],
    ['{fast: on/small}', 'names the provider "on", which is not there (did you mean one?)'],
    ['{fast: sandbox/sandbox-small}', 'names the provider "sandbox", which is not there'],
    ['{fast: {provider: one, weight: 0}}', 'models.fast.0.weight must be at least 1'],
    ['{fast: {provider: one, wieght: 2}}', 'has no setting "wieght" (did you mean weight?)'],
    ['{"fa*": one/small}', "is no model's name"],
    ['{sandbox-small: one/small}', "names that begin with sandbox- are the sandbox's own models"],
    ['{fast: one/sm*}', 'asks for the model "sm*"'],
  ])('%s is refused by its place', (text, said) => {
    expect(refusal({ env, yaml: `${providers}models: ${text}` })).toContain(said);
  });
});
