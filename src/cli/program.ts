// The command line as a whole: its commands, its help, and how each of them ends.

import { Command, CommanderError } from 'commander';
import { SetupError } from '../platform/errors.ts';
import { addAudit } from './audit.ts';
import { addCall } from './call.ts';
import { addCosts } from './costs.ts';
import { addCredits } from './credits.ts';
import { CommandError, EXIT, EXIT_HELP } from './exit.ts';
import { addGroups } from './groups.ts';
import { addInvites } from './invites.ts';
import { forTerminal, type Io } from './io.ts';
import { addKeys } from './keys.ts';
import { addLimits } from './limits.ts';
import { addLogin } from './login.ts';
import { addPrices } from './prices.ts';
import { addProjects } from './projects.ts';
import { addRoles } from './roles.ts';
import { addSecrets } from './secrets.ts';
import { addServe, type RunServer } from './serve.ts';
import { addUsage } from './usage.ts';
import { addUsers } from './users.ts';
import { addVersion, version } from './version.ts';

export function buildProgram(io: Io, runServer: RunServer): Command {
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
  addLogin(program, io);
  addKeys(program, io);
  addProjects(program, io);
  addUsers(program, io);
  addInvites(program, io);
  addGroups(program, io);
  addRoles(program, io);
  addLimits(program, io);
  addSecrets(program, io);
  addUsage(program, io);
  addCosts(program, io);
  addCredits(program, io);
  addPrices(program, io);
  addAudit(program, io);
  addCall(program, io);
  addVersion(program, io);
  return program;
}

/** Runs one command line (without `node` and the script) and gives its exit code. */
export async function runCli(args: readonly string[], io: Io, runServer: RunServer): Promise<number> {
  try {
    await buildProgram(io, runServer).parseAsync([...args], { from: 'user' });
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
