import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { SETTINGS } from '../../src/config/settings.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts';
import { SetupError } from '../../src/platform/errors.ts';
import { load } from './loading.ts';

/** Nothing but a SetupError may come out of a start, and a configuration that comes out is within its bounds. */
function loadsOrRefuses(yaml: string, env: Record<string, string> = {}): void {
  try {
    const { config } = load({ yaml, env });
    expect(config.port).toSatisfy((port: number) => Number.isInteger(port) && port >= 0 && port <= 65_535);
    for (const bound of Object.values(config.bounds)) expect(bound).toSatisfy(Number.isSafeInteger);
    for (const provider of config.providers) expect(['https:', 'http:']).toContain(provider.baseUrl.protocol);
    const known = config.providers.map((provider) => provider.name);
    for (const model of config.models)
      for (const target of model.targets) expect(known).toContain(target.provider);
    expect(Object.isFrozen(config)).toBe(true);
  } catch (error) {
    expect(error).toBeInstanceOf(SetupError);
    expect((error as SetupError).message).toMatch(/^\S[\s\S]*\.$/);
  }
}

test('any text as keygate.yaml gives a configuration or a refusal in words, never a crash', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => loadsOrRefuses(text)));
  const pieces = [
    '&a ',
    '*a',
    '<<: ',
    '- ',
    '? ',
    ': ',
    '\n  ',
    '{',
    '}',
    '[',
    ']',
    '!!map ',
    '"',
    "'",
    '|\n',
    'port',
    '%',
    '---\n',
    '\t',
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 30 }), (some) =>
      loadsOrRefuses(some.join('')),
    ),
  );
});

test('any value at any known place gives a configuration or a refusal in words, never a crash', () => {
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom(
      'none',
      'env:KEY',
      'env:NOPE',
      'file:/x',
      'one/x',
      'https://h/v1',
      'http://localhost',
      '10.0.0.0/8',
      '30s',
      '1MB',
    ),
  );
  const group = (...keys: string[]) =>
    fc.oneof(
      { weight: 4, arbitrary: fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 5 }) },
      { weight: 1, arbitrary: value },
    );
  const leaves = Object.values(SETTINGS).map((row) => row.path.split('.'));
  const under = (name: string) => leaves.flatMap(([first, leaf]) => (first === name && leaf ? [leaf] : []));
  const document = fc.record(
    {
      providers: fc.dictionary(
        fc.constantFrom('one', 'two', 'Bad Name', 'constructor', 'toString'),
        group(
          'base_url',
          'credential',
          'auth',
          'headers',
          'models',
          'priority',
          'connections',
          'allow_private',
        ),
        { maxKeys: 3 },
      ),
      models: fc.dictionary(
        fc.constantFrom('fast', 'a*', 'constructor'),
        group('provider', 'model', 'weight', 'priority'),
      ),
      bounds: group(...under('bounds')),
      admin: group(...under('admin')),
      port: value,
      host: value,
      trusted_proxies: value,
      database_url: value,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(document, (tree) => loadsOrRefuses(stringify(tree), { KEY: 'secret' })),
    { numRuns: 400 },
  );
});

test('any text in any variable gives a configuration or a refusal in words, never a crash', () => {
  const names = Object.values(SETTINGS).flatMap((row) => [row.env, `${row.env}_FILE`]);
  const variables = fc.dictionary(
    fc.constantFrom(...names, 'OPENAI_API_KEY', 'KEYGATE_CONFIG'),
    fc.string(),
    { maxKeys: 4 },
  );
  fc.assert(fc.property(variables, (env) => loadsOrRefuses('', env)));
});

test('a bomb of aliases is refused in no time', () => {
  let yaml = 'a: &a [x, x, x, x, x, x, x, x, x]\n';
  for (const [name, before] of ['ba', 'cb', 'dc', 'ed', 'fe', 'gf', 'hg'].map(
    (pair) => [...pair] as [string, string],
  )) {
    yaml += `${name}: &${name} [${Array.from({ length: 9 }, () => `*${before}`).join(', ')}]\n`;
  }
  expect(() => load({ yaml })).toThrow(SetupError);
});

test('a size and a time are read back from how they are shown', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 40 }), (value) => {
      expect(parseSize(formatSize(value))).toBe(value);
      expect(parseDuration(formatDuration(value))).toBe(value);
    }),
  );
});
