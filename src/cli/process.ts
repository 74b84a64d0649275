// Ties the command line to this process: its streams, signals and exit code.

import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { text } from 'node:stream/consumers';
import { EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { runCli } from './program.ts';
import type { RunServer } from './serve.ts';

const runServer: RunServer = async (config, io) => {
  const main = await import('../main.ts');
  return await main.runServer(config, io);
};

/** Runs the command line of this process and ends it with the command's code. */
export async function runProcess(): Promise<void> {
  // Whoever reads may have had enough (`keygate keys list | head -1`): that is no failure of ours.
  process.stdout.on('error', () => process.exit(EXIT.ok));
  const io: Io = {
    out: (written) => void process.stdout.write(written),
    err: (written) => void process.stderr.write(written),
    env: process.env,
    cwd: process.cwd(),
    hostname: hostname(),
    outIsTerminal: process.stdout.isTTY === true,
    inIsTerminal: process.stdin.isTTY === true,
    readInput: () => text(process.stdin),
    readFile: (path) => readFileSync(path, 'utf8'),
    onSignal(listener) {
      process.on('SIGINT', listener).on('SIGTERM', listener);
      return () => process.off('SIGINT', listener).off('SIGTERM', listener);
    },
    exitNow: (code) => process.exit(code),
    now: () => Date.now(),
    monotonic: () => performance.now(),
  };
  try {
    process.exitCode = await runCli(process.argv.slice(2), io, runServer);
  } catch (error) {
    process.stderr.write(
      `keygate failed, by a fault of its own: ${error instanceof Error ? error.message : 'unknown'}\n`,
    );
    // Where it happened is for a report, and only shown when asked for.
    if (process.env['KEYGATE_LOG_LEVEL'] === 'debug' && error instanceof Error)
      process.stderr.write(`${error.stack}\n`);
    process.exitCode = EXIT.fault;
  }
  // Written text first: standard output may be a pipe that is not taken as fast as it is filled.
  process.stdout.write('', () => process.exit());
}
