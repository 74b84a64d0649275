// A table that says only what it changes: what it has on its first level takes the place of the default's.

import { DEFAULT_TABLE } from './default-table.ts';
import { checkTable, type Table } from './tables.ts';

/**
 * @param given some fields of a table, unread
 * @param where what errors call its place
 * @throws SetupError as parseTables does
 */
export function tableOverDefault(given: Readonly<Record<string, unknown>>, where = 'limits'): Table {
  return checkTable({ ...DEFAULT_TABLE, ...given }, where);
}
