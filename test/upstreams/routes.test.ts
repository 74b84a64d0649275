import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { isPublic } from '../../src/platform/addresses.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import { providerLookup } from '../../src/upstreams/addresses.ts';
import { nextTarget, type Route, Routes } from '../../src/upstreams/routes.ts';
import { sandboxUpstream } from '../../src/upstreams/sandbox-upstream.ts';

const YAML = `
providers:
  a: {base_url: "https://a.example/v1", credential: none, models: ["gpt-*", "exact"], priority: 1}
  b: {base_url: "https://b.example/v1", credential: none, models: ["*"], priority: 2}
models:
  own: [{provider: a, model: x, weight: 3}, {provider: b, model: y, weight: 1}]
`;

function routes(yaml: string = YAML): Routes {
  const clock = new ManualClock();
  const { config } = loadConfig({
    env: { KEYGATE_CONFIG: 'k.yaml' },
    readFile: () => yaml,
    cwd: '/',
    hostname: 'test',
  });
  return new Routes(config, sandboxUpstream(config.bounds, clock), clock);
}

const serving = (route: Route | undefined): string[] =>
  route?.targets.map((target) => `${target.provider.name}/${target.model}`) ?? [];

describe('which provider serves a model', () => {
  it('is said by the administrator’s names first, then by the providers’ patterns; the sandbox has its own', () => {
    const all = routes();
    expect(serving(all.find('own', false))).toEqual(['a/x', 'b/y']);
    expect(serving(all.find('gpt-9', false))).toEqual(['a/gpt-9', 'b/gpt-9']);
    expect(serving(all.find('other', false))).toEqual(['b/other']);
    expect(serving(all.find('sandbox-small', false))).toEqual(['sandbox/sandbox-small']);
    expect(serving(all.find('sandbox-small:429', false))).toEqual(['sandbox/sandbox-small:429']);
    all.close();
  });

  it('is the sandbox for a test key, whatever it names', () => {
    const all = routes();
    for (const model of ['own', 'gpt-9', 'sandbox-small'])
      expect(serving(all.find(model, true))).toEqual([`sandbox/${model}`]);
    expect(all.listing(true).every((model) => model.id.startsWith('sandbox-'))).toBe(true);
    all.close();
  });

  it('is nobody where nothing serves it', () => {
    const all = routes('providers: {}\n');
    expect(all.find('gpt-9', false)).toBeUndefined();
    all.close();
  });

  it('is drawn by weight among equals, then falls back to the others', () => {
    const all = routes();
    const route = all.find('own', false);
    if (route === undefined) throw new Error('no route');
    const drawn = { a: 0, b: 0 };
    for (let i = 0; i < 400; i++) drawn[nextTarget(route, [], i / 400)?.provider.name === 'a' ? 'a' : 'b']++;
    expect(drawn).toEqual({ a: 300, b: 100 });
    const first = nextTarget(route, [], 0);
    const second = nextTarget(route, first ? [first] : [], 0.99);
    expect([first?.provider.name, second?.provider.name]).toEqual(['a', 'b']);
    expect(nextTarget(route, [...route.targets], 0)).toBeUndefined();
    all.close();
  });

  it('passes over a provider that failed several times in a row, while there is another', () => {
    const all = routes();
    const route = all.find('gpt-9', false);
    const a = all.providers.get('a');
    if (route === undefined || a === undefined) throw new Error('no route');
    for (let i = 0; i < 5; i++) a.fell();
    expect(nextTarget(route, [], 0)?.provider.name).toBe('b');
    a.succeeded();
    all.close();
  });
});

describe('outgoing addresses', () => {
  it('are public ones, unless the administrator allows others', async () => {
    for (const address of [
      '127.0.0.1',
      '10.0.0.1',
      '169.254.169.254',
      '::1',
      'fd00::1',
      '::ffff:10.0.0.1',
      '0.0.0.0',
      '100.64.0.1',
      '192.168.1.1',
      '224.0.0.1',
      'nonsense',
    ]) {
      expect(isPublic(address), address).toBe(false);
    }
    for (const address of ['1.1.1.1', '2606:4700::1111']) expect(isPublic(address), address).toBe(true);
    const look = (allow: boolean) =>
      new Promise((resolve) =>
        providerLookup(allow)('localhost', { all: true }, (error, found) => resolve(error?.code ?? found)),
      );
    expect(await look(false)).toBe('EADDRPRIVATE');
    expect(await look(true)).toContainEqual({ address: '127.0.0.1', family: 4 });
    expect(() =>
      routes('providers: {x: {base_url: "https://10.0.0.1/v1", credential: none, models: ["*"]}}'),
    ).toThrow(/allow_private/);
  });
});
