// `keygate keys revoke`: ends keys for good.

import type { Command } from 'commander';
import type { Io } from './io.ts';
import { Deleted, whereKeys } from './key-objects.ts';
import { projectOption } from './options.ts';
import { printJson } from './print.ts';
import { adminServer } from './server.ts';

interface Options {
  readonly project?: string;
  readonly admin?: true;
  readonly json?: true;
}

export function addKeysRevoke(keys: Command, io: Io): void {
  keys
    .command('revoke')
    .description('end a key for good; callers that present it are refused from then on')
    .argument('<id...>', 'its id, key_…, or several')
    .addOption(projectOption())
    .option('--admin', 'an admin key of the organization')
    .option('--json', 'print what the server answered as a JSON list')
    .action(async (ids: string[], options: Options) => {
      const server = adminServer(io);
      const { revoke } = await whereKeys(server, options);
      const answers: unknown[] = [];
      for (const id of ids) {
        answers.push(await server.delete(`${revoke}/${encodeURIComponent(id)}`, Deleted));
        // Said one by one: if a later one is refused, it is known which have ended.
        if (!options.json) io.out(`Revoked ${id}.\n`);
      }
      if (options.json) printJson(io, answers);
    });
}
