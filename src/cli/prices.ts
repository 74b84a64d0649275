// `keygate prices …`: what models cost and who says so, what is amiss with the lists, and the import of a newer one.

import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { limitOption } from './options.ts';
import { printJson, printTable, when } from './print.ts';
import { adminServer } from './server.ts';

const PRICES = '/v1/keygate/prices';

const Row = z.looseObject({
  provider: z.string(),
  models: z.array(z.string()),
  tier: z.string(),
  above: z.number(),
  from: z.number().nullable(),
  prices: z.array(z.object({ column: z.string(), dollars: z.string(), unit: z.string() })),
  source: z.string(),
  date: z.string(),
});
const Rows = z.looseObject({ data: z.array(Row), has_more: z.boolean(), version: z.string() });
const Findings = z.looseObject({
  data: z.array(z.object({ level: z.enum(['error', 'warning']), model: z.string(), message: z.string() })),
});
const Lists = z.looseObject({
  data: z.array(
    z.looseObject({ id: z.string(), source: z.string(), date: z.string(), imported_at: z.number() }),
  ),
});
const Imported = z.looseObject({
  id: z.string().nullable(),
  source: z.string(),
  date: z.string(),
  notes: z.array(z.string()),
  changes: z.array(
    z.object({
      provider: z.string(),
      model: z.string(),
      tier: z.string(),
      above: z.number(),
      column: z.string(),
      unit: z.string(),
      before: z.string().nullable(),
      after: z.string().nullable(),
    }),
  ),
  changed: z.number(),
});

interface Json {
  readonly json?: true;
}

interface ListOptions extends Json {
  readonly provider?: string;
  readonly at?: string;
  readonly limit: number;
}

export function addPrices(program: Command, io: Io): void {
  const prices = program
    .command('prices')
    .description('what models cost: see the lists, check them, import a newer one')
    .addHelpText(
      'after',
      `
The configuration decides first, then imported lists, the newest first, then the one that came with keygate.

Examples:
  keygate prices list gpt-5-mini               what it costs, and who says so
  keygate prices list gpt-5-mini --at 2026-08-01
  keygate prices list --provider openai
  keygate prices check                         models without a price, rows that never match
  keygate prices import ours.json --dry-run    what would change
  keygate prices import data.json              a newer copy of pydantic/genai-prices' data
  keygate prices lists
  keygate prices drop prices_…`,
    );
  addList(prices, io);
  addCheck(prices, io);
  addImport(prices, io);
  addLists(prices, io);
}

function addList(prices: Command, io: Io): void {
  prices
    .command('list')
    .description('what a model costs by the list that decides; without a model, what the lists hold')
    .argument('[model]', 'the model')
    .option('--provider <name>', 'only of this provider')
    .option('--at <date>', 'as of this day or moment (ISO 8601) instead of now')
    .addOption(limitOption())
    .option('--json', 'print the list as JSON')
    .action(async (model: string | undefined, { provider, at, limit, json }: ListOptions) => {
      const query = new URLSearchParams({ limit: String(Math.min(limit, 1_000)) });
      if (model !== undefined) query.set('model', model);
      if (provider !== undefined) query.set('provider', provider);
      if (at !== undefined) query.set('at', String(momentOf(at)));
      const rows = await adminServer(io).get(`${PRICES}?${query}`, Rows);
      if (json) return printJson(io, rows);
      if (rows.data.length === 0) {
        io.out(
          model === undefined ? 'No list holds a price of it.\n' : `No list has a price for ${model}.\n`,
        );
        return;
      }
      printTable(
        io,
        ['PROVIDER', 'MODEL', 'TIER', 'INPUT ABOVE', 'DOLLARS', 'SINCE', 'SOURCE', 'DATE'],
        rows.data.map((row) => [
          row.provider,
          row.models.join(' '),
          row.tier,
          row.above === 0 ? '' : row.above.toLocaleString('en-US'),
          row.prices.map(({ column, dollars, unit }) => `${column} ${dollars}/${unit}`).join(', '),
          when(row.from, ''),
          row.source,
          row.date.startsWith('1970') ? '' : row.date,
        ]),
      );
      if (rows.has_more) io.err(`Only the first ${limit} are shown: --limit shows more, up to 1,000.\n`);
    });
}

function addCheck(prices: Command, io: Io): void {
  prices
    .command('check')
    .description('find models without a price and rows that do not do what they seem to')
    .option('--json', 'print the findings as JSON')
    .action(async ({ json }: Json) => {
      const findings = await adminServer(io).get(`${PRICES}/check`, Findings);
      const errors = findings.data.filter(({ level }) => level === 'error').length;
      if (json) printJson(io, findings);
      else if (findings.data.length === 0)
        io.out('Every model that is served or was called lately has a price.\n');
      else
        printTable(
          io,
          ['', 'MODEL', 'FINDING'],
          findings.data.map(({ level, model, message }) => [level, model, message]),
        );
      if (errors > 0)
        throw new CommandError(EXIT.refused, `${errors} of the models that are served have no price.`);
    });
}

function addImport(prices: Command, io: Io): void {
  prices
    .command('import')
    .description('use a price list from a file: keygate’s form, or genai-prices’ data.json')
    .argument('<file>', 'the file')
    .option('--dry-run', 'only show what would change')
    .option('--json', 'print the object as JSON')
    .action(async (file: string, { dryRun, json }: Json & { readonly dryRun?: true }) => {
      const text = readText(io, file);
      const query = new URLSearchParams({ name: basename(file), dry_run: dryRun ? 'true' : 'false' });
      const server = adminServer(io);
      const done = await server.postText(
        `${PRICES}/import?${query}`,
        'application/json',
        text,
        Imported,
        120_000,
      );
      if (json) return printJson(io, done);
      for (const note of done.notes) io.err(`Note: ${note}\n`);
      if (done.changes.length > 0)
        printTable(
          io,
          ['PROVIDER', 'MODEL', 'TIER', 'INPUT ABOVE', 'PRICE', 'BEFORE', 'AFTER', 'DOLLARS FOR'],
          done.changes.map((change) => [
            change.provider,
            change.model,
            change.tier,
            change.above === 0 ? '' : change.above.toLocaleString('en-US'),
            change.column,
            change.before ?? 'none',
            change.after ?? 'none',
            change.unit,
          ]),
        );
      if (done.changed > done.changes.length)
        io.err(`${done.changed - done.changes.length} further changes are not shown.\n`);
      const many = done.changed === 1 ? '1 price' : `${done.changed} prices`;
      io.out(
        done.id === null
          ? `${many} would change. Nothing was imported.\n`
          : `${many} changed: ${done.id} (${done.source}, ${done.date}) holds from the next call on.\n`,
      );
    });
}

function addLists(prices: Command, io: Io): void {
  prices
    .command('lists')
    .description('the imported lists, the one that decides first, first')
    .option('--json', 'print the list as JSON')
    .action(async ({ json }: Json) => {
      const lists = await adminServer(io).get(`${PRICES}/lists`, Lists);
      if (json) return printJson(io, lists);
      printTable(
        io,
        ['ID', 'SOURCE', 'DATE', 'IMPORTED'],
        lists.data.map(({ id, source, date, imported_at: at }) => [id, source, date, when(at, '')]),
      );
    });
  prices
    .command('drop')
    .description('take an imported list away again')
    .argument('<id>', 'the list')
    .action(async (id: string) => {
      await adminServer(io).delete(`${PRICES}/lists/${encodeURIComponent(id)}`, z.looseObject({}));
      io.out(`${id} is taken away.\n`);
    });
}

function readText(io: Io, file: string): string {
  try {
    return io.readFile(resolve(io.cwd, file));
  } catch {
    throw new CommandError(EXIT.usage, `The file ${file} cannot be read.`);
  }
}

/** Unix seconds. */
function momentOf(text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms))
    throw new CommandError(
      EXIT.usage,
      `--at ${text} is no date: write it as 2026-11-01 or 2026-11-01T12:00Z.`,
    );
  return Math.floor(ms / 1000);
}
