// Makes src/spend/bound/model-limits.json from the pinned dependency gpt-tokenizer (MIT): of each model the most tokens
// that it takes in and that it writes, as its maker publishes them. Run it after raising that dependency's version:
// `node scripts/model-limits.mjs` (Node 24). With --check it only says whether the file is what the dependency gives.

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import * as models from 'gpt-tokenizer/models';

const FILE = new URL('../src/spend/bound/model-limits.json', import.meta.url);
const { version } = createRequire(import.meta.url)('gpt-tokenizer/package.json');

const limits = {};
for (const model of Object.values(models).sort((a, b) => (a.name < b.name ? -1 : 1))) {
  const { name, context_window: context, max_input_tokens: input, max_output_tokens: output } = model;
  // The window bounds what goes in; a smaller figure for the input alone has been exceeded in practice.
  if (context > 0 && output > 0) limits[name] = [Math.max(context, input ?? 0), output];
}
const rows = Object.entries(limits).map(
  ([name, row]) => `    ${JSON.stringify(name)}: ${JSON.stringify(row).replace(',', ', ')}`,
);
const text = `{\n  "source": "gpt-tokenizer ${version} (MIT)",\n  "models": {\n${rows.join(',\n')}\n  }\n}\n`;

if (!process.argv.includes('--check')) writeFileSync(FILE, text);
else if (readFileSync(FILE, 'utf8') !== text) {
  console.error(
    'src/spend/bound/model-limits.json is not what gpt-tokenizer gives: run node scripts/model-limits.mjs',
  );
  process.exitCode = 1;
}
