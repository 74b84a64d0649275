// The command line as a whole: its commands, its help, and how each of them ends.

import { Command, CommanderError } from 'commander';
import { SetupError } from '../platform/errors.ts';
import { CommandError, EXIT, EXIT_HELP } from './exit.ts';
import { forTerminal, type Io } from './io.ts';
import { version } from './package.ts';
import { addServe, type RunServer } from './serve.ts';

/** @param addCommands adds the commands beside `serve` (commands.ts) */
export function buildProgram(
  io: Io,
  runServer: RunServer,
  addCommands?: (program: Command, io: Io) => void,
): Command {
  const program = new Command('keygate')
    .description(
      'Your own API platform for language models: keys, limits and metering behind the OpenAI API.',
    )
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .configureHelp({ helpWidth: 100, showGlobalOptions: false })
    .configureOutput({
      writeOut: io.out,
      writeErr: io.err,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .showHelpAfterError('Add --help to see how it is used.')
    .addHelpText(
      'after',
      `
keys, projects, users, invites, groups, roles, limits, secrets, usage, costs, credits, prices,
audit and call talk to a running server. They read
  KEYGATE_URL        where it is (default http://127.0.0.1:4141; its administration's address, if that is apart)
  KEYGATE_ADMIN_KEY  the admin key for all of them but call (else OPENAI_ADMIN_KEY, else who signed in by login)
  OPENAI_API_KEY     the key for call

Start here:
  keygate serve                                   start the server; the first start shows your keys
  keygate call "Say hello"                        one prompt through it
  keygate keys create "build server" --expires 90d  a key for somebody else
${EXIT_HELP}`,
    )
    .exitOverride();
  addServe(program, io, runServer);
  addCommands?.(program, io);
  return program;
}

/** Runs one command line (without `node` and the script) and gives its exit code. */
export async function runCli(args: readonly string[], io: Io, runServer: RunServer): Promise<number> {
  try {
    // A server would hold the other commands in memory for as long as it runs.
    const others = args[0] === 'serve' ? undefined : (await import('./commands.ts')).addCommands;
    await buildProgram(io, runServer, others).parseAsync([...args], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    // commander has said what is wrong, or shown the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof CommandError) {
      io.err(`${forTerminal(io, error.message)}\n`);
      return error.code;
    }
    if (error instanceof SetupError) {
      io.err(`${forTerminal(io, error.message)}\n`);
      return EXIT.configuration;
    }
    throw error;
  }
}
