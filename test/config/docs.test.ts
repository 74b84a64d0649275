import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { settingsTable } from '../../src/config/settings.ts';
import { expectGenerated } from './generated.ts';
import { load } from './loading.ts';

describe('the documentation of the configuration', () => {
  test('lists every setting as the source has it', () => {
    expectGenerated('docs/configuration.md', 'settings', settingsTable());
  });

  test('the example file is one that keygate accepts', () => {
    const yaml = readFileSync(new URL('../../keygate.example.yaml', import.meta.url), 'utf8');
    const { config, notices } = load({ yaml, env: { OPENAI_API_KEY: 'provider' } });
    expect(config.providers.map((provider) => provider.name)).toEqual(['openai', 'local']);
    expect(config.models[0]?.targets).toHaveLength(2);
    expect(notices).toEqual([]);
  });

  test('so is every example on the page', () => {
    const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
    const yaml = [...page.matchAll(/```yaml\n(.*?)```/gs)].map((match) => match[1]).join('');
    const { config } = load({
      yaml,
      env: { OPENAI_API_KEY: 'provider' },
      files: { '/run/secrets/spare': 'spare' },
    });
    expect(config.providers).toHaveLength(3);
    expect(config.models).toHaveLength(2);
  });
});
