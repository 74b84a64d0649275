#!/usr/bin/env node
// The `keygate` command. On a Node.js that is too old it runs itself with the one that its package pins, if that is
// installed. Everything else is imported only after that check, because it would not even load there.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const NEEDED = 24;
const PINNED = fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url));

if (Number.parseInt(process.versions.node, 10) >= NEEDED) {
  const { runProcess } = await import('./process.ts');
  await runProcess();
} else if (existsSync(PINNED) && process.env['KEYGATE_PINNED_NODE'] === undefined) {
  const child = spawn(PINNED, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
    // Says that this was tried, so that a pinned Node.js which is too old itself does not start over for ever.
    env: { ...process.env, KEYGATE_PINNED_NODE: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    process.exit(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
  });
} else {
  process.stderr.write(
    `keygate needs Node.js ${NEEDED} or newer, and this is ${process.versions.node}: install one from nodejs.org.\n`,
  );
  process.exitCode = 78;
}
