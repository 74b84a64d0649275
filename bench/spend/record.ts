// A million events on the embedded store: recorded by the journal and folded in the background at the same time. How long
// until they are durable, how long until the last one is in the reports, and how long the main thread was held up.
//
// node bench/spend/record.ts [--events N] [--into FOLDER --organization ID]
//   --into: records only, into a server's own folder, whose roll-up will find them. The last line is JSON.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as after } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { bootstrap } from '../../src/access/bootstrap.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { Journal } from '../../src/spend/journal.ts';
import { shippedPrices } from '../../src/spend/prices/shipped.ts';
import { Rollup } from '../../src/spend/rollup/rollup.ts';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/store.ts';
import { feed } from './events.ts';

const PLACES = 100_000;
const DAY_MS = 86_400_000;

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '1000000' },
    into: { type: 'string' },
    organization: { type: 'string', default: '' },
  },
});
const events = Number(values.events);
const dataDir = values.into ?? mkdtempSync(join(tmpdir(), 'keygate-bench-'));
const store = await openStore({ dataDir, databaseUrl: null, clock: systemClock, onError: console.error });
try {
  const figures = values.into ? await record(values.organization) : await recordAndFold();
  console.log(JSON.stringify({ events, bytesAnEvent: await bytesAnEvent(store), ...figures }));
} finally {
  await store.close();
  if (!values.into) rmSync(dataDir, { recursive: true, force: true });
}

async function record(organizationId: string) {
  const began = performance.now();
  const journal = new Journal(store, 'bench', PLACES, console.error);
  await feed(journal, events, organizationId);
  await journal.close();
  return { recordedSeconds: (performance.now() - began) / 1000 };
}

async function recordAndFold() {
  const made = await bootstrap({ store, clock: systemClock, adminKey: null });
  const organizationId = made?.organizationId ?? '';
  const rollup = new Rollup({
    store,
    clock: systemClock,
    lists: async () => [shippedPrices()],
    addresses: { openai: 'https://api.openai.com/v1', anthropic: 'https://api.anthropic.com/v1' },
    retentionMs: 90 * DAY_MS,
    onError: console.error,
  });
  const began = performance.now();
  let recordedSeconds = 0;
  const heldUpMs = await heldUp(async () => {
    rollup.start();
    ({ recordedSeconds } = await record(organizationId));
    await folded(store);
  });
  const foldedSeconds = (performance.now() - began) / 1000;
  await rollup.stop();
  const { requests } = await store.db
    .selectFrom('usage_days')
    .select(({ fn }) => fn.sum<number>('requests').as('requests'))
    .executeTakeFirstOrThrow();
  if (requests !== events) throw new Error(`the reports count ${requests} of ${events} events`);
  return { recordedSeconds, foldedSeconds, heldUpMs };
}

async function bytesAnEvent({ db }: Store): Promise<number> {
  const { bytes, counted } = await db
    .selectFrom('usage_segments')
    .select(({ fn }) => [
      fn.sum<number>(fn('length', ['payload'])).as('bytes'),
      fn.sum<number>('events').as('counted'),
    ])
    .executeTakeFirstOrThrow();
  return bytes / counted;
}

async function folded(store: Store): Promise<void> {
  for (;;) {
    const { left } = await store.db
      .selectFrom('usage_unfolded')
      .select(({ fn }) => fn.countAll<number>().as('left'))
      .executeTakeFirstOrThrow();
    if (left === 0) return;
    await after(50);
  }
}

async function heldUp(work: () => Promise<void>) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  const ms = (value: number) => value / 1e6;
  return { p50: ms(delay.percentile(50)), p99: ms(delay.percentile(99)), most: ms(delay.max) };
}
