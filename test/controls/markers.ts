// Looks for texts everywhere that a server could have kept them: every file of its data folder, every column of every
// table of its store, the usage events in their packed form, and its log.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'kysely';
import { systemClock } from '../../src/platform/clock.ts';
import { readSegment } from '../../src/spend/segment/read.ts';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/store.ts';
import type { StorePlace } from '../store/stores.ts';

export interface Haystack {
  readonly name: string;
  readonly bytes: Buffer;
}

/** `marker in haystack` for each one that is found, in the forms that a text may take on its way. */
export function found(markers: readonly string[], haystacks: readonly Haystack[]): string[] {
  return haystacks.flatMap(({ name, bytes }) =>
    markers.flatMap((marker) =>
      forms(marker)
        .filter((form) => bytes.includes(form))
        .map(() => `${marker} in ${name}`),
    ),
  );
}

function forms(marker: string): Buffer[] {
  const plain = Buffer.from(marker);
  // As base64 a text looks different by where in its group of three bytes it begins; what surrounds it is cut away.
  const base64 = [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), plain])
      .toString('base64')
      .replace(/=+$/, '');
    return Buffer.from(text.slice(shift === 0 ? 0 : shift + 1, -1));
  });
  return [plain, Buffer.from(plain.toString('hex')), Buffer.from(marker, 'utf16le'), ...base64];
}

/** Every file below a folder, the write-ahead log and what else lies beside the database included. */
export function filesOf(folder: string): Haystack[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ name: path.slice(folder.length + 1), bytes: readFileSync(path) }));
}

/** Every column of every table, and the usage events. The server is stopped. */
export async function tablesOf({ dataDir, databaseUrl }: StorePlace): Promise<Haystack[]> {
  const store = await openStore({ dataDir, databaseUrl, clock: systemClock, onError: () => {} });
  try {
    const haystacks: Haystack[] = [];
    for (const table of await tables(store)) {
      const { rows } = await sql<Record<string, unknown>>`select * from ${sql.table(table)}`.execute(
        store.db,
      );
      const values = rows.flatMap((row) => Object.values(row));
      const bytes = values.map((value) =>
        value instanceof Uint8Array ? Buffer.from(value) : Buffer.from(`${JSON.stringify(value)}\n`),
      );
      haystacks.push({ name: `table ${table}`, bytes: Buffer.concat(bytes) });
    }
    const segments = await store.db.selectFrom('usage_segments').selectAll().orderBy('seq').execute();
    const events = Buffer.from(JSON.stringify(segments.flatMap(readSegment)));
    return [...haystacks, { name: 'usage events', bytes: events }];
  } finally {
    await store.close();
  }
}

async function tables(store: Store): Promise<string[]> {
  const query =
    store.kind === 'sqlite'
      ? sql<{
          name: string;
        }>`select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'`
      : sql<{ name: string }>`select tablename as name from pg_tables where schemaname = current_schema()`;
  return (await query.execute(store.db)).rows.map(({ name }) => name);
}
