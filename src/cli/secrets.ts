// `keygate secrets …`: named secrets that the server keeps sealed, projects' own credentials, and the root key.

import type { Command } from 'commander';
import { z } from 'zod';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { printFields, printJson, printTable, when } from './print.ts';
import { findProject } from './projects.ts';
import { adminServer, type Server } from './server.ts';

const SecretShape = z.looseObject({
  id: z.string(),
  name: z.string(),
  version: z.number(),
  created_at: z.number(),
  updated_at: z.number(),
});
const ListShape = z.looseObject({ data: z.array(SecretShape) });
const RootShape = z.looseObject({ source: z.string(), keys: z.array(z.string()), unopened: z.number() });
const RewrapShape = RootShape.extend({
  rewrapped: z.array(
    z.looseObject({ name: z.string(), seen: z.number(), wrapped: z.number(), failed: z.number() }),
  ),
});

const REWRAP_MS = 10 * 60_000;

interface Options {
  readonly project?: string;
  readonly json?: true;
}

export function addSecrets(program: Command, io: Io): void {
  const secrets = program
    .command('secrets')
    .description('secrets that the server keeps sealed: set, list and remove them, and turn the root key')
    .addHelpText(
      'after',
      `
A secret is read from standard input, never from the command line, where others could see it.
In keygate.yaml it is named as a reference:  credential: sealed:openai

Examples:
  keygate secrets set openai < openai.key            a provider's credential, in use within a second
  pass show openai | keygate secrets set openai      the next version of it, without a restart
  keygate secrets set openai --project "Search team" < team.key
                                                     that project's own credential at the provider openai
  keygate secrets list
  keygate secrets rotate                             a new root key; everything is wrapped with it`,
    );
  const project = ['--project <id|name>', "the project's own credentials at providers"] as const;
  const json = ['--json', 'print the object as JSON'] as const;

  secrets
    .command('set')
    .description('set a secret, or the next version of it, to what stands on standard input')
    .argument('<name>', "its name; with --project, the provider's")
    .option(...project)
    .option(...json)
    .action(async (name: string, options: Options) => {
      if (io.inIsTerminal) io.err('Paste the secret, then end the input with Ctrl-D:\n');
      const value = (await io.readInput()).trim();
      if (value === '') {
        throw new CommandError(
          EXIT.usage,
          'Nothing came on standard input: pass the secret there, as in `keygate secrets set NAME < file`.',
        );
      }
      const server = adminServer(io);
      const made = await server.post(
        `${await base(server, options)}/${encodeURIComponent(name)}`,
        { value },
        SecretShape,
      );
      if (options.json) return printJson(io, made);
      printFields(io, [
        ['Secret', made.name],
        ['Version', String(made.version)],
      ]);
    });

  secrets
    .command('list')
    .description('names and versions; values are never shown')
    .option(...project)
    .option(...json)
    .action(async (options: Options) => {
      const server = adminServer(io);
      const list = await server.get(await base(server, options), ListShape);
      if (options.json) return printJson(io, list);
      printTable(
        io,
        ['NAME', 'VERSION', 'SET', 'FIRST SET'],
        list.data.map((row) => [
          row.name,
          String(row.version),
          when(row.updated_at, ''),
          when(row.created_at, ''),
        ]),
      );
    });

  secrets
    .command('delete')
    .description('remove a secret: what uses it has none from then on')
    .argument('<name>')
    .option(...project)
    .option(...json)
    .action(async (name: string, options: Options) => {
      const server = adminServer(io);
      const gone = await server.delete(
        `${await base(server, options)}/${encodeURIComponent(name)}`,
        z.looseObject({ id: z.string() }),
      );
      if (options.json) return printJson(io, gone);
      io.out(`The secret ${name} is gone.\n`);
    });

  secrets
    .command('rotate')
    .description(
      'make a new root key and wrap everything with it (where the server has the key in its own file)',
    )
    .option(...json)
    .action(async (options: Options) => {
      const done = await adminServer(io).post('/v1/keygate/root_key/rotate', {}, RewrapShape, REWRAP_MS);
      showRewrap(io, done, options);
    });

  secrets
    .command('rewrap')
    .description('wrap everything with the newest root key, and with the keys that projects have now')
    .option(...json)
    .action(async (options: Options) => {
      const done = await adminServer(io).post('/v1/keygate/root_key/rewrap', {}, RewrapShape, REWRAP_MS);
      showRewrap(io, done, options);
    });
}

async function base(server: Server, { project }: Options): Promise<string> {
  if (project === undefined) return '/v1/keygate/secrets';
  return `/v1/keygate/projects/${(await findProject(server, project)).id}/credentials`;
}

function showRewrap(io: Io, done: z.infer<typeof RewrapShape>, options: Options): void {
  if (options.json) return printJson(io, done);
  printFields(io, [
    ['Root key', done.keys[0] ?? 'none'],
    ['Kept in', done.source === 'file' ? "root.key in the server's data folder" : 'the configuration'],
  ]);
  io.out('\n');
  printTable(
    io,
    ['SEALED', 'RECORDS', 'WRAPPED AGAIN', 'FAILED'],
    done.rewrapped.map((row) => [row.name, String(row.seen), String(row.wrapped), String(row.failed)]),
  );
  if (done.rewrapped.some(({ failed }) => failed > 0)) {
    io.err('Some records could not be wrapped: the older key is kept for them. The server’s log says why.\n');
  }
}
