// Price lists that an administrator imports: read from a file, checked, kept in the database, and laid over the shipped
// list. Two forms are taken: keygate's own (list.ts), and the data file of pydantic/genai-prices, so that a newer copy
// of what is shipped can be used before the next release.

import { createHash } from 'node:crypto';
import { z } from 'zod';
import { SetupError } from '../../platform/errors.ts';
import type { Db, Store, Tx } from '../../store/store.ts';
import { fromGenaiPrices } from './genai.ts';
import { readPriceList } from './list.ts';
import type { PriceList } from './model.ts';
import { priceList, shippedPrices } from './shipped.ts';
import { PriceTable } from './table.ts';

/** The largest file that is read, in bytes. */
const MAX_BYTES = 16 * 1024 * 1024;
/** Imported lists that count, the newest first; older ones are kept, so that history can be re-rated. */
const LISTS = 20;

export interface Import {
  readonly list: PriceList;
  /** What of the file does not take effect, for people: prices rounded up, models and kinds left out. */
  readonly notes: readonly string[];
}

/**
 * Reads a price list.
 * @param text the file's text
 * @param name names it in errors, and as the source of a list that does not name its own
 * @param atMs now: the date of a list that has none
 * @throws SetupError that says what is wrong with it
 */
export function parseImport(text: string, name: string, atMs: number): Import {
  if (Buffer.byteLength(text) > MAX_BYTES)
    throw new SetupError(`${name}: larger than 16 MB, which no price list is`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new SetupError(`${name}: not JSON; a price list is a JSON file, see docs/spend.md`);
  }
  if (!Array.isArray(value)) return { list: readPriceList(value, name), notes: [] };
  try {
    const { list, rounded, leftOut, notMetered } = fromGenaiPrices(
      value,
      name,
      new Date(atMs).toISOString().slice(0, 10),
    );
    // A pattern that finds a provider by its address comes with keygate only.
    const providers = list.providers.map(({ url: _, ...provider }) => provider);
    return { list: { ...list, providers }, notes: notesOf(rounded, leftOut, notMetered) };
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    const issue = error.issues[0];
    throw new SetupError(
      `${name}: not a price list of genai-prices: ${issue?.path.join('.')}: ${issue?.message}`,
    );
  }
}

function notesOf(
  rounded: readonly string[],
  leftOut: readonly string[],
  notMetered: Readonly<Record<string, number>>,
) {
  return [
    ...rounded.map((each) => `rounded up to a whole pico-dollar: ${each}`),
    ...leftOut.map((each) => `left out: ${each}`),
    ...Object.entries(notMetered).map(([key, models]) => `not metered: ${key} of ${models} models`),
  ];
}

/**
 * Within a `write`: keeps an imported list and tells every node.
 * @returns its id; the same list again has the same id and changes nothing
 */
export async function keepImport(
  store: Pick<Store, 'announce'>,
  tx: Tx,
  list: PriceList,
  atMs: number,
): Promise<string> {
  const text = JSON.stringify(list);
  const id = `prices_${createHash('sha256').update(text).digest('hex').slice(0, 24)}`;
  const row = { id, imported_at: atMs, source: list.source, date: list.date, list: text };
  await tx
    .insertInto('price_lists')
    .values(row)
    .onConflict((conflict) => conflict.column('id').doUpdateSet({ imported_at: atMs }))
    .execute();
  await store.announce(tx, 'price_list', id, atMs);
  return id;
}

/** Within a `write`: takes an imported list away again. False if there is none of that id. */
export async function dropImport(
  store: Pick<Store, 'announce'>,
  tx: Tx,
  id: string,
  atMs: number,
): Promise<boolean> {
  const dropped = await tx.deleteFrom('price_lists').where('id', '=', id).executeTakeFirst();
  if (dropped.numDeletedRows === 0n) return false;
  await store.announce(tx, 'price_list', id, atMs);
  return true;
}

/** The imported lists, the newest first. */
export async function importedLists(db: Db): Promise<PriceList[]> {
  const rows = await db
    .selectFrom('price_lists')
    .select('list')
    .orderBy('imported_at', 'desc')
    .orderBy('id')
    .limit(LISTS)
    .execute();
  return rows.map((row) => priceList.parse(JSON.parse(row.list)));
}

/** The table that is in force: the configuration's list over the imported ones over the shipped one. */
export async function priceTable(db: Db, configured: PriceList | null): Promise<PriceTable> {
  return new PriceTable([
    ...(configured === null ? [] : [configured]),
    ...(await importedLists(db)),
    shippedPrices(),
  ]);
}
