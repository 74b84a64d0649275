// A sheet: the sums of a batch as texts of JSON, made on the roll-up's thread so that the main thread only passes them
// on to PostgreSQL: one list of rows a statement, each row a list in the order of the columns.

import type { Folder, Series, Sums } from './fold.ts';
import { SUM_NAMES, WIDTHS, type Width } from './model.ts';

/** Rows that one statement adds at most. */
const STATEMENT_ROWS = 4000;

/** What is to be added to the tables: texts of JSON lists, each for one statement. */
export interface Sheet {
  /** [key, ...SERIES_NAMES] */
  readonly series: readonly string[];
  /** [start, series key, ...SUM_NAMES, cost] */
  readonly sums: readonly { readonly table: SumsTable; readonly rows: string }[];
  /** [start, series key, kind, quantity, cost] */
  readonly costs: readonly { readonly table: CostsTable; readonly rows: string }[];
}

type SumsTable = (typeof WIDTHS)[Width]['table' | 'totals'];
type CostsTable = 'usage_costs' | 'usage_costs_totals';

interface Writing {
  readonly series: string[];
  readonly sums: Sheet['sums'][number][];
  readonly costs: Sheet['costs'][number][];
}

export function sheetOf(folder: Folder): Sheet {
  const sheet: Writing = { series: [], sums: [], costs: [] };
  writeRows(sheet, folder.series, 'table', 'usage_costs');
  writeRows(sheet, folder.totals(), 'totals', 'usage_costs_totals');
  return sheet;
}

function writeRows(
  sheet: Writing,
  all: readonly Series[],
  level: 'table' | 'totals',
  costsTable: CostsTable,
): void {
  const rows: { [W in Width]: string[] } = { '1m': [], '1h': [], '1d': [] };
  const costs: string[] = [];
  const names: string[] = [];
  for (const series of all) {
    const key = series.key();
    names.push(JSON.stringify([key, ...series.fields]));
    for (const width of ['1m', '1h', '1d'] as const)
      for (const [start, sums] of series.sums(width)) rows[width].push(rowText(start, key, sums));
    for (const [start, lines] of series.days)
      for (const { kind, quantity, cost } of lines)
        costs.push(`[${start},"${key}","${kind}",${quantity},${cost}]`);
  }
  sheet.series.push(...statements(names));
  for (const width of ['1m', '1h', '1d'] as const)
    for (const text of statements(rows[width])) sheet.sums.push({ table: WIDTHS[width][level], rows: text });
  for (const text of statements(costs)) sheet.costs.push({ table: costsTable, rows: text });
}

function rowText(start: number, key: string, sums: Sums): string {
  return `[${start},"${key}",${SUM_NAMES.map((name) => sums[name]).join()},${sums.cost}]`;
}

function statements(rows: readonly string[]): string[] {
  const texts: string[] = [];
  for (let at = 0; at < rows.length; at += STATEMENT_ROWS)
    texts.push(`[${rows.slice(at, at + STATEMENT_ROWS).join(',')}]`);
  return texts;
}
