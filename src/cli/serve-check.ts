// `keygate serve --check`: prints the effective configuration.

import { describe } from '../config/describe.ts';
import type { Loaded } from '../config/load.ts';
import type { Io } from './io.ts';
import { printJson, printTable } from './print.ts';

export function check(io: Io, loaded: Loaded, json: boolean): void {
  const described = describe(loaded);
  if (json) return printJson(io, described);
  const { settings, providers, models, notices } = described;
  printTable(
    io,
    ['SETTING', 'VALUE', 'FROM'],
    settings.map(({ setting, value, from }) => [setting, value ?? '', from]),
  );
  io.out('\n');
  if (providers.length === 0) io.out('No provider: only the sandbox answers.\n');
  else {
    printTable(
      io,
      ['PROVIDER', 'BASE URL', 'CREDENTIAL', 'MODELS', 'PRIORITY', 'ENVIRONMENTS'],
      providers.map((one) => [
        one.name,
        one.base_url,
        one.credential,
        one.models.join(', '),
        String(one.priority),
        environmentsText(one.environments),
      ]),
    );
  }
  if (models.length > 0) {
    io.out('\n');
    printTable(
      io,
      ['MODEL', 'TARGETS', 'ENVIRONMENTS'],
      models.map(({ name, targets, environments }) => [
        name,
        targets.join(', '),
        environmentsText(environments),
      ]),
    );
  }
  for (const notice of notices) io.err(`Note: ${notice}\n`);
}

function environmentsText(environments: readonly string[] | null): string {
  return environments?.join(', ') ?? 'all';
}
