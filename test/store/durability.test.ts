import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { segmentNumber } from './rows.ts';
import { freshSqlite, type StorePlace } from './stores.ts';

const script = fileURLToPath(new URL('./append-forever.ts', import.meta.url));

/** Runs the script until it has printed `lines` lines, kills it at once, and gives all that it printed. */
async function runAndKill(dataDir: string, first: number, lines: number): Promise<string[]> {
  const child = spawn(process.execPath, [script, dataDir, String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const printed: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    printed.push(line);
    if (printed.length === lines) child.kill('SIGKILL');
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
  return printed;
}

describe('the embedded store after kill -9', () => {
  let place: StorePlace;
  beforeEach(async () => {
    place = await freshSqlite();
  });
  afterEach(() => place.remove());

  it('has every segment and every write that was acknowledged, whole, and opens at once', async () => {
    const acknowledged = { s: new Set<number>(), w: new Set<number>() };
    for (const [round, lines] of [40, 333, 1, 90, 777, 150].entries()) {
      for (const line of await runAndKill(place.dataDir, round * 100_000, lines)) {
        const [kind, number] = line.split(' ');
        if (kind === 's' || kind === 'w') acknowledged[kind].add(Number(number));
      }

      const store = await place.open();
      const segments = await store.db.selectFrom('usage_segments').selectAll().execute();
      for (const { payload, crc } of segments) expect(crc32(payload)).toBe(crc);
      const kept = new Set(segments.map(({ payload }) => segmentNumber(payload)));
      expect([...acknowledged.s].filter((number) => !kept.has(number))).toEqual([]);

      const names = new Set(
        (await store.db.selectFrom('meta').select('name').execute()).map((row) => row.name),
      );
      const changes = await store.db.selectFrom('changes').select('object_id').execute();
      expect([...acknowledged.w].filter((number) => !names.has(`a${number}`))).toEqual([]);
      // Whole transactions, acknowledged or not: both rows and the change, or none.
      expect(changes.map((row) => row.object_id.slice(1)).sort()).toEqual(
        [...names]
          .filter((name) => name.startsWith('a'))
          .map((name) => name.slice(1))
          .sort(),
      );
      for (const name of names)
        expect(names.has(`${name.startsWith('a') ? 'b' : 'a'}${name.slice(1)}`)).toBe(true);
      await store.close();
    }
    expect(acknowledged.s.size).toBeGreaterThan(500);
    expect(acknowledged.w.size).toBeGreaterThan(50);
  });
});
