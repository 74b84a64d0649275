// Wrapping again with the key that seals now, online: only envelopes are rewritten, no plaintext is made. What is
// sealed somewhere tells of itself here, so that one command reaches all of it.

import type { Db, Store, Tx } from '../store/store.ts';
import type { Place } from './purpose.ts';
import type { Seals } from './seals.ts';

export interface SealedRow {
  /** By which the rows are read in order. */
  readonly key: string;
  readonly place: Place;
  /** A whole record, or the envelope of a file. */
  readonly sealed: Uint8Array;
}

/** One column of one table that holds sealed bytes. */
export interface SealedColumn {
  readonly name: string;
  /** Rows that are in memory together; 100 if it is not said. */
  readonly atOnce?: number;
  /** At most `limit` rows behind `after`, in order of their keys. */
  page(db: Db, after: string, limit: number): Promise<readonly SealedRow[]>;
  /** Puts `after` where `before` still is. */
  replace(tx: Tx, key: string, before: Uint8Array, after: Uint8Array): Promise<void>;
}

export interface RewrapReport {
  readonly name: string;
  readonly seen: number;
  readonly wrapped: number;
  /** Rows that could not be opened, or whose project's key is not to be had now. */
  readonly failed: number;
}

const PAGE = 100;

export async function rewrapAll(
  store: Store,
  seals: Seals,
  columns: readonly SealedColumn[],
): Promise<RewrapReport[]> {
  const reports: RewrapReport[] = [];
  for (const column of columns) reports.push(await rewrapColumn(store, seals, column));
  return reports;
}

async function rewrapColumn(store: Store, seals: Seals, column: SealedColumn): Promise<RewrapReport> {
  const page = column.atOnce ?? PAGE;
  let [seen, wrapped, failed] = [0, 0, 0];
  for (let after = ''; ; ) {
    const rows = await column.page(store.db, after, page);
    const changed: { row: SealedRow; now: Buffer }[] = [];
    for (const row of rows) {
      seen += 1;
      try {
        const now = await seals.rewrap(row.place, row.sealed);
        if (now !== null) changed.push({ row, now });
      } catch {
        // The alarm was raised where it failed.
        failed += 1;
      }
    }
    if (changed.length > 0) {
      await store.write(async (tx) => {
        for (const { row, now } of changed) await column.replace(tx, row.key, row.sealed, now);
      });
      wrapped += changed.length;
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < page) return { name: column.name, seen, wrapped, failed };
    after = last.key;
  }
}
