// Makes src/spend/prices/data.json from the pinned development dependency @pydantic/genai-prices (MIT). Run it after
// raising that dependency's version: `node scripts/prices.mjs` (Node 24). With --check it only says whether the file
// is what the dependency gives.
//
// The source prices the default tier. The other tiers are the provider's published factors, below, each with where
// it is published; scripts and tests compare them with what gpt-tokenizer's own price data says of batch.

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { waitForUpdate } from '@pydantic/genai-prices';
import { fromGenaiPrices } from '../src/spend/prices/genai.ts';

const BATCH = 'https://developers.openai.com/api/docs/guides/batch';
const FLEX = 'https://developers.openai.com/api/docs/guides/flex-processing';
const PRIORITY = 'https://openai.com/api-priority-processing/';
const PRICING = 'https://developers.openai.com/api/docs/pricing';
const CLAUDE = 'https://platform.claude.com/docs/en/build-with-claude/batch-processing';

/** provider, tier, factor, where it is published, model globs. The first that matches counts. */
const FACTORS = [
  ['openai', 'batch', [1, 2], BATCH, ['*']],
  ['openai', 'flex', [1, 2], FLEX, ['*']],
  ['openai', 'priority', [5, 2], PRICING, ['gpt-5.5*']],
  ['openai', 'priority', [9, 5], PRIORITY, ['gpt-5-mini*']],
  [
    'openai',
    'priority',
    [2, 1],
    PRIORITY,
    [
      'gpt-5',
      'gpt-5-2*',
      'gpt-5-codex',
      'gpt-5.1*',
      'gpt-5.2*',
      'gpt-5.4',
      'gpt-5.4-2*',
      'gpt-5.4-mini*',
      '!*-pro*',
    ],
  ],
  ['openai', 'priority', [2, 1], PRICING, ['gpt-5.6*', 'gpt-6*']],
  ['openai', 'priority', [2, 1], PRIORITY, ['gpt-4.1-nano*']],
  [
    'openai',
    'priority',
    [7, 4],
    PRIORITY,
    ['gpt-4.1', 'gpt-4.1-2*', 'gpt-4.1-mini*', 'gpt-4o-2024-05-13', 'o3', 'o3-2025-04-16'],
  ],
  ['openai', 'priority', [17, 10], PRIORITY, ['gpt-4o', 'gpt-4o-2024-08-06', 'gpt-4o-2024-11-20']],
  ['openai', 'priority', [5, 3], PRIORITY, ['gpt-4o-mini', 'gpt-4o-mini-2024-07-18']],
  ['openai', 'priority', [20, 11], PRIORITY, ['o4-mini', 'o4-mini-2025-04-16']],
  ['anthropic', 'batch', [1, 2], CLAUDE, ['*']],
];

const require = createRequire(import.meta.url);
const folder = dirname(dirname(require.resolve('@pydantic/genai-prices')));
const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
/** The dependency does not carry its own date; the registry's date of this version. */
const PUBLISHED = { '0.1.8': '2026-09-23' };
const date = PUBLISHED[version];
if (date === undefined) {
  throw new Error(
    `write the publication date of @pydantic/genai-prices ${version} into PUBLISHED (npm view @pydantic/genai-prices time)`,
  );
}

const { list, rounded, leftOut, notMetered } = fromGenaiPrices(
  await waitForUpdate(),
  `@pydantic/genai-prices ${version}`,
  date,
);
const shipped = {
  source: list.source,
  date,
  licence:
    'MIT, Copyright (c) Pydantic Services Inc. 2025 to present, https://github.com/pydantic/genai-prices',
  unit: 'pico-dollars a token, image, character, search or request; an hour for audioHour',
  madeBy: 'scripts/prices.mjs',
  factorSources: [...new Set(FACTORS.map(([, , , where]) => where))],
  rounded,
  leftOut,
  notMetered,
  providers: list.providers.map((provider) => ({
    ...provider,
    factors: FACTORS.filter(([id]) => id === provider.id).map(([, tier, factor, , models]) => ({
      models,
      tier,
      factor,
    })),
  })),
};

const file = new URL('../src/spend/prices/data.json', import.meta.url);
const text = `${JSON.stringify(shipped, null, 1)
  .replace(/\n {5,}/g, ' ')
  .replace(/ (?=[\]}])/g, '')}\n`;
if (process.argv.includes('--check')) {
  if (readFileSync(file, 'utf8') !== text) {
    console.error(
      'src/spend/prices/data.json is not what the pinned source gives: run node scripts/prices.mjs',
    );
    process.exit(1);
  }
} else {
  writeFileSync(file, text);
  const models = shipped.providers.reduce((sum, provider) => sum + provider.models.length, 0);
  console.log(
    `${models} models of ${shipped.providers.length} providers; ${rounded.length} prices rounded up, ${leftOut.length} models left out`,
  );
}
