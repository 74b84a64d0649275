// The table of limits of keygate.yaml: what it has in the place of the default table's, and what is wrong with it.

import { tableOverDefault } from '../limits/table-over-default.ts';
import type { Table } from '../limits/tables.ts';
import { SetupError } from '../platform/errors.ts';
import type { Problems } from './problems.ts';

/** A key of ours or of a provider, in the wrong place: names of models and ids are repeated, keys never. */
const KEYS = /\b(?:sk|rk|pk)-[A-Za-z0-9_-]{8,}|:\/\/\S*@/g;

/** Adds a sentence for each thing that is wrong; the table is then the default one. */
export function readLimits(
  given: Readonly<Record<string, unknown>>,
  file: string,
  problems: Problems,
): Table {
  try {
    return tableOverDefault(given);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    const [, ...lines] = error.message.split('\n');
    for (const line of lines) problems.add(`In ${file}, ${line.replace(KEYS, '…')}.`);
    return tableOverDefault({});
  }
}
