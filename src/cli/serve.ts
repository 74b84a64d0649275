// `keygate serve`: reads the configuration, starts the server, says once what the first start made, and stops it
// gracefully at the first signal. A second signal ends it at once.

import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { type LoadInput, loadConfig } from '../config/load.ts';
import type { Config } from '../config/model.ts';
import { SETTING_NAMES, SETTINGS, type SettingName } from '../config/settings.ts';
import { EXIT } from './exit.ts';
import { type FirstStart, firstStartText, startText } from './first-start.ts';
import type { Io } from './io.ts';
import { version } from './package.ts';

export interface RunningServer {
  /** Where the API answers, without a path. */
  readonly url: string;
  /** Where administration and metrics answer: the same, unless they have a listener of their own. */
  readonly adminUrl: string;
  /** What the first start made; null on later ones. */
  readonly firstStart: FirstStart | null;
  /** What the administrator should know, a sentence each. */
  readonly notices: readonly string[];
  /** Lets what is in flight finish, within the configured time, and makes everything durable. */
  close(): Promise<void>;
}

/** `runServer` of main.ts: loaded only by this command, because the others are over before it would be. */
export type RunServer = (config: Config, io: Pick<Io, 'out' | 'err'>) => Promise<RunningServer>;

/**
 * Ctrl-C reaches every process of the terminal, and npm passes it on as well: signals this close together are one
 * wish, not two.
 */
const SAME_WISH_MS = 500;

type Options = Partial<Record<string, string>> & { check?: true; json?: true };

export function addServe(program: Command, io: Io, runServer: RunServer): void {
  const serve = program
    .command('serve')
    .description('start the server')
    .option(
      '--config <file>',
      'the configuration file (KEYGATE_CONFIG; default: keygate.yaml if it is there)',
    );
  for (const name of SETTING_NAMES) {
    const { flag, about, env, kind, standard } = describeFlag(name);
    if (flag === null) continue;
    const otherwise = standard === undefined ? '' : `; default ${standard}`;
    serve.addOption(new Option(`${flag} <${kind}>`, `${about.replace(/\.$/, '')} (${env}${otherwise})`));
  }
  serve
    .option('--check', 'print the effective configuration, secrets redacted, and end')
    .option('--json', 'with --check: print it as JSON')
    .addHelpText(
      'after',
      `
Every setting is also a KEYGATE_… variable and a line of keygate.yaml: see docs/configuration.md.

Examples:
  keygate serve
  keygate serve --host 0.0.0.0 --port 8080 --data /var/lib/keygate
  keygate serve --config /etc/keygate.yaml --check`,
    )
    .action(async (options: Options) => {
      const loaded = loadConfig(loadInput(io, options));
      if (options.check) {
        // A server that runs prints no tables.
        const { check } = await import('./serve-check.ts');
        return check(io, loaded, options.json === true);
      }
      for (const notice of loaded.notices) io.err(`Note: ${notice}\n`);
      await serveUntilStopped(io, loaded.config, runServer);
    });
}

/** What the help says of a setting's option. */
function describeFlag<N extends SettingName>(name: N) {
  const row = SETTINGS[name];
  const standard = row.standard === undefined ? row.otherwise : row.kind.show(row.standard);
  return {
    flag: row.flag,
    about: row.about,
    env: row.env,
    kind: (row.path.split('.').at(-1) ?? '').replaceAll('_', '-'),
    standard,
  };
}

function loadInput(io: Io, options: Options): LoadInput {
  const flags: Partial<Record<SettingName, string>> = {};
  for (const name of SETTING_NAMES) {
    const { flag } = SETTINGS[name];
    if (flag === null) continue;
    const value = options[new Option(`${flag} <value>`).attributeName()];
    if (value !== undefined) flags[name] = value;
  }
  const { env, cwd, hostname, readFile } = io;
  return { flags, env, cwd, hostname, readFile, file: options['config'] };
}

async function serveUntilStopped(io: Io, config: Config, runServer: RunServer): Promise<void> {
  let firstSignalAt: number | undefined;
  let stop: () => void = () => {};
  const stopped = new Promise<void>((resolveStop) => {
    stop = resolveStop;
  });
  const ignore = io.onSignal(() => {
    const at = io.monotonic();
    firstSignalAt ??= at;
    if (at - firstSignalAt >= SAME_WISH_MS) io.exitNow(EXIT.interrupted);
    stop();
  });
  try {
    const server = await runServer(config, { out: io.out, err: io.err });
    io.out(startText(version(), server, resolve(config.dataDir), config));
    for (const notice of server.notices) io.out(`\n${notice}\n`);
    if (server.firstStart) io.out(firstStartText(server, server.firstStart));
    await stopped;
    io.err('Stopping: calls under way are finished first. Press Ctrl-C again to end at once.\n');
    await server.close();
  } finally {
    ignore();
  }
}
