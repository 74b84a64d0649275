// Tables for people and JSON for programs.

import { styleText } from 'node:util';
import Table from 'cli-table3';
import { forTerminal, type Io, inColour } from './io.ts';

const NO_LINES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** Columns under their heads, aligned by what a terminal shows (wide characters count two), without lines. */
export function printTable(io: Io, head: readonly string[], rows: readonly (readonly string[])[]): void {
  printRows(io, [
    head.map((text) => (inColour(io) ? styleText('bold', text, { validateStream: false }) : text)),
    ...rows.map((row) => row.map((cell) => oneLine(io, cell))),
  ]);
}

/** One object: its fields below one another. */
export function printFields(io: Io, fields: readonly (readonly [name: string, value: string])[]): void {
  printRows(
    io,
    fields.map(([name, value]) => [name, oneLine(io, value)]),
  );
}

function printRows(io: Io, rows: readonly (readonly string[])[]): void {
  const table = new Table({
    chars: NO_LINES,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  for (const row of rows) table.push([...row]);
  io.out(`${table.toString().replace(/ +$/gm, '')}\n`);
}

function oneLine(io: Io, text: string): string {
  return forTerminal(io, text).replace(/[\n\t]+/g, ' ');
}

/** The API's own object, as it came. */
export function printJson(io: Io, value: unknown): void {
  io.out(`${JSON.stringify(value, null, 2)}\n`);
}

/** Unix seconds as `2026-11-23 14:52Z`; nothing set is `otherwise`. */
export function when(seconds: number | null | undefined, otherwise: string): string {
  if (seconds === null || seconds === undefined) return otherwise;
  return `${new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ')}Z`;
}
