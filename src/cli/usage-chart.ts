// Numbers for people: bars, amounts, counts with separators, and rows for a spreadsheet.

import { styleText } from 'node:util';
import { type Io, inColour } from './io.ts';

const BAR_CELLS = 24;
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar of the share that `value` has of `most`; every value above zero shows. */
export function bar(io: Io, value: number, most: number): string {
  if (value <= 0 || most <= 0) return '';
  const eighths = Math.max(1, Math.round((value / most) * BAR_CELLS * 8));
  const text = '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '');
  return inColour(io) ? styleText('cyan', text, { validateStream: false }) : text;
}

/** `1,234,567` */
export function count(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 1 });
}

/** Nano-dollars as `$1,234.56`; below a dollar as many decimals as are needed to tell it from nothing. */
export function money(nano: bigint): string {
  const sign = nano < 0n ? '-' : '';
  const amount = nano < 0n ? -nano : nano;
  const decimals = amount === 0n || amount >= 1_000_000_000n ? 2 : amount >= 10_000_000n ? 4 : 9;
  const unit = 10n ** BigInt(9 - decimals);
  const rounded = (amount + unit / 2n) / unit;
  const text = rounded.toString().padStart(decimals + 1, '0');
  const whole = Number(text.slice(0, -decimals)).toLocaleString('en-US');
  return `${sign}$${whole}.${text.slice(-decimals)}`;
}

/**
 * Rows of RFC 4180. Names come from callers: one that a spreadsheet would take for a formula is marked as text by an
 * apostrophe before it.
 */
export function printCsv(io: Io, rows: readonly (readonly (string | number)[])[]): void {
  for (const row of rows) io.out(`${row.map(csvCell).join(',')}\r\n`);
}

function csvCell(value: string | number): string {
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
