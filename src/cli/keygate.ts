#!/usr/bin/env node
// The `keygate` command. On a Node.js that is too old it runs itself with the one that its package pins, if that is
// installed. Everything else is imported only after that check, because it would not even load there.

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const NEEDED = 24;

/** The Node.js that the package brings along where npm has one for this kind of machine. */
function pinnedNode(): string | undefined {
  if (process.env['KEYGATE_PINNED_NODE'] !== undefined) return undefined;
  try {
    return createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/bin/node`);
  } catch {
    return undefined;
  }
}

/** Runs this same command line with another Node.js and ends as it ends. */
function runWith(node: string): void {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
    // Says that this was tried, so that a pinned Node.js which is too old itself does not start over for ever.
    env: { ...process.env, KEYGATE_PINNED_NODE: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => {
    process.exit(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
  });
}

/**
 * How the engine is to run a server: with a young generation that fits a core's cache, and one heap of the C library for
 * all threads (measured after a hundred thousand calls: 45 MB less in all, and no more CPU time a call). And without
 * guessing which objects will live long: under load V8 guesses so of a part of each call, whose dead parts then keep all
 * of it from dying young (measured with budgets: 5 KB a call promoted, 100 MB and a tenth of the CPU time for it).
 */
const SERVER_ENGINE = ['--max-semi-space-size=2', '--no-allocation-site-pretenuring'];
/** What is large is given back to the system when it is freed; the C library would learn to keep it (mallopt(3)). */
const LARGE_BYTES = String(128 * 1024);
const SERVER_ENVIRONMENT = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: LARGE_BYTES,
  MALLOC_TRIM_THRESHOLD_: LARGE_BYTES,
};

/** Replaces this process by one of the same id whose engine is set for a server; such settings are read at its start. */
function becomeServer(): void {
  if (process.execve === undefined || process.env['KEYGATE_ENGINE'] !== undefined) return;
  const given = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].join(' ');
  const settings = SERVER_ENGINE.filter((setting) => !given.includes(setting.split('=', 1)[0] ?? setting));
  if (settings.length === 0) return;
  const argv = [process.execPath, ...process.execArgv, ...settings, ...process.argv.slice(1)];
  process.execve(process.execPath, argv, { ...SERVER_ENVIRONMENT, ...process.env, KEYGATE_ENGINE: '1' });
}

const pinned = pinnedNode();
if (process.argv[2] === 'serve') becomeServer();
if (Number.parseInt(process.versions.node, 10) >= NEEDED) {
  const { runProcess } = await import('./process.ts');
  await runProcess();
} else if (pinned !== undefined) {
  runWith(pinned);
} else {
  process.stderr.write(
    `keygate needs Node.js ${NEEDED} or newer, and this is ${process.versions.node}: install one from nodejs.org.\n`,
  );
  process.exitCode = 78;
}
