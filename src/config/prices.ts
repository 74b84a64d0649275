// The prices of keygate.yaml: rows, as docs/spend.md has them, that decide before every other list.

import { SetupError } from '../platform/errors.ts';
import { readPriceList } from '../spend/prices/list.ts';
import type { PriceList } from '../spend/prices/model.ts';
import type { Problems } from './problems.ts';

/** Rows in the file have no date of their own: what counts is the `from` of each. */
const UNDATED = '1970-01-01';

/** Null: the file has none. */
export function readPrices(given: unknown, file: string, problems: Problems): PriceList | null {
  if (given === undefined || given === null) return null;
  const list = Array.isArray(given) ? { source: file, date: UNDATED, prices: given } : given;
  try {
    return readPriceList(list, `In ${file}, prices`);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    problems.add(error.message);
    return null;
  }
}
