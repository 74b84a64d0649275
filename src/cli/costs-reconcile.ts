// `keygate costs reconcile`: the ledger beside a provider's exported costs or usage, and every difference with its
// likely cause.

import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { dollarText } from '../spend/reports/model.ts';
import type { Column } from '../spend/reports/provider-export.ts';
import type { Difference, LedgerDay, ProviderDay, Reconciliation } from '../spend/reports/reconcile.ts';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { listOption } from './options.ts';
import { printJson, printTable } from './print.ts';
import { adminServer, Server, serverUrl } from './server.ts';
import { count, money, printCsv } from './usage-chart.ts';
import { type Bucket, fetchBuckets, nanoOf, timeText } from './usage-report.ts';

interface Options {
  readonly provider: string;
  readonly file?: string;
  readonly api?: string;
  readonly adminKey?: string;
  readonly days: number;
  readonly providerAccount?: readonly string[];
  readonly column?: { readonly [C in Column]?: string };
  readonly tolerance: number;
  readonly json?: true;
  readonly csv?: true;
}

const DAY = 86_400;
const MOST_DAYS = 400;
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
    .requiredOption('--provider <name>', 'the provider, as keygate.yaml calls it')
    .option('--file <csv>', "the provider's own export of costs or usage")
    .option('--api <url>', "the provider's own API instead, such as https://api.openai.com/v1")
    .option('--admin-key <reference>', "where the provider's admin key is: env:NAME or file:/path")
    .option('--days <n>', 'with --api: so many whole days up to yesterday', dayCount, 7)
    .addOption(
      listOption(
        '--provider-account <id>',
        "only the export's rows of this key or project of the provider's",
      ),
    )
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
columns; of any other, name them.

Examples:
  keygate costs reconcile --provider openai --file cost_2026-11.csv
  keygate costs reconcile --provider openai --file cost.csv --provider-account proj_gateway
  keygate costs reconcile --provider openai --api https://api.openai.com/v1 --admin-key env:OPENAI_BILLING_KEY
  keygate costs reconcile --provider other --file bill.csv --column date=Day --column "cost=Amount (USD)"`,
    )
    .action(async (_own: unknown, command: Command) => {
      // `costs` has a --json and a --csv too, and takes them wherever they stand.
      const options = command.optsWithGlobals<Options>();
      // The reader of CSV is only of use here.
      const { reconcile } = await import('../spend/reports/reconcile.ts');
      const provider = await providerDays(io, options);
      const ledger = await fetchLedger(io, options.provider, provider);
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
  const today = Math.floor(io.now() / (DAY * 1000)) * DAY;
  return await readProviderApi((path) => server.get(`/v1${path}`, z.unknown()), {
    startTime: today - options.days * DAY,
    endTime: today,
    projects: options.providerAccount ?? [],
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

/** The ledger of every day of the export. */
async function fetchLedger(io: Io, name: string, provider: readonly ProviderDay[]): Promise<LedgerDay[]> {
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
  const buckets = await fetchBuckets(adminServer(io), '/v1/keygate/usage', {
    startTime,
    endTime,
    width: '1d',
    groups: ['model'],
    filters: { 'providers[]': name },
  });
  if (buckets.every(({ results }) => results.length === 0)) {
    io.err(
      `keygate has no calls of a provider called "${name}" on these days: is that its name in keygate.yaml?\n`,
    );
  }
  return buckets.flatMap(ledgerDays);
}

function ledgerDays(bucket: Bucket): LedgerDay[] {
  return bucket.results.map((result) => ({
    day: timeText(bucket.start_time, false),
    model: result.model ?? '',
    nano: nanoOf(result.cost.amount),
    requests: result.num_requests,
    input: result.input_tokens,
    output: result.output_tokens,
    unpriced: result.num_unpriced_requests,
    cut: result.num_cut_requests,
    counted: result.num_counted_requests,
    failed: result.num_failed_requests,
  }));
}

function print(io: Io, options: Options, found: Reconciliation): void {
  if (options.json) return printJson(io, jsonOf(found));
  if (options.csv) {
    return printCsv(io, [
      [
        'day',
        'model',
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
      ['DAY', 'MODEL', 'HERE', 'PROVIDER', 'DIFFERENCE', 'LIKELY CAUSE'],
      found.differences.map((each) => [each.day, each.model, ...sides(each), each.because]),
    );
    io.out('\n');
  }
  const { differences, agreed } = found;
  io.out(
    `${agreed} of ${agreed + differences.length} days of models agree within ${options.tolerance} %. ` +
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
    differences: found.differences.map(({ day, model, ledger, provider, nano, cause, because }) => ({
      day,
      model,
      difference_usd: nano === null ? null : dollarText(nano),
      cause,
      because,
      ledger: side(ledger),
      provider: side(provider),
    })),
  };
}
