// `keygate version`.

import type { Command } from 'commander';
import type { Io } from './io.ts';
import { version } from './package.ts';
import { printJson } from './print.ts';

export function addVersion(program: Command, io: Io): void {
  program
    .command('version')
    .description('print the version of keygate and of what runs it')
    .option('--json', 'print it as JSON')
    .action((options: { json?: true }) => {
      if (options.json) return printJson(io, { keygate: version(), node: process.versions.node });
      io.out(`keygate ${version()} (Node.js ${process.versions.node})\n`);
    });
}
