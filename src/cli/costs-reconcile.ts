// `keygate costs reconcile`: the ledger beside a provider's own costs and usage (an export, or its API), and every
// difference with its likely cause.

import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { dollarText } from '../spend/reports/model.ts';
import type { Column } from '../spend/reports/provider-export.ts';
import type { Difference, LedgerDay, ProviderDay, Reconciliation } from '../spend/reports/reconcile.ts';
import { fetchLedger, type KeyOption, keyNames, keyOption, withKeyNames } from './costs-ledger.ts';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { listOption } from './options.ts';
import { printJson, printTable } from './print.ts';
import { Server, serverUrl } from './server.ts';
import { count, money, printCsv } from './usage-chart.ts';

interface Options {
  readonly provider: readonly string[];
  readonly file?: string;
  readonly api?: string;
  readonly adminKey?: string;
  readonly days: number;
  readonly key?: readonly KeyOption[];
  readonly providerAccount?: readonly string[];
  readonly column?: { readonly [C in Column]?: string };
  readonly tolerance: number;
  readonly json?: true;
  readonly csv?: true;
}

const DAY = 86_400;
const MOST_DAYS = 400;
/** Keys of the provider's that are named to people at most. */
const SHOWN_KEYS = 10;
const COLUMN_NAMES = [
  'date',
  'model',
  'line_item',
  'cost',
  'requests',
  'input',
  'output',
  'project',
  'key',
] as const;

export function addReconcile(costs: Command, io: Io): void {
  costs
    .command('reconcile')
    .description('compare the costs here with what a provider says it billed')
    .addOption(
      listOption('--provider <name>', 'the provider, as keygate.yaml calls it').makeOptionMandatory(),
    )
    .option('--file <csv>', "the provider's own export of costs or usage")
    .option('--api <url>', "the provider's own API instead, such as https://api.openai.com/v1")
    .option('--admin-key <reference>', "where the provider's admin key is: env:NAME or file:/path")
    .option('--days <n>', 'with --api: so many whole days up to yesterday', dayCount, 7)
    .option(
      '--key <name=id>',
      "compare by key: PROVIDER=ID or PROVIDER/PROJECT=ID, with the provider's id of it (repeatable)",
      keyOption,
    )
    .addOption(listOption('--provider-account <id>', 'only what this key or project of the provider’s used'))
    .option(
      '--column <what=name>',
      `a column of the export by its name (repeatable): ${COLUMN_NAMES.join(', ')}`,
      column,
    )
    .option('--tolerance <percent>', 'how far two numbers may be apart and agree', percent, 0.5)
    .option('--json', 'print the differences as JSON')
    .option('--csv', 'print the differences as CSV')
    .addHelpText(
      'after',
      `
Days are of UTC. The exports of OpenAI (costs, completions usage) and Anthropic (costs, usage) are known by their
columns; of any other, name them. A key is a credential that keygate holds at the provider: its own of keygate.yaml, or
a project's own. Without --key, all keys are compared together.

Examples:
  keygate costs reconcile --provider openai --file cost_2026-11.csv
  keygate costs reconcile --provider openai --file cost.csv --provider-account proj_gateway
  keygate costs reconcile --provider openai --file cost.csv --key openai=key_1 --key "openai/Search team=key_2"
  keygate costs reconcile --provider openai --api https://api.openai.com/v1 --admin-key env:OPENAI_BILLING_KEY
  keygate costs reconcile --provider other --file bill.csv --column date=Day --column "cost=Amount (USD)"`,
    )
    .action(async (_own: unknown, command: Command) => {
      // `costs` has a --json and a --csv too, and takes them wherever they stand.
      const options = command.optsWithGlobals<Options>();
      // The reader of CSV is only of use here.
      const { reconcile } = await import('../spend/reports/reconcile.ts');
      const names = await keyNames(io, options.provider, options.key ?? []);
      const rows = await providerDays(io, options);
      if (names === null) tellKeys(io, rows);
      const provider = withKeyNames(rows, names);
      const ledger = await fetchLedger(io, options.provider, rangeOf(io, options, rows), names);
      print(io, options, reconcile(ledger, provider, options.tolerance / 100));
    });
}

async function providerDays(io: Io, options: Options): Promise<ProviderDay[]> {
  if ((options.file === undefined) === (options.api === undefined))
    throw new CommandError(EXIT.usage, 'Give either --file with an export, or --api with --admin-key.');
  if (options.file !== undefined) {
    const { readExport } = await import('../spend/reports/provider-export.ts');
    return readExport(readFile(io, options.file), options.file, {
      ...(options.column && { columns: options.column }),
      ...(options.providerAccount && { accounts: options.providerAccount }),
    });
  }
  const { readProviderApi } = await import('../spend/reports/provider-api.ts');
  const base = serverUrl(options.api ?? '', '--api');
  const server = new Server(base, secretBehind(io, options.adminKey));
  return await readProviderApi((path) => server.get(`/v1${path}`, z.unknown()), {
    ...wholeDays(io, options),
    accounts: options.providerAccount ?? [],
  });
}

/** A key on the command line would be seen by everybody on the machine, and kept in the shell's history. */
function secretBehind(io: Io, reference = ''): string {
  const [, scheme, rest = ''] = /^(env|file):(.+)$/.exec(reference) ?? [];
  const text = scheme === 'env' ? io.env[rest] : scheme === 'file' ? readFile(io, rest) : undefined;
  if (text !== undefined && /^[\x21-\x7e]+$/.test(text.trim())) return text.trim();
  throw new CommandError(
    EXIT.configuration,
    'The provider’s admin key is given by reference, --admin-key env:NAME or file:/path, and must be there.',
  );
}

function dayCount(text: string): number {
  const value = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > MOST_DAYS) throw new InvalidArgumentError(`It must be from 1 to ${MOST_DAYS}.`);
  return value;
}

function column(text: string, before: Options['column'] = {}): Options['column'] {
  const [what = '', ...name] = text.split('=');
  const known = COLUMN_NAMES.find((each) => each === what);
  if (known === undefined || name.join('=') === '')
    throw new InvalidArgumentError(
      `It must be one of ${COLUMN_NAMES.join(', ')}, "=" and the column's name.`,
    );
  return { ...before, [known]: name.join('=') };
}

function percent(text: string): number {
  const value = /^\d{1,2}(\.\d{1,4})?$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value)) throw new InvalidArgumentError('It must be a per cent from 0 to 99, such as 0.5.');
  return value;
}

function readFile(io: Io, path: string): string {
  try {
    return io.readFile(path);
  } catch {
    throw new CommandError(EXIT.usage, `${path} cannot be read: check the path.`);
  }
}

function wholeDays(io: Io, { days }: Options): { readonly startTime: number; readonly endTime: number } {
  const today = Math.floor(io.now() / (DAY * 1000)) * DAY;
  return { startTime: today - days * DAY, endTime: today };
}

/** The days to compare, in Unix seconds: those that the API was asked for, or every day of the export. */
function rangeOf(io: Io, options: Options, provider: readonly ProviderDay[]) {
  if (options.file === undefined) return wholeDays(io, options);
  const days = provider.map(({ day }) => day).sort();
  const [first, last] = [days[0], days.at(-1)];
  if (first === undefined || last === undefined)
    throw new CommandError(EXIT.usage, 'The export has no rows: export the days that are to be compared.');
  const startTime = Date.parse(first) / 1000;
  const endTime = Date.parse(last) / 1000 + DAY;
  if (endTime - startTime > MOST_DAYS * DAY)
    throw new CommandError(
      EXIT.usage,
      `The export covers more than ${MOST_DAYS} days: compare a part at a time.`,
    );
  return { startTime, endTime };
}

/** Which keys the provider has, for whoever wants them told apart and does not know their ids. */
function tellKeys(io: Io, provider: readonly ProviderDay[]): void {
  const costs = new Map<string, bigint>();
  for (const { key, nano } of provider) if (key !== '') costs.set(key, (costs.get(key) ?? 0n) + (nano ?? 0n));
  if (costs.size < 2) return;
  const dearest = [...costs].sort(([, a], [, b]) => (a < b ? 1 : -1)).slice(0, SHOWN_KEYS);
  const shown = dearest.map(([key, nano]) => `${key} (${money(nano)})`).join(', ');
  const rest = costs.size > SHOWN_KEYS ? `, and ${costs.size - SHOWN_KEYS} more` : '';
  io.err(
    `The provider has ${costs.size} keys here: ${shown}${rest}. They are compared together; --key tells them apart.\n`,
  );
}

function print(io: Io, options: Options, found: Reconciliation): void {
  if (options.json) return printJson(io, jsonOf(found));
  if (options.csv) {
    return printCsv(io, [
      [
        'day',
        'model',
        'key',
        'ledger_usd',
        'provider_usd',
        'ledger_input_tokens',
        'provider_input_tokens',
        'cause',
        'because',
      ],
      ...found.differences.map((each) => [
        each.day,
        each.model,
        each.key,
        dollarText(each.ledger?.nano ?? 0n),
        each.provider?.nano == null ? '' : dollarText(each.provider.nano),
        each.ledger?.input ?? 0,
        each.provider?.input ?? '',
        each.cause,
        each.because,
      ]),
    ]);
  }
  if (found.differences.length > 0) {
    printTable(
      io,
      ['DAY', 'MODEL', ...(options.key ? ['KEY'] : []), 'HERE', 'PROVIDER', 'DIFFERENCE', 'LIKELY CAUSE'],
      found.differences.map((each) => [
        each.day,
        each.model,
        ...(options.key ? [each.key] : []),
        ...sides(each),
        each.because,
      ]),
    );
    io.out('\n');
  }
  const { differences, agreed } = found;
  io.out(
    `${agreed} of ${agreed + differences.length} days of ${options.key ? 'keys and models' : 'models'} agree within ${options.tolerance} %. ` +
      `Here ${money(found.ledgerNano)}, provider ${money(found.providerNano)}.\n`,
  );
}

/** Costs, where the provider states them; otherwise tokens. */
function sides({ ledger, provider, nano }: Difference): string[] {
  if (nano !== null)
    return [ledger ? money(ledger.nano) : '', provider ? money(provider.nano ?? 0n) : '', money(nano)];
  const tokens = (side: { input: number | null; output: number | null } | null) =>
    (side?.input ?? 0) + (side?.output ?? 0);
  return [
    `${count(tokens(ledger))} tokens`,
    `${count(tokens(provider))} tokens`,
    `${count(tokens(provider) - tokens(ledger))}`,
  ];
}

function jsonOf(found: Reconciliation): unknown {
  const side = (one: LedgerDay | ProviderDay | null) =>
    one && { ...one, nano: undefined, cost_usd: one.nano === null ? null : dollarText(one.nano) };
  return {
    object: 'keygate.reconciliation',
    agreed: found.agreed,
    ledger_usd: dollarText(found.ledgerNano),
    provider_usd: dollarText(found.providerNano),
    differences: found.differences.map(({ day, model, key, ledger, provider, nano, cause, because }) => ({
      day,
      model,
      key,
      difference_usd: nano === null ? null : dollarText(nano),
      cause,
      because,
      ledger: side(ledger),
      provider: side(provider),
    })),
  };
}
