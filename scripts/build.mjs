// Compiles src/ into dist/: `npm run build`. The new dist/ is made beside the old one and put in its place only when
// it is complete, so that a build which fails or is cut off leaves what ran before.

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

/** Whether dist/ was compiled from the sources as they are. */
export function isBuilt() {
  const stamp = statSync(join(DIST, STAMP), { throwIfNoEntry: false });
  const sources = newest(
    'src',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'tsconfig.client.json',
  );
  return stamp !== undefined && stamp.mtimeMs >= sources && existsSync(COMMAND);
}

export async function build() {
  const began = new Date();
  const fresh = join(ROOT, '.cache', `dist-${process.pid}`);
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  const tsc = join(BIN, 'tsc');
  // What other programs import (package.json, exports) comes with its types; the rest is a command.
  for (const project of ['tsconfig.build.json', 'tsconfig.client.json']) {
    const code = await run(nodeBinary(), [tsc, '-p', project, '--outDir', fresh]);
    if (code === 0) continue;
    rmSync(fresh, { recursive: true, force: true });
    throw new Sentence(`The build failed (${code}): see above.`);
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
