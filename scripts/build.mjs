// Bundles src/ into dist/: `npm run build`. The new dist/ is made beside the old one and put in its place only when it
// is complete, so that a build which fails or is cut off leaves what ran before. Types are checked by `npm run verify`.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BIN, installIfNeeded, newest, nodeBinary, ROOT, run, Sentence, script } from './toolchain.mjs';

const DIST = join(ROOT, 'dist');
const STAMP = '.built';
const COMMAND = join(BIN, 'keygate');

/** Whether dist/ was made from the sources as they are. */
export function isBuilt() {
  const stamp = statSync(join(DIST, STAMP), { throwIfNoEntry: false });
  const sources = newest(
    'src',
    'scripts',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.client.json',
  );
  return stamp !== undefined && stamp.mtimeMs >= sources && existsSync(COMMAND);
}

export async function build() {
  const began = new Date();
  const fresh = join(ROOT, '.cache', `dist-${process.pid}`);
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  // What other programs import (package.json, exports) comes with its types; the rest is a command.
  const types = [join(BIN, 'tsc'), '-p', 'tsconfig.client.json', '--outDir', fresh];
  const steps = [[join(ROOT, 'scripts', 'bundle.mjs'), fresh], types];
  const codes = await Promise.all(steps.map((args) => run(nodeBinary(), args)));
  const failed = codes.find((code) => code !== 0);
  if (failed !== undefined) {
    rmSync(fresh, { recursive: true, force: true });
    throw new Sentence(`The build failed (${failed}): see above.`);
  }
  chmodSync(join(fresh, 'cli', 'keygate.js'), 0o755);
  writeFileSync(join(fresh, STAMP), '');
  // A source that changed while the compiler read it must count as newer than the build.
  utimesSync(join(fresh, STAMP), began, began);
  const old = `${fresh}-old`;
  rmSync(old, { recursive: true, force: true });
  if (statSync(DIST, { throwIfNoEntry: false })) renameSync(DIST, old);
  renameSync(fresh, DIST);
  rmSync(old, { recursive: true, force: true });
  // npm links the commands of dependencies only; with this, `npx keygate` finds the package's own at once.
  rmSync(COMMAND, { force: true });
  symlinkSync(join('..', '..', 'dist', 'cli', 'keygate.js'), COMMAND);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await script(async () => {
    await installIfNeeded();
    await build();
    return 0;
  });
}
