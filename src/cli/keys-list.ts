// `keygate keys list`: the keys of a project, or the organization's admin keys. Redacted: no list shows a key.

import type { Command } from 'commander';
import type { Io } from './io.ts';
import { expiryOf, Key, ownerOf, typeOf, whereKeys } from './key-objects.ts';
import { limitOption, projectOption } from './options.ts';
import { printJson, printTable, when } from './print.ts';
import { adminServer } from './server.ts';

interface Options {
  readonly project?: string;
  readonly admin?: true;
  readonly limit: number;
  readonly json?: true;
}

export function addKeysList(keys: Command, io: Io): void {
  keys
    .command('list')
    .description('list the keys of a project')
    .addOption(projectOption())
    .option('--admin', "the organization's admin keys instead")
    .addOption(limitOption())
    .option('--json', 'print the list as JSON')
    .action(async (options: Options) => {
      const server = adminServer(io);
      const { read } = await whereKeys(server, options);
      const list = await server.list(read, Key, options.limit);
      if (options.json) return printJson(io, { object: 'list', ...list });
      printTable(
        io,
        ['ID', 'NAME', 'TYPE', 'ENVIRONMENT', 'KEY', 'OWNER', 'CREATED', 'EXPIRES', 'LAST USED'],
        list.data.map((key) => [
          key.id,
          key.name ?? '',
          typeOf(key, options.admin === true),
          key.environment ?? '',
          key.redacted_value,
          ownerOf(key),
          when(key.created_at, ''),
          expiryOf(key),
          when(key.last_used_at, 'never'),
        ]),
      );
      if (list.has_more) io.err(`Only the first ${options.limit} are shown: --limit shows more.\n`);
    });
}
