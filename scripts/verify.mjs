// Everything that must hold before a change is kept: `npm run verify`, from a fresh clone too. Every step runs even
// if one before it failed, so that one run tells all. The last line is `N passed, N failed`: the tests' numbers, and
// each other step that failed counts as one failure. The exit code is 0 only if nothing failed.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from './build.mjs';
import { BIN, installIfNeeded, nodeBinary, run, Sentence, script } from './toolchain.mjs';

await script(async () => {
  const failed = [];
  let node = '';
  const installed = await step('install', failed, async () => {
    await installIfNeeded();
    node = nodeBinary();
    return 0;
  });
  let tests = { passed: 0, failed: 0, skipped: 0 };
  if (installed) {
    await step('typecheck', failed, () => run(node, [join(BIN, 'tsc'), '--noEmit']));
    await step('lint', failed, () => run(node, [join(BIN, 'biome'), 'check', '--error-on-warnings', '.']));
    await step('build', failed, async () => {
      await build();
      return 0;
    });
    await step('tests', failed, async () => {
      const { code, counts } = await test(node);
      tests = counts;
      // Failed tests are counted one by one; a run that failed without one (a file that would not load, an error
      // outside of any test) counts as the step.
      return code !== 0 && counts.failed > 0 ? 0 : code;
    });
  }
  const failures = tests.failed + failed.length;
  if (failed.length > 0) process.stdout.write(`failed: ${failed.join(', ')}\n`);
  if (tests.skipped > 0) process.stdout.write(`${tests.skipped} skipped\n`);
  process.stdout.write(`${tests.passed} passed, ${failures} failed\n`);
  return failures === 0 ? 0 : 1;
});

/** Runs one step and prints its line. */
async function step(name, failed, work) {
  const began = performance.now();
  let code = 1;
  try {
    code = await work();
  } catch (error) {
    if (!(error instanceof Sentence)) throw error;
    process.stderr.write(`${error.message}\n`);
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  process.stdout.write(`\n[${code === 0 ? 'ok' : 'FAILED'}] ${name} (${seconds} s)\n`);
  if (code !== 0) failed.push(name);
  return code === 0;
}

/** The whole suite, with the services that it wants around it; its own output stays visible. */
async function test(node) {
  const folder = mkdtempSync(join(tmpdir(), 'keygate-verify-'));
  try {
    const report = join(folder, 'report.json');
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    const code = await run(node, [
      'scripts/services.mjs',
      '--',
      'vitest',
      'run',
      ...reporters,
      ...process.argv.slice(2),
    ]);
    return { code, counts: counts(report) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function counts(report) {
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(
      readFileSync(report, 'utf8'),
    );
    return { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests + numTodoTests };
  } catch {
    return { passed: 0, failed: 0, skipped: 0 };
  }
}
