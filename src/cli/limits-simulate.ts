// `keygate limits simulate`: what a table of limits would have refused, before it is saved.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { parse } from 'yaml';
import { z } from 'zod';
import { whyUnreadable } from '../config/secrets.ts';
import { tableOverDefault } from '../limits/table-over-default.ts';
import { TABLE_FIELDS } from '../limits/tables.ts';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { amount, poolCells } from './limits-pools.ts';
import { printJson, printTable } from './print.ts';
import { adminServer } from './server.ts';

interface Options {
  readonly against?: string;
  readonly days: number;
  readonly events?: string;
  readonly bare?: true;
  readonly json?: true;
}

const SIMULATE = '/v1/keygate/limits/simulate';
/** A simulation takes at most ten minutes. */
const ANSWER_MS = 660_000;
const MOST_DAYS = 400;
const ROWS = 20;

const Counts = { calls: z.number(), refused: z.number(), refused_tokens: z.number() };
const Simulation = z.looseObject({
  ...Counts,
  from: z.number().nullable(),
  to: z.number().nullable(),
  out_of_order: z.number(),
  unreadable_segments: z.number(),
  by_project: z.array(z.looseObject({ name: z.string(), ...Counts })),
  by_model: z.array(z.looseObject({ name: z.string(), ...Counts })),
  by_limit: z.array(
    z.looseObject({
      scope: z.string(),
      subject_id: z.string(),
      cover: z.string(),
      name: z.string(),
      dimension: z.string(),
      limit: z.number(),
      refused: z.number(),
    }),
  ),
  examples: z.array(z.looseObject({ request_id: z.string(), at: z.number(), message: z.string() })),
});
type Simulation = z.infer<typeof Simulation>;

export function addLimitsSimulate(limits: Command, io: Io): void {
  limits
    .command('simulate')
    .description('replay recorded calls against a table of limits and tell what it would have refused')
    .option(
      '--against <file>',
      'the proposed table: a YAML file with it, or with it under `limits:` (default: the one that holds)',
    )
    .addOption(
      new Option('--days <n>', "replay the server's own records of the last n days")
        .default(1)
        .argParser((text) => {
          const days = Number(text);
          if (!(days > 0 && days <= MOST_DAYS)) {
            throw new InvalidArgumentError(`It must be a number above 0, at most ${MOST_DAYS}.`);
          }
          return days;
        }),
    )
    .addOption(
      new Option(
        '--events <file>',
        'replay the calls of this NDJSON file instead, a JSON object a line',
      ).conflicts('days'),
    )
    .option('--bare', 'without the limits that were stated by `limits set` or the API')
    .option('--json', 'print the whole answer as JSON')
    .addHelpText(
      'after',
      `
A recorded call is charged what it used, at once; a refused one is not tried again.

A line of --events: {"at": 1790000000.5, "project_id": "proj_…", "model": "gpt-5-mini", "input_tokens": 900,
"output_tokens": 80}; where there are any also images, audio_seconds, api_key_id, service_account_id, request_id.
at is Unix time in seconds, or ISO 8601.

Examples:
  keygate limits simulate --against proposed.yaml --days 7
  keygate limits simulate --against keygate.yaml --events calls.ndjson --json`,
    )
    .action(async (options: Options) => {
      const proposal = {
        ...(options.against !== undefined && { table: readTable(io, options.against) }),
        ...(options.bare && { statements: 'leave_out' }),
      };
      const server = adminServer(io);
      const simulated =
        options.events === undefined
          ? await server.post(SIMULATE, { ...proposal, days: options.days }, Simulation, ANSWER_MS)
          : await server.postText(
              `${SIMULATE}/events`,
              'application/x-ndjson',
              `${JSON.stringify(proposal)}\n${readText(io, options.events)}`,
              Simulation,
              ANSWER_MS,
            );
      if (options.json) return printJson(io, simulated);
      print(io, simulated);
    });
}

/** The fields of the table that a file has, alone or among other settings under `limits:`. */
function readTable(io: Io, file: string): Record<string, unknown> {
  let parsed: unknown;
  const text = readText(io, file);
  try {
    parsed = parse(text);
  } catch {
    throw new CommandError(EXIT.configuration, `${file} is not valid YAML.`);
  }
  const whole = Group.safeParse(parsed);
  const limits = Group.safeParse(whole.data?.['limits'] ?? parsed);
  if (!whole.success || !limits.success) {
    throw new CommandError(EXIT.configuration, `${file} does not hold a table of limits.`);
  }
  const under = whole.data['limits'] !== undefined;
  // Beside the table, keygate.yaml has settings in this group.
  const table = under
    ? Object.fromEntries(
        TABLE_FIELDS.flatMap((field) => (field in limits.data ? [[field, limits.data[field]]] : [])),
      )
    : limits.data;
  // Said here, with the file's own places, before anything is sent.
  tableOverDefault(table, under ? 'limits' : file);
  return table;
}

const Group = z.record(z.string(), z.unknown());

function readText(io: Io, file: string): string {
  try {
    return io.readFile(file);
  } catch (error) {
    throw new CommandError(EXIT.configuration, `${file} ${whyUnreadable(error)}.`);
  }
}

function print(io: Io, simulated: Simulation): void {
  const { calls, refused, from, to } = simulated;
  if (from === null || to === null) {
    io.out('No call was recorded in this time.\n');
    return;
  }
  const share = calls === 0 ? 0 : (refused / calls) * 100;
  io.out(
    `${amount(calls)} calls from ${new Date(from).toISOString()} to ${new Date(to).toISOString()}: ` +
      `${amount(refused)} would have been refused (${share.toFixed(share < 1 && share > 0 ? 2 : 1)} %), ` +
      `with ${amount(simulated.refused_tokens)} tokens.\n`,
  );
  if (simulated.unreadable_segments > 0) {
    io.err(`${simulated.unreadable_segments} groups of records are damaged and were passed over.\n`);
  }
  if (simulated.out_of_order > 0) {
    io.err(`${amount(simulated.out_of_order)} calls came out of order and count as made when they came.\n`);
  }
  if (refused === 0) return;
  for (const [head, rows] of [
    ['PROJECT', simulated.by_project],
    ['MODEL', simulated.by_model],
  ] as const) {
    io.out('\n');
    printTable(
      io,
      [head, 'CALLS', 'REFUSED', 'REFUSED TOKENS'],
      rows
        .slice(0, ROWS)
        .map((row) => [row.name, amount(row.calls), amount(row.refused), amount(row.refused_tokens)]),
    );
  }
  io.out('\n');
  printTable(
    io,
    ['WHOSE', 'POOL', 'COUNTS', 'LIMIT', 'REFUSED'],
    simulated.by_limit
      .slice(0, ROWS)
      .map((limit) => [...poolCells(limit), amount(limit.limit), amount(limit.refused)]),
  );
  const [first] = simulated.examples;
  if (first !== undefined) io.out(`\nThe first, ${first.request_id}: ${first.message}\n`);
}
