// `kill -9` while segments are appended and folded: afterwards every event that is durable is in the sums, once.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WIDTHS } from '../../src/spend/rollup/model.ts';
import { readSegment } from '../../src/spend/segment/read.ts';
import type { Store } from '../../src/store/store.ts';
import { type StorePlace, stores } from '../store/stores.ts';
import { rollupOver } from './rollup-store.ts';

const script = fileURLToPath(new URL('./rollup-forever.ts', import.meta.url));

function start(place: StorePlace, first: number): ChildProcess {
  const url = place.databaseUrl?.reveal() ?? '';
  return spawn(process.execPath, [script, place.dataDir, String(first), url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Kills the processes as soon as they folded `batches` batches in all. */
async function killAfter(children: readonly ChildProcess[], batches: number): Promise<void> {
  const ended = children.map((child) => once(child, 'exit'));
  let seen = 0;
  for (const child of children) {
    child.stdout?.on('data', (data: Buffer) => {
      seen += data.toString().split('\n').length - 1;
      if (seen >= batches) for (const each of children) each.kill('SIGKILL');
    });
  }
  for (const end of ended) expect(await end).toEqual([null, 'SIGKILL']);
}

/** What the sums say, and what they should: requests, input tokens and output tokens. */
async function compare(
  store: Store,
): Promise<{ readonly sums: string[]; readonly events: string; count: number }> {
  const segments = await store.db.selectFrom('usage_segments').selectAll().execute();
  const all = segments.flatMap(readSegment);
  const input = all.reduce((sum, { usage }) => sum + usage.input, 0);
  const output = all.reduce((sum, { usage }) => sum + usage.output, 0);
  const sums: string[] = [];
  for (const table of Object.values(WIDTHS).flatMap((width) => [width.table, width.totals])) {
    const row = await store.db
      .selectFrom(table)
      .select(({ fn }) => [
        fn.sum<number>('requests').as('requests'),
        fn.sum<number>('input').as('input'),
        fn.sum<number>('output').as('output'),
      ])
      .executeTakeFirstOrThrow();
    sums.push(`${row.requests} ${row.input} ${row.output}`);
  }
  return { sums, events: `${all.length} ${input} ${output}`, count: all.length };
}

describe.each(stores)('roll-ups on $kind after kill -9', ({ kind, fresh }) => {
  let place: StorePlace;
  beforeEach(async () => {
    place = await fresh();
  });
  afterEach(() => place.remove());

  it('neither lose an event nor count one twice, time and again', async () => {
    let count = 0;
    for (const [round, batches] of [3, 1, 8, 5, 12].entries()) {
      // Many nodes share a PostgreSQL database; an embedded one has a single process.
      const nodes = kind === 'postgres' ? 2 : 1;
      const children = Array.from({ length: nodes }, (_, node) =>
        start(place, round * 1_000_000 + node * 500_000),
      );
      await killAfter(children, batches);
      const store = await place.open();
      const rollup = rollupOver(store);
      let left = 1;
      while (left > 0) {
        await rollup.catchUp();
        // On PostgreSQL the dead nodes' transactions end when the server learns of it.
        left = (await store.db.selectFrom('usage_unfolded').select('seq').execute()).length;
      }
      const { sums, events, ...now } = await compare(store);
      expect(sums).toEqual(Array.from({ length: 6 }, () => events));
      expect(now.count).toBeGreaterThan(count);
      count = now.count;
      await rollup.stop();
      await store.close();
    }
    expect(count).toBeGreaterThan(1000);
  }, 120_000);
});
