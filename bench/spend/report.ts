// Reports of 30 days over the roll-ups of ten million events on the embedded store, through the control plane. These
// roll-ups are written directly, as many rows as 1,000 keys with three models each make in 30 days, because recording ten
// million events would only repeat bench/spend/record.ts. The last line is JSON.
//
// node bench/spend/report.ts

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { bootstrap } from '../../src/access/bootstrap.ts';
import { createControlPlane } from '../../src/access/control-plane.ts';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/store.ts';
import { KEYS, PROJECTS } from './events.ts';

const DAYS = 30;
const DAY_MS = 86_400_000;
const ROUNDS = 20;

const dataDir = mkdtempSync(join(tmpdir(), 'keygate-bench-'));
const store = await openStore({ dataDir, databaseUrl: null, clock: systemClock, onError: console.error });
try {
  const made = await bootstrap({ store, clock: systemClock, adminKey: null });
  const reports = await report(made?.organizationId ?? '', made?.adminKey ?? '');
  console.log(JSON.stringify({ reports }));
} finally {
  await store.close();
  rmSync(dataDir, { recursive: true, force: true });
}

async function report(organizationId: string, adminKey: string) {
  const reports: { path: string; p50Ms: number; worstMs: number; results: number }[] = [];
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
    reports.push({
      path: path.replace(range, '30 days').replace('&limit=31', ''),
      p50Ms: times[ROUNDS >> 1] ?? 0,
      worstMs: times.at(-1) ?? 0,
      results,
    });
  }
  return reports;
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
}
