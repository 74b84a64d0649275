// `keygate keys mint`: a key made offline, for KEYGATE_BOOTSTRAP_ADMIN_KEY. No server knows it until one is started
// with it.

import { type Command, Option } from 'commander';
import { mintKey } from '../keys/format.ts';
import type { KeyType } from '../keys/model.ts';
import type { Io } from './io.ts';
import { printJson } from './print.ts';

const TYPES = {
  admin: 'admin',
  project: 'project',
  'service-account': 'service_account',
  test: 'test',
} as const satisfies Record<string, KeyType>;

export function addKeysMint(keys: Command, io: Io): void {
  keys
    .command('mint')
    .description('make a valid key offline, such as the first admin key of a server')
    .addOption(new Option('--type <type>', 'what kind of key').choices(Object.keys(TYPES)).default('admin'))
    .option('--json', 'print it as JSON')
    .addHelpText(
      'after',
      `
Only an admin key is of use before a server knows it: the first start takes it from its configuration.

Example:
  (umask 077; keygate keys mint --type admin > admin.key)
  KEYGATE_BOOTSTRAP_ADMIN_KEY_FILE=admin.key keygate serve`,
    )
    .action((options: { type: keyof typeof TYPES; json?: true }) => {
      const type = TYPES[options.type];
      const value = mintKey(type);
      if (options.json) printJson(io, { type, value });
      else io.out(`${value}\n`);
    });
}
