// Sets keygate up and runs it: `npm run up`, from a fresh clone too. What is already in place is not done again.
// Arguments are those of `keygate serve`: npm run up -- --port 5000

import { join } from 'node:path';
import { build, isBuilt } from './build.mjs';
import { installIfNeeded, nodeBinary, ROOT, run, script } from './toolchain.mjs';

await script(async () => {
  const began = performance.now();
  process.stderr.write('keygate: looking whether everything is in place …\n');
  if (await installIfNeeded()) process.stderr.write(`keygate: installed (${seconds(began)} s)\n`);
  const node = nodeBinary();
  if (!isBuilt()) {
    await build();
    process.stderr.write(`keygate: built (${seconds(began)} s)\n`);
  }
  return await run(node, [join(ROOT, 'dist/cli/keygate.js'), 'serve', ...process.argv.slice(2)]);
});

function seconds(since) {
  return ((performance.now() - since) / 1000).toFixed(1);
}
