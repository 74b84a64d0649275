// `keygate keys show`: everything about one key but its text.

import type { Command } from 'commander';
import type { Io } from './io.ts';
import { expiryOf, Key, ownerOf, typeOf, whereKeys } from './key-objects.ts';
import { projectOption } from './options.ts';
import { printFields, printJson, when } from './print.ts';
import { adminServer } from './server.ts';

interface Options {
  readonly project?: string;
  readonly admin?: true;
  readonly json?: true;
}

export function addKeysShow(keys: Command, io: Io): void {
  keys
    .command('show')
    .description('show one key, redacted')
    .argument('<id>', 'its id, key_…')
    .addOption(projectOption())
    .option('--admin', 'an admin key of the organization')
    .option('--json', 'print the object as JSON')
    .action(async (id: string, options: Options) => {
      const server = adminServer(io);
      const { project, read } = await whereKeys(server, options);
      const key = await server.get(`${read}/${encodeURIComponent(id)}`, Key);
      if (options.json) return printJson(io, key);
      const fields: [string, string][] = [
        ['Id', key.id],
        ['Name', key.name ?? ''],
        ['Type', typeOf(key, project === null)],
        ['Key', key.redacted_value],
        ['Owner', ownerOf(key)],
      ];
      if (project) {
        fields.push(
          ['Project', `${project.name} (${project.id})`],
          ['Scopes', listed(key.scopes, 'all')],
          ['Models', listed(key.models, 'all of the project')],
          ['Addresses', listed(key.addresses, 'all')],
        );
      }
      fields.push(
        ['Created', when(key.created_at, '')],
        ['Expires', expiryOf(key)],
        ['Last used', when(key.last_used_at, 'never')],
      );
      printFields(io, fields);
    });
}

function listed(items: readonly string[] | null | undefined, all: string): string {
  return items === null || items === undefined || items.length === 0 ? all : items.join(', ');
}
