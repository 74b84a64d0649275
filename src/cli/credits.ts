// `keygate credits …`: how the organization pays for its calls, and its prepaid credits.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { parseDuration } from '../config/units.ts';
import type { Io } from './io.ts';
import { limitOption } from './options.ts';
import { printFields, printJson, printTable, when } from './print.ts';
import { adminServer } from './server.ts';

const CREDITS = '/v1/keygate/credits';
const GRANTS = `${CREDITS}/grants`;

const Credits = z.looseObject({
  billing: z.enum(['prepaid', 'postpaid', 'undeclared']),
  available: z.string(),
  reserved: z.string(),
  next_expiry: z.object({ at: z.number(), amount: z.string() }).nullable(),
});
type Credits = z.infer<typeof Credits>;

const Grant = z.looseObject({
  id: z.string(),
  amount: z.number(),
  used: z.string(),
  left: z.string(),
  expired: z.string(),
  status: z.string(),
  note: z.string(),
  reference: z.string().nullable(),
  created_at: z.number(),
  expires_at: z.number().nullable(),
});
type Grant = z.infer<typeof Grant>;

interface GrantOptions {
  readonly expires?: number;
  readonly note?: string;
  readonly reference?: string;
  readonly json?: true;
}

interface Json {
  readonly json?: true;
}

export function addCredits(program: Command, io: Io): void {
  const credits = program
    .command('credits')
    .description('how calls are paid: post-paid, or by credits that are granted')
    .addHelpText(
      'after',
      `
Calls to providers are refused until it is said how they are paid. Amounts are US dollars.

Examples:
  keygate credits                          how this organization pays, and what is left
  keygate credits postpaid                 the providers' bills are paid, whatever they come to
  keygate credits grant 20                 prepaid: calls may cost 20 dollars in all
  keygate credits grant 100 --expires 90d --note "spring budget" --reference invoice-117
  keygate credits list
  keygate credits revoke grant_…`,
    );
  credits
    .command('show', { isDefault: true })
    .description('show how the organization pays, and what is left')
    .option('--json', 'print the object as JSON')
    .action(async (options: Json) => {
      show(io, await adminServer(io).get(CREDITS, Credits), options);
    });
  for (const [name, about] of [
    ['postpaid', 'declare that calls are paid by whoever runs this, whatever they cost'],
    ['prepaid', 'declare that calls are paid from credits that are granted'],
  ] as const) {
    credits
      .command(name)
      .description(about)
      .option('--json', 'print the object as JSON')
      .action(async (options: Json) => {
        show(io, await adminServer(io).post(CREDITS, { billing: name }, Credits), options);
      });
  }
  addGrant(credits, io);
  addList(credits, io);
  addRevoke(credits, io);
}

function addGrant(credits: Command, io: Io): void {
  credits
    .command('grant')
    .description('grant credits; the first grant makes the organization prepaid')
    .argument('<dollars>', 'how much, such as 20 or 12.50', parseDollars)
    .addOption(
      new Option('--expires <time>', 'how long it holds, such as 90d or 8760h (default: for ever)').argParser(
        (text) => {
          const ms = parseDuration(text);
          if (ms === undefined || ms < 1000)
            throw new InvalidArgumentError('It must be a time, such as 90d.');
          return ms;
        },
      ),
    )
    .option('--note <text>', 'what it is for')
    .option('--reference <text>', 'your own name for it, such as an invoice: it is granted once')
    .option('--json', 'print the grant as JSON')
    .action(async (cents: number, { expires, note, reference, json }: GrantOptions) => {
      const server = adminServer(io);
      const body = {
        amount: cents,
        ...(expires === undefined ? {} : { expires_at: Math.floor((io.now() + expires) / 1000) }),
        ...(note === undefined ? {} : { note }),
        ...(reference === undefined ? {} : { reference }),
      };
      const grant = await server.post(GRANTS, body, Grant);
      if (json) return printJson(io, grant);
      io.out(`Granted ${dollarsOfCents(grant.amount)} as ${grant.id}${until(grant)}.\n`);
    });
}

function addList(credits: Command, io: Io): void {
  credits
    .command('list')
    .description('list the grants, the newest first')
    .addOption(limitOption())
    .option('--json', 'print the list as JSON')
    .action(async (options: Json & { readonly limit: number }) => {
      const list = await adminServer(io).list(GRANTS, Grant, options.limit);
      if (options.json) return printJson(io, { object: 'list', ...list });
      printTable(
        io,
        ['ID', 'AMOUNT', 'USED', 'LEFT', 'EXPIRED', 'STATUS', 'GRANTED', 'EXPIRES', 'REFERENCE', 'NOTE'],
        list.data.map((grant) => [
          grant.id,
          dollarsOfCents(grant.amount),
          `${money(grant.used)}`,
          `${money(grant.left)}`,
          `${money(grant.expired)}`,
          grant.status,
          when(grant.created_at, ''),
          when(grant.expires_at, 'never'),
          grant.reference ?? '',
          grant.note,
        ]),
      );
      if (list.has_more) io.err(`Only the first ${options.limit} are shown: --limit shows more.\n`);
    });
}

function addRevoke(credits: Command, io: Io): void {
  credits
    .command('revoke')
    .description('take away what is left of a grant')
    .argument('<id>', 'the grant')
    .option('--json', 'print the grant as JSON')
    .action(async (id: string, options: Json) => {
      const path = `${GRANTS}/${encodeURIComponent(id)}/revoke`;
      const grant = await adminServer(io).post(path, {}, Grant);
      if (options.json) return printJson(io, grant);
      io.out(
        `${grant.id} is ${grant.status}: ${money(grant.used)} of it was used, ${money(grant.expired)} taken away.\n`,
      );
    });
}

function show(io: Io, credits: Credits, options: Json): void {
  if (options.json) return printJson(io, credits);
  const { billing, available, reserved, next_expiry: next } = credits;
  if (billing === 'undeclared') {
    io.out(
      'Nobody said yet how this organization pays, so calls to providers are refused.\n' +
        'Say it with `keygate credits postpaid`, or grant credits with `keygate credits grant 20`.\n',
    );
    return;
  }
  if (billing === 'postpaid') {
    io.out('Post-paid: calls are paid by whoever runs this server, whatever they cost.\n');
    return;
  }
  printFields(io, [
    ['Billing', 'prepaid'],
    ['Left', `${money(available)}`],
    ['Reserved by calls under way', `${money(reserved)}`],
    ['Expires next', next === null ? 'nothing' : `${money(next.amount)} at ${when(next.at, '')}`],
  ]);
}

function until({ expires_at: expires }: Grant): string {
  return expires === null ? '' : `, until ${when(expires, '')}`;
}

/** Dollars as the API gives them, with their cents. */
function money(text: string): string {
  const [whole = '0', rest = ''] = text.replace('-', '').split('.');
  return `${text.startsWith('-') ? '-' : ''}$${whole}.${rest.padEnd(2, '0')}`;
}

/** Whole cents. */
function parseDollars(text: string): number {
  const parsed = /^\$?(\d{1,10})(?:\.(\d{1,2}))?$/.exec(text);
  if (parsed === null)
    throw new InvalidArgumentError('It must be an amount of dollars, such as 20 or 12.50.');
  return Number(parsed[1]) * 100 + Number((parsed[2] ?? '').padEnd(2, '0'));
}

function dollarsOfCents(cents: number): string {
  return (cents / 100).toLocaleString('en-US', { style: 'currency', currency: 'USD' });
}
