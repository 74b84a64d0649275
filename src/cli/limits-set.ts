// `keygate limits set`: states a limit of the organization, a project, a key, a service account, or a project's end
// users.

import { type Command, Option } from 'commander';
import { z } from 'zod';
import type { Dimension } from '../limits/model.ts';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { amount, parseAmount, SHORT } from './limits-pools.ts';
import { projectOption } from './options.ts';
import { printJson, printTable } from './print.ts';
import { findProject } from './projects.ts';
import { adminServer, type Server } from './server.ts';

interface Options extends Readonly<Record<string, unknown>> {
  readonly project?: string;
  readonly organization?: true;
  readonly key?: string;
  readonly serviceAccount?: string;
  readonly endUsers?: true;
  readonly json?: true;
}

/** What is counted, and the option that states it. */
const FLAGS: readonly (readonly [dimension: Dimension, flag: string, about: string])[] = [
  ['requests_per_minute', '--rpm', 'requests a minute'],
  ['requests_per_day', '--rpd', 'requests a day'],
  ['tokens_per_minute', '--tpm', 'tokens a minute'],
  ['tokens_per_day', '--tpd', 'tokens a day'],
  ['images_per_minute', '--ipm', 'images a minute'],
  ['audio_seconds_per_minute', '--audio-seconds', 'seconds of audio a minute'],
  ['batch_tokens', '--batch-tokens', 'enqueued batch tokens'],
];

const Statement = z.looseObject({
  scope: z.string(),
  subject_id: z.string(),
  name: z.string(),
  ...Object.fromEntries(FLAGS.map(([dimension]) => [dimension, z.number().nullable()])),
});
const Named = z.looseObject({ id: z.string(), name: z.string().nullish() });
const MOST_LOOKED_THROUGH = 10_000;

export function addLimitsSet(limits: Command, io: Io): void {
  const set = limits
    .command('set')
    .description('state limits; what is not named stays as it is')
    .argument('<name>', 'a model, prefix*, * (each model), a shared group, or all (every model together)')
    .addOption(projectOption())
    .option('--organization', "the organization's own, before its usage tier's")
    .option('-k, --key <id|name>', "this API key's")
    .option('--service-account <id|name>', "this service account's")
    .option('--end-users', 'what each end user of the project has');
  for (const [, flag, about] of FLAGS) {
    set.addOption(new Option(`${flag} <n|none>`, about).argParser(parseAmount));
  }
  set
    .option('--json', 'print what is stated now as JSON')
    .addHelpText(
      'after',
      `
A number may end in k, M or G. A project, key, account or end user can only lower what the organization has.
In effect at once on the server that is asked, and within a second on others.

Examples:
  keygate limits set gpt-5-mini --rpm 300 --tpm 200k
  keygate limits set all --key "build server" --rpm 60 --tpd 5M
  keygate limits set all --end-users --rpm 20
  keygate limits set 'gpt-5*' --organization --tpd 50M
  keygate limits set gpt-5-mini --rpm none`,
    )
    .action(async (name: string, options: Options) => {
      const amounts = amountsOf(options);
      const server = adminServer(io);
      const path = await whose(server, options);
      const stated = await server.post(path, { name, ...amounts }, Statement);
      if (options.json) return printJson(io, stated);
      const { scope, subject_id: id } = stated;
      const rows = FLAGS.flatMap(([dimension]) => {
        const value = z.number().nullable().parse(stated[dimension]);
        return value === null ? [] : [[SHORT[dimension], amount(value)]];
      });
      const about = scope === 'end_user' ? `each end user of ${id}` : `${scope.replace('_', ' ')} ${id}`;
      io.out(
        rows.length === 0
          ? `Nothing is stated any more about ${name} for ${about}.\n`
          : `Stated about ${name} for ${about}:\n`,
      );
      if (rows.length > 0) printTable(io, ['COUNTS', 'LIMIT'], rows);
    });
}

function amountsOf(options: Options): Record<string, number | null> {
  const amounts: Record<string, number | null> = {};
  for (const [dimension, flag] of FLAGS) {
    const value = options[new Option(`${flag} <n>`).attributeName()];
    if (typeof value === 'number') amounts[dimension] = value;
    else if (value === 'none') amounts[dimension] = null;
  }
  if (Object.keys(amounts).length === 0) {
    const flags = FLAGS.map(([, flag]) => flag);
    throw new CommandError(EXIT.usage, `Say what the limit is: one or more of ${flags.join(', ')}.`);
  }
  return amounts;
}

/** Where the limits of the one who is meant are. */
async function whose(server: Server, options: Options): Promise<string> {
  const { project, organization, key, serviceAccount, endUsers } = options;
  const kinds = [organization, key, serviceAccount, endUsers].filter((each) => each !== undefined);
  if (kinds.length > 1 || (organization && project !== undefined)) {
    throw new CommandError(
      EXIT.usage,
      'Name one whose limits they are: --organization, or in a project --key, --service-account or --end-users.',
    );
  }
  if (organization) return '/v1/keygate/organization/limits';
  const id = encodeURIComponent((await findProject(server, project)).id);
  const within = `/v1/keygate/projects/${id}`;
  if (endUsers) return `${within}/end_users/limits`;
  if (key !== undefined) {
    const found = await findNamed(server, `${within}/api_keys`, 'API key', key);
    return `${within}/api_keys/${encodeURIComponent(found)}/limits`;
  }
  if (serviceAccount !== undefined) {
    const accounts = `/v1/organization/projects/${id}/service_accounts`;
    const found = await findNamed(server, accounts, 'service account', serviceAccount);
    return `${within}/service_accounts/${encodeURIComponent(found)}/limits`;
  }
  return `${within}/limits`;
}

/** The id of the one that is called so, or has this id. */
async function findNamed(server: Server, path: string, what: string, wanted: string): Promise<string> {
  const { data } = await server.list(path, Named, MOST_LOOKED_THROUGH);
  const byId = data.find(({ id }) => id === wanted);
  if (byId) return byId.id;
  const [first, ...others] = data.filter(({ name }) => name === wanted);
  if (first && others.length === 0) return first.id;
  if (first) {
    throw new CommandError(EXIT.usage, `Several are called "${wanted}": name the ${what} by its id.`);
  }
  throw new CommandError(EXIT.refused, `There is no ${what} "${wanted}" in this project.`);
}
