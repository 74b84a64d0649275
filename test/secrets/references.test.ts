// References in keygate.yaml, what each leads to, and secrets that change while they are used.

import { describe, expect, it } from 'vitest';
import { CloudIdentity } from '../../src/clouds/identity.ts';
import { openClouds } from '../../src/clouds/open.ts';
import { ManualClock, systemClock } from '../../src/platform/clock.ts';
import { outgoing } from '../../src/platform/outgoing.ts';
import { LiveSecrets, STALE_MS } from '../../src/secrets/live.ts';
import { parseReference, type Reference, showReference } from '../../src/secrets/references.ts';
import { readRemote } from '../../src/secrets/remote.ts';
import { Secret } from '../../src/secrets/secret.ts';
import { SecretError, SecretGone } from '../../src/secrets/text.ts';
import { load, refusal } from '../config/loading.ts';
import { startClouds } from './clouds.ts';
import { testSeals } from './seals.ts';

describe('a reference', () => {
  it('is one of the documented forms, and is written back as it was read', () => {
    const forms = [
      'env:OPENAI_API_KEY',
      'file:/run/secrets/openai',
      'sealed:openai',
      'vault:secret/data/team/openai#api_key',
      'aws-sm:prod/openai',
      'aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/openai-AbCdEf#key',
      'gcp-sm:projects/acme/secrets/openai/versions/7#key',
    ];
    for (const form of forms) {
      const reference = parseReference(form);
      expect(reference, form).toBeDefined();
      if (reference !== undefined) expect(showReference(reference)).toBe(form);
    }
    expect(parseReference('gcp-sm:projects/acme/secrets/openai')).toMatchObject({
      version: 'projects/acme/secrets/openai/versions/latest',
    });
  });

  it('is nothing else: no secret, no way out of its place', () => {
    const wrong = [
      'sk-proj-0123456789',
      'env:',
      'env:A B',
      'sealed:../x',
      'sealed:UPPER',
      'vault:secret/data/openai',
      'vault:secret/../sys/seal#x',
      'vault:https://elsewhere/v1/x#y',
      'aws-sm:../../x',
      'gcp-sm:projects/acme/secrets/openai/../other',
      'gcp-sm:projects/acme/secrets/openai?alt=media',
      'http://elsewhere/secret',
    ];
    for (const text of wrong) expect(parseReference(text), text).toBeUndefined();
  });

  it('of a provider may lead anywhere, of what is needed at the start only to a variable or a file', () => {
    const provider = (credential: string) =>
      `providers: {one: {base_url: "https://one.example/v1", credential: "${credential}"}}`;
    for (const credential of [
      'sealed:openai',
      'vault:secret/data/x#y',
      'aws-sm:x',
      'gcp-sm:projects/p/secrets/s',
    ]) {
      const { config } = load({ yaml: provider(credential) });
      expect(config.providers[0]).toMatchObject({ credential: null, auth: 'bearer' });
      expect(config.providers[0]?.credentialFrom).toEqual(parseReference(credential));
    }
    expect(refusal({ yaml: 'database_url: sealed:db' })).toContain('needed at the start');
    expect(refusal({ yaml: 'clouds: {aws: {access_key_id: AKIA}}' })).toContain('clouds.aws.access_key_id');
    expect(refusal({ yaml: 'clouds: {ibm: {}}' })).toContain('clouds');
  });
});

describe('secrets that others keep', () => {
  it('are read from Vault and AWS, and one that is gone is told from one that cannot be read', async () => {
    const doubles = await startClouds();
    try {
      doubles.vault.secrets.set('openai', { api_key: 'MARKER-vault' });
      doubles.aws.secrets.set('prod/openai', JSON.stringify({ key: 'MARKER-aws' }));
      doubles.aws.secrets.set('plain', ' MARKER-plain\n');
      const { config } = load({ yaml: doubles.yaml, env: doubles.env });
      const { seals } = testSeals();
      const identity = new CloudIdentity(undefined as never, seals, systemClock, null);
      const clouds = openClouds(config.clouds, outgoing(config.outgoing), identity, systemClock);
      const read = async (text: string) => {
        const reference = parseReference(text);
        if (reference === undefined || ['env', 'file', 'sealed'].includes(reference.scheme))
          throw new Error(text);
        return (await readRemote(reference as never, clouds)).reveal();
      };
      expect(await read('vault:secret/data/openai#api_key')).toBe('MARKER-vault');
      expect(await read('aws-sm:prod/openai#key')).toBe('MARKER-aws');
      expect(await read('aws-sm:plain')).toBe('MARKER-plain');
      await expect(read('aws-sm:none')).rejects.toThrow(SecretGone);
      await expect(read('vault:secret/data/none#x')).rejects.toThrow(SecretGone);
      await expect(read('aws-sm:prod/openai#other')).rejects.toThrow('no field other');
      doubles.vault.sealed = true;
      const failure = await read('vault:secret/data/openai#api_key').catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(SecretError);
      expect(failure).not.toBeInstanceOf(SecretGone);
      doubles.aws.away = true;
      await expect(read('aws-sm:plain')).rejects.toThrow(SecretError);
    } finally {
      await doubles.close();
    }
  });
});

describe('a secret that may change', () => {
  const reference: Reference = { scheme: 'sealed', name: 'openai' };
  function world() {
    const clock = new ManualClock();
    const kept = { read: (): Secret => new Secret('one') };
    const taken: (string | null)[] = [];
    const warnings: string[] = [];
    const live = new LiveSecrets({
      read: async () => kept.read(),
      refreshMs: 3_600_000,
      clock,
      warn: (message) => warnings.push(message),
    });
    return { clock, kept, taken, warnings, live, again: () => live.refresh(() => true) };
  }

  it('is told when it is another, kept while its place is silent for a day at most, and gone when that says so', async () => {
    const { clock, kept, taken, warnings, live, again } = world();
    await live.follow(reference, (secret) => taken.push(secret?.reveal() ?? null));
    await again();
    expect(taken).toEqual(['one']);
    kept.read = () => new Secret('two');
    await again();
    kept.read = () => {
      throw new SecretError('no answer');
    };
    await again();
    clock.advance(STALE_MS);
    await again();
    expect(taken).toEqual(['one', 'two']);
    expect(warnings).toHaveLength(1);
    clock.advance(1);
    await again();
    expect(taken).toEqual(['one', 'two', null]);
    kept.read = () => new Secret('three');
    await again();
    kept.read = () => {
      throw new SecretGone('it was deleted');
    };
    await again();
    expect(taken).toEqual(['one', 'two', null, 'three', null]);
    expect(live.missing).toBe(1);
    expect(warnings.join()).not.toContain('three');
    live.close();
  });
});
