// A provider's exported costs or usage, as CSV: which of its columns say what, and its rows by day, model and
// key.
//
// Providers name their columns each in their own way and change them; the known names are below, and `columns` names
// others. A row without an amount or a date that can be read is refused with its number, because a total with holes
// would be compared as if it were whole.

import { parse } from 'csv-parse/sync';
import { SetupError } from '../../platform/errors.ts';
import type { ProviderDay } from './reconcile.ts';

const MOST_BYTES = 64 * 1024 * 1024;

/** What a column can be, and how providers call it; compared in lower case, without anything but letters and digits. */
const KNOWN = {
  date: [
    'starttimeiso',
    'usagedateutc',
    'usagedate',
    'date',
    'day',
    'bucketstart',
    'starttime',
    'start',
    'timestamp',
  ],
  model: ['model', 'modelversion', 'modelname', 'snapshotid'],
  line_item: ['lineitem'],
  cost: ['amountvalue', 'costusd', 'cost', 'amount', 'costinusd', 'totalcost', 'spend', 'amountusd'],
  requests: ['nummodelrequests', 'requests', 'numrequests', 'nrequests', 'requestcount'],
  input: ['inputtokens', 'prompttokens', 'usageinputtokens', 'ncontexttokenstotal', 'inputtokenstotal'],
  output: [
    'outputtokens',
    'completiontokens',
    'usageoutputtokens',
    'ngeneratedtokenstotal',
    'outputtokenstotal',
  ],
  project: ['projectid', 'workspace', 'workspaceid', 'projectname', 'project'],
  key: ['apikeyid', 'apikey', 'apikeyname', 'keyid'],
} as const;

export type Column = keyof typeof KNOWN;
export const COLUMNS = Object.keys(KNOWN) as readonly Column[];

/** Parts of the input that some exports state instead of the whole; they are added up. */
const INPUT_PARTS = [
  'usageinputtokensnocache',
  'usageinputtokenscachewrite5m',
  'usageinputtokenscachewrite1h',
  'usageinputtokenscacheread',
];

export interface ExportOptions {
  /** Columns by name, where they are called something else. */
  readonly columns?: { readonly [C in Column]?: string };
  /** Only rows of these keys or projects of the provider's. */
  readonly accounts?: readonly string[];
}

/** @throws SetupError that says which column or row is wrong, and what to do */
export function readExport(text: string, name: string, options: ExportOptions = {}): ProviderDay[] {
  if (Buffer.byteLength(text) > MOST_BYTES)
    throw new SetupError(`${name} is larger than 64 MB: export less at once.`);
  const rows = parseCsv(text, name);
  const head = rows[0] ?? [];
  const at = columnsOf(head, name, options.columns ?? {});
  const parts =
    at.input === undefined ? INPUT_PARTS.map((part) => head.findIndex((cell) => plain(cell) === part)) : [];
  const inputParts = parts.filter((index) => index >= 0);
  const wanted = new Set(options.accounts ?? []);
  const days: DaySums = new Map();
  let known = false;
  for (const [index, row] of rows.entries()) {
    if (index === 0 || row.every((cell) => cell.trim() === '')) continue;
    const cell = (column: number | undefined) => (column === undefined ? '' : (row[column] ?? '').trim());
    const fail = (what: string): never => {
      throw new SetupError(`${name}, row ${index + 1}: ${what}.`);
    };
    const accounts = [cell(at.project), cell(at.key)].filter((account) => account !== '');
    if (wanted.size > 0 && !accounts.some((account) => wanted.has(account))) continue;
    known = true;
    const day = dayOf(cell(at.date)) ?? fail('the date cannot be read');
    const model = modelOf(cell(at.model), cell(at.line_item));
    const amount = at.cost === undefined ? null : (nanoOf(cell(at.cost)) ?? fail('the cost is no amount'));
    const number = (column: number | undefined) =>
      column === undefined ? null : (countOf(cell(column)) ?? fail(`${head[column]} is no count`));
    const input =
      inputParts.length > 0
        ? inputParts.reduce((sum, part) => sum + (countOf(cell(part)) ?? 0), 0)
        : number(at.input);
    const sums = dayIn(days, day, model, cell(at.key));
    if (amount !== null) sums.nano = (sums.nano ?? 0n) + amount;
    sums.requests = plus(sums.requests, number(at.requests));
    sums.input = plus(sums.input, input);
    sums.output = plus(sums.output, number(at.output));
    sums.accounts = [...new Set([...sums.accounts, ...accounts])];
  }
  if (wanted.size > 0 && !known)
    throw new SetupError(`${name} has no row of the keys or projects that were named: check their ids.`);
  return [...days.values()];
}

/** Rows as they are added up. */
export type DaySums = Map<string, { -readonly [K in keyof ProviderDay]: ProviderDay[K] }>;

/** The sums of a day, model and key of the provider's; new ones say nothing. */
export function dayIn(days: DaySums, day: string, model: string, key: string) {
  const place = `${day}\0${model}\0${key}`;
  const none = { nano: null, requests: null, input: null, output: null, accounts: [] };
  const sums = days.get(place) ?? { day, model, key, ...none };
  days.set(place, sums);
  return sums;
}

function parseCsv(text: string, name: string): string[][] {
  try {
    // Its shape: without `columns` each record is a list of texts.
    return parse(text, { bom: true, relax_column_count: true, skip_empty_lines: true });
  } catch (error) {
    const why = error instanceof Error ? error.message : 'unknown';
    throw new SetupError(`${name} is not CSV that can be read: ${why}`);
  }
}

function columnsOf(
  head: readonly string[],
  name: string,
  named: { readonly [C in Column]?: string },
): { readonly [C in Column]?: number } {
  const found: { [C in Column]?: number } = {};
  for (const column of COLUMNS) {
    const wanted = named[column];
    if (wanted !== undefined) {
      const index = head.indexOf(wanted);
      if (index < 0) throw new SetupError(`${name} has no column "${wanted}". It has: ${head.join(', ')}.`);
      found[column] = index;
      continue;
    }
    for (const known of KNOWN[column]) {
      const index = head.findIndex((cell) => plain(cell) === known);
      if (index >= 0) {
        found[column] = index;
        break;
      }
    }
  }
  const missing =
    found.date === undefined ? 'a date' : (found.model ?? found.line_item) === undefined ? 'a model' : null;
  if (missing !== null || (found.cost ?? found.input ?? found.output ?? found.requests) === undefined) {
    throw new SetupError(
      `${name} has no column that is known as ${missing ?? 'a cost or a count'}. It has: ${head.join(', ')}. ` +
        'Name it, for example with --column cost="Amount (USD)".',
    );
  }
  return found;
}

function plain(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]/g, '');
}

/** ISO dates and times, and Unix seconds; a date with an offset counts on its day of UTC. */
function dayOf(text: string): string | undefined {
  const iso = /^(\d{4}-\d{2}-\d{2})$/.exec(text);
  const ms = /^\d{9,11}$/.test(text)
    ? Number(text) * 1000
    : Date.parse(iso || /(Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text.replace(' ', 'T')}Z`);
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString().slice(0, 10);
}

/** A line item is `gpt-6.1-sol, input_tokens`, or the model alone. */
export function modelOf(model: string, lineItem: string): string {
  if (model !== '') return model;
  const at = lineItem.lastIndexOf(', ');
  return (at < 0 ? lineItem : lineItem.slice(0, at)) || '(none)';
}

/** Dollars as nano-dollars; finer is cut off, as an export's own arithmetic is finer than its bill. */
function nanoOf(text: string): bigint | undefined {
  const amount = text.replace(/^(-?)\s*\$\s*/, '$1').replace(/,(?=\d{3}(\D|$))/g, '');
  const parts = /^(-?)(\d{1,12})(?:\.(\d{1,40}))?(?:e-(\d{1,2}))?$/i.exec(amount);
  if (!parts) return text === '' ? 0n : undefined;
  const [, sign, whole = '0', fraction = '', exponent = '0'] = parts;
  const digits = `${'0'.repeat(Number(exponent))}${whole}`;
  const point = digits.length - Number(exponent);
  const all = `${digits.slice(point)}${fraction}`.padEnd(9, '0').slice(0, 9);
  const nano = BigInt(digits.slice(0, point)) * 1_000_000_000n + BigInt(all);
  return sign === '-' ? -nano : nano;
}

function countOf(text: string): number | undefined {
  if (text === '') return 0;
  const value = Number(text.replace(/,(?=\d{3}(\D|$))/g, ''));
  return Number.isFinite(value) && value >= 0 && value <= Number.MAX_SAFE_INTEGER
    ? Math.round(value)
    : undefined;
}

function plus(a: number | null, b: number | null): number | null {
  return b === null ? a : (a ?? 0) + b;
}
