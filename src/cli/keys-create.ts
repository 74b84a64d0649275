// `keygate keys create`: a project key, a test key, a key of a service account, or an admin key. The reply is the
// only place where the key's text is ever shown.

import { type Command, Option } from 'commander';
import { z } from 'zod';
import { bindingOf } from './binding.ts';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { expiryOf, NewKey } from './key-objects.ts';
import { expiresOption, listOption, projectOption } from './options.ts';
import { findUser } from './people.ts';
import { printJson } from './print.ts';
import { findProject, type Project } from './projects.ts';
import { adminServer, type Server } from './server.ts';

interface Options {
  readonly project?: string;
  readonly type?: 'project' | 'test';
  readonly serviceAccount?: string;
  readonly admin?: true;
  readonly owner?: string;
  readonly scope?: string[];
  readonly model?: string[];
  readonly address?: string[];
  readonly expires?: number;
  readonly dpop?: string;
  readonly certificate?: string;
  readonly quiet?: true;
  readonly json?: true;
}

const ServiceAccount = z.looseObject({ id: z.string(), name: z.string() });

const MOST_LOOKED_THROUGH = 10_000;

export function addKeysCreate(keys: Command, io: Io): void {
  keys
    .command('create')
    .description('make a key and show it, once')
    .argument('[name]', 'what people call it')
    .addOption(projectOption())
    .addOption(
      new Option('--type <type>', 'a test key always reaches the sandbox and costs nothing').choices([
        'project',
        'test',
      ]),
    )
    .option('--service-account <name>', 'a key of this service account, which is made if it is not there')
    .option('--admin', 'an admin key, which manages what its owner may manage')
    .option('--owner <user>', 'in the name of this user, by its id or address (default: you)')
    .addOption(listOption('--scope <scope>', 'only this scope'))
    .addOption(listOption('--model <model>', 'only this model'))
    .addOption(listOption('--address <address>', 'only from this address or CIDR range'))
    .addOption(expiresOption())
    .option('--dpop <file>', "bound to this private key of the client's, which is made if it is not there")
    .option('--certificate <file>', 'bound to this client certificate')
    .option('-q, --quiet', 'print the key alone')
    .option('--json', 'print the object as JSON')
    .addHelpText(
      'after',
      `
Examples:
  keygate keys create "build server" --expires 90d
  keygate keys create reports --scope api.model.request --model gpt-5-mini --address 10.0.0.0/8
  keygate keys create --type test ci
  keygate keys create laptop --dpop laptop.jwk
  keygate keys create --service-account nightly-jobs --project "Search team"
  export OPENAI_API_KEY=$(keygate keys create laptop --quiet)`,
    )
    .action(async (name: string | undefined, options: Options) => {
      refuseContradictions(name, options);
      const cnf = bindingOf(io, options);
      const server = adminServer(io);
      if (options.admin) {
        return show(io, options, 'admin key', await createAdminKey(server, name, options, cnf));
      }
      const project = await findProject(server, options.project);
      const kind = `${options.serviceAccount === undefined ? (options.type ?? 'project') : 'service account'} key`;
      const key =
        options.serviceAccount === undefined
          ? await createProjectKey(server, project, name, options, cnf)
          : await createServiceAccountKey(server, project, options.serviceAccount, name, options, cnf);
      show(io, options, `${kind} in ${project.name}`, key);
    });
}

function refuseContradictions(name: string | undefined, options: Options): void {
  const refuse = (sentence: string): never => {
    throw new CommandError(EXIT.usage, sentence);
  };
  const { admin, serviceAccount, type, project, model, address } = options;
  if (admin && (serviceAccount ?? type ?? project ?? model ?? address) !== undefined) {
    refuse(
      'An admin key belongs to the organization: --admin goes with a name, --owner, --scope, --expires, --dpop and --certificate.',
    );
  }
  if (serviceAccount !== undefined && (type ?? model ?? address ?? options.owner) !== undefined) {
    refuse("A service account's key can be narrowed by --scope, --expires, --dpop and --certificate only.");
  }
  if (serviceAccount === undefined && name === undefined)
    refuse('Give the key a name: keygate keys create NAME.');
}

async function createAdminKey(
  server: Server,
  name: string | undefined,
  options: Options,
  cnf: object | undefined,
): Promise<NewKey> {
  const body = { name, scopes: options.scope, ...(await owner(server, options)), ...expiry(options), cnf };
  return await server.post('/v1/keygate/admin_api_keys', given(body), NewKey);
}

async function createProjectKey(
  server: Server,
  project: Project,
  name: string | undefined,
  options: Options,
  cnf: object | undefined,
): Promise<NewKey> {
  const body = {
    name,
    type: options.type ?? 'project',
    scopes: options.scope,
    models: options.model,
    addresses: options.address,
    cnf,
    ...(await owner(server, options)),
    ...expiry(options),
  };
  return await server.post(
    `/v1/keygate/projects/${encodeURIComponent(project.id)}/api_keys`,
    given(body),
    NewKey,
  );
}

/** The account first, without the unrestricted key that it would bring along, then the key as it was asked for. */
async function createServiceAccountKey(
  server: Server,
  project: Project,
  wanted: string,
  name: string | undefined,
  options: Options,
  cnf: object | undefined,
): Promise<NewKey> {
  const path = `/v1/organization/projects/${encodeURIComponent(project.id)}/service_accounts`;
  const { data } = await server.list(path, ServiceAccount, MOST_LOOKED_THROUGH);
  let account = data.find(({ id, name: called }) => id === wanted || called === wanted);
  if (account === undefined) {
    account = await server.post(path, { name: wanted, create_service_account_only: true }, ServiceAccount);
    await server.post(`${path}/${encodeURIComponent(account.id)}`, { role: 'member' }, ServiceAccount);
  }
  const body = { name, scopes: options.scope, cnf, ...expiry(options) };
  const at = cnf === undefined ? path : path.replace('/organization/', '/keygate/');
  return server.post(`${at}/${encodeURIComponent(account.id)}/api_keys`, given(body), NewKey);
}

async function owner(server: Server, options: Options): Promise<{ owner_user_id?: string }> {
  return options.owner === undefined ? {} : { owner_user_id: (await findUser(server, options.owner)).id };
}

function expiry(options: Options): { expires_in_seconds?: number } {
  return options.expires === undefined ? {} : { expires_in_seconds: options.expires };
}

/** Only what was said: a field that is absent has its default on the server. */
function given(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}

function show(io: Io, options: Options, kind: string, key: NewKey): void {
  if (options.json) return printJson(io, key);
  if (options.quiet) return io.out(`${key.value}\n`);
  const where = options.admin
    ? '--admin '
    : options.project === undefined
      ? ''
      : `--project ${quoted(options.project)} `;
  io.out(`Created ${key.id}: ${kind}, expires ${expiryOf(key)}.\n\n  ${key.value}\n\n`);
  io.out(`Copy it now: it is not shown again. \`keygate keys revoke ${where}${key.id}\` ends it.\n`);
}

/** An argument as it can be pasted into a shell. */
function quoted(text: string): string {
  return /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
