// What roll-ups cost and what they give, on the embedded store:
//   1. a million events, recorded by the journal and folded in the background at the same time: how long until the last
//      one is in the reports, and how long the main thread was held up meanwhile;
//   2. reports of 30 days over the roll-ups of ten million events, through the control plane. These roll-ups are
//      written directly, as many rows as 1,000 keys with three models each make in 30 days, because recording ten
//      million events would only repeat the first part.
// node bench/spend/rollup.ts [events]

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as after } from 'node:timers/promises';
import { sql } from 'kysely';
import { bootstrap } from '../../src/access/bootstrap.ts';
import { createControlPlane } from '../../src/access/control-plane.ts';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { Journal } from '../../src/spend/journal.ts';
import { shippedPrices } from '../../src/spend/prices/shipped.ts';
import { Rollup } from '../../src/spend/rollup/rollup.ts';
import { noUsage, type UsageEvent } from '../../src/spend/usage.ts';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/store.ts';

const EVENTS = Number(process.argv[2] ?? 1_000_000);
const PLACES = 100_000;
const KEYS = 1000;
const PROJECTS = 50;
const MODELS = [
  'gpt-5-mini',
  'gpt-5',
  'gpt-4o-mini',
  'text-embedding-3-small',
  'claude-sonnet-4-5',
  'o4-mini',
];
const DAYS = 30;
const DAY_MS = 86_400_000;
const ROUNDS = 20;

const dataDir = mkdtempSync(join(tmpdir(), 'keygate-bench-'));
const store = await openStore({ dataDir, databaseUrl: null, clock: systemClock, onError: console.error });
try {
  const made = await bootstrap({ store, clock: systemClock, adminKey: null });
  await recordAndFold(store, made?.organizationId ?? '');
  await report(store, made?.organizationId ?? '', made?.adminKey ?? '');
} finally {
  await store.close();
  rmSync(dataDir, { recursive: true, force: true });
}

function eventAt(number: number, organizationId: string): UsageEvent {
  const key = (number * 7919) % KEYS;
  const model = MODELS[(key + (number % 3)) % MODELS.length] ?? '';
  return {
    requestId: `req_${number.toString(16).padStart(32, '0')}`,
    at: Date.now(),
    organizationId,
    projectId: `proj_${key % PROJECTS}`,
    keyId: `key_${key}`,
    ownerId: `user-${key % 200}`,
    operation: model.startsWith('text') ? 'embeddings.create' : 'chat.completions.create',
    modelAsked: model,
    modelServed: model,
    provider: model.startsWith('claude') ? 'anthropic' : 'openai',
    status: 200,
    outcome: 'ok',
    streamed: number % 2 === 0,
    firstByteMs: 240,
    durationMs: 900,
    serviceTier: 'default',
    source: 'provider',
    usage: { ...noUsage(), input: 500 + (number % 1000), cachedInput: number % 300, output: number % 700 },
    test: false,
    spend: null,
  };
}

async function recordAndFold(store: Store, organizationId: string): Promise<void> {
  const rollup = new Rollup({
    store,
    clock: systemClock,
    lists: async () => [shippedPrices()],
    addresses: { openai: 'https://api.openai.com/v1', anthropic: 'https://api.anthropic.com/v1' },
    retentionMs: 90 * DAY_MS,
    onError: console.error,
  });
  const idle = await heldUp(async () => {
    const journal = new Journal(store, 'idle', PLACES, console.error);
    await feed(journal, EVENTS / 4, organizationId);
    await journal.close();
  });
  console.log(`journal alone:       ${idle.text}`);
  const began = performance.now();
  let recorded = 0;
  const busy = await heldUp(async () => {
    const journal = new Journal(store, 'bench', PLACES, console.error);
    rollup.start();
    await feed(journal, EVENTS, organizationId);
    await journal.close();
    recorded = performance.now() - began;
    await folded(store);
  });
  const all = performance.now() - began;
  await rollup.stop();
  const { requests } = await store.db
    .selectFrom('usage_days')
    .select(({ fn }) => fn.sum<number>('requests').as('requests'))
    .executeTakeFirstOrThrow();
  console.log(`journal and roll-up: ${busy.text}`);
  console.log(
    `${EVENTS} events recorded in ${(recorded / 1000).toFixed(1)} s and in the reports after ${(all / 1000).toFixed(1)} s ` +
      `(${Math.round(EVENTS / (all / 1000))} a second); the reports count ${requests} with the ${EVENTS / 4} of the run before`,
  );
}

/** As a road does: each event when there is a place for it, a thousand a turn of the event loop. */
async function feed(journal: Journal, events: number, organizationId: string): Promise<void> {
  for (let number = 0; number < events; ) {
    for (let turn = 0; turn < 100 && number < events && journal.take(); turn++)
      journal.append(eventAt(number++, organizationId));
    await after(1);
  }
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

async function heldUp(work: () => Promise<void>): Promise<{ text: string }> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  const ms = (value: number) => (value / 1e6).toFixed(1);
  return {
    text: `event loop held up p50 ${ms(delay.percentile(50))}, p99 ${ms(delay.percentile(99))}, p99.9 ${ms(delay.percentile(99.9))}, most ${ms(delay.max)} ms (1 ms is the timer's own)`,
  };
}

async function report(store: Store, organizationId: string, adminKey: string): Promise<void> {
  const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const since = today - DAYS * DAY_MS;
  await writeRollups(store, organizationId, since);
  const registry = new KeyRegistry({ clock: systemClock });
  await registry.load(store);
  const plane = createControlPlane({ store, registry, clock: systemClock, onError: console.error });
  const range = `start_time=${since / 1000}&end_time=${today / 1000}`;
  for (const path of [
    `costs?${range}&limit=31`,
    `costs?${range}&limit=31&group_by=api_key_id&group_by=line_item&project_ids=proj_7`,
    `costs?${range}&limit=31&group_by=project_id`,
    `costs?${range}&limit=31&group_by=api_key_id&project_ids=proj_7`,
    `costs?${range}&limit=31&group_by=line_item`,
    `usage/completions?${range}&limit=31&group_by=model`,
    `usage/completions?${range}&limit=31&group_by=project_id&group_by=model`,
  ]) {
    const times: number[] = [];
    let results = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const began = performance.now();
      const reply = await plane.fetch(
        new Request(`http://keygate.test/v1/organization/${path}`, {
          headers: { authorization: `Bearer ${adminKey}` },
        }),
        { remoteAddress: '127.0.0.1' },
      );
      const text = await reply.text();
      times.push(performance.now() - began);
      if (reply.status !== 200) throw new Error(text);
      results = text.split('.result"').length - 1;
    }
    times.sort((a, b) => a - b);
    const at = (share: number) => times[Math.floor((times.length - 1) * share)]?.toFixed(1);
    console.log(`p50 ${at(0.5)} ms, most ${at(1)} ms, ${results} results: ${path.replace(range, '30 days')}`);
  }
}

/** Ten million calls: every key, three models, every day; and their totals, as a fold writes them. */
async function writeRollups(store: Store, organizationId: string, since: number): Promise<void> {
  const calls = Math.round(10_000_000 / (KEYS * 3 * DAYS));
  for (const table of [
    'usage_days',
    'usage_days_totals',
    'usage_costs',
    'usage_costs_totals',
    'usage_series',
  ] as const)
    await store.db.deleteFrom(table).execute();
  const names = sql`key, organization_id, project_id, key_id, owner_id, family, operation, model, model_asked, provider,
    service_tier, price_version, batch, test`;
  await sql`
    insert into usage_series (${names})
    select number, ${organizationId}, 'proj_' || (key % ${sql.lit(PROJECTS)}), 'key_' || key, 'user-' || (key % 200),
      'completions', 'chat.completions.create', model, model, 'openai', 'default', 'v1', 0, 0
    from (
      select value as number, value / 3 as key,
        json_array('gpt-5-mini', 'gpt-5', 'gpt-4o-mini', 'o4-mini', 'gpt-4.1') ->> ((value / 3 + value % 3) % 5) as model
      from (with recursive n(value) as (select 0 union all select value + 1 from n where value < ${sql.lit(KEYS * 3 - 1)})
        select value from n))`.execute(store.db);
  await sql`
    insert into usage_series (${names})
    select 'total ' || project_id || model, organization_id, project_id, '', '', family, operation, model, model,
      provider, service_tier, price_version, 0, 0
    from usage_series group by project_id, model`.execute(store.db);
  for (let day = 0; day < DAYS; day++) {
    const start = since + day * DAY_MS;
    await sql`
      insert into usage_days (start, series, requests, errors, cut, counted, search_requests, unpriced, input,
        cached_input, cache_write, output, reasoning, audio_input, audio_output, image_input, image_output, images,
        audio_ms, characters, searches, cost)
      select ${start}, id, ${calls}, 1, 1, 0, 0, 0, ${calls * 900}, ${calls * 200}, 0, ${calls * 350}, ${calls * 90}, 0,
        0, 0, 0, 0, 0, 0, 0, ${calls * 812_345} from usage_series where key_id <> ''`.execute(store.db);
    for (const [kind, quantity, cost] of [
      ['input', calls * 700, calls * 500_000],
      ['cachedInput', calls * 200, calls * 12_345],
      ['output', calls * 350, calls * 300_000],
    ] as const)
      await sql`
        insert into usage_costs (start, series, kind, quantity, cost)
        select ${start}, id, ${kind}, ${quantity}, ${cost} from usage_series where key_id <> ''`.execute(
        store.db,
      );
  }
  const total = sql`usage_series as own on own.id = fine.series
    join usage_series as total on total.key = 'total ' || own.project_id || own.model`;
  await sql`
    insert into usage_days_totals
    select start, total.id, sum(requests), sum(errors), sum(cut), 0, 0, 0, sum(input), sum(cached_input), 0, sum(output),
      sum(reasoning), 0, 0, 0, 0, 0, 0, 0, 0, sum(cost)
    from usage_days as fine join ${total} group by start, total.id`.execute(store.db);
  await sql`
    insert into usage_costs_totals
    select start, total.id, kind, sum(quantity), sum(cost)
    from usage_costs as fine join ${total} group by start, total.id, kind`.execute(store.db);
  const rows = KEYS * 3 * DAYS;
  console.log(
    `roll-ups of ${rows * calls} calls: ${rows} rows of days, ${rows * 3} of lines, written directly`,
  );
}
