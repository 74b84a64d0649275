// `keygate version`, and the version itself, read from the package that this file is in.

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { z } from 'zod';
import type { Io } from './io.ts';
import { printJson } from './print.ts';

const Package = z.object({ version: z.string() });

export function version(): string {
  // The same place from src/cli and from dist/cli.
  return Package.parse(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')))
    .version;
}

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
