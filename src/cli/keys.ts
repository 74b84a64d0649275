// `keygate keys …`: the group, and what its commands share of a key.

import type { Command } from 'commander';
import type { Io } from './io.ts';
import { addKeysCreate } from './keys-create.ts';
import { addKeysList } from './keys-list.ts';
import { addKeysMint } from './keys-mint.ts';
import { addKeysRevoke } from './keys-revoke.ts';
import { addKeysShow } from './keys-show.ts';

export function addKeys(program: Command, io: Io): void {
  const keys = program
    .command('keys')
    .description('API keys: what callers present')
    .addHelpText(
      'after',
      `
Examples:
  keygate keys create "build server" --expires 90d
  keygate keys create reports --scope api.model.request --model gpt-5-mini --address 10.0.0.0/8
  keygate keys create --service-account nightly-jobs
  keygate keys list
  keygate keys revoke key_…`,
    );
  addKeysCreate(keys, io);
  addKeysList(keys, io);
  addKeysShow(keys, io);
  addKeysRevoke(keys, io);
  addKeysMint(keys, io);
}
