// What a turn of escrow takes in the database: four accounts in one transaction, one node alone and four at once on the
// same budgets. SQLite in a temporary folder; PostgreSQL too where KEYGATE_TEST_DATABASE_URL names a server.
// node bench/spend/turn.ts

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { Secret } from '../../src/config/model.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { newId } from '../../src/platform/ids.ts';
import { insertBudget } from '../../src/spend/budgets/store.ts';
import { SqlEscrowStore } from '../../src/spend/escrow/store.ts';
import { openStore } from '../../src/store/open.ts';

const TURNS = 500;

async function measure(databaseUrl: string | null): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'keygate-bench-'));
  const name = `keygate_bench_${process.pid}`;
  const server = databaseUrl === null ? null : new pg.Client({ connectionString: databaseUrl });
  await server?.connect();
  await server?.query(`create database ${name} template template0 encoding 'UTF8'`);
  const url = databaseUrl === null ? null : new URL(databaseUrl);
  if (url !== null) url.pathname = `/${name}`;
  const secret = url === null ? null : new Secret(url.href);
  const store = await openStore({ dataDir, databaseUrl: secret, clock: systemClock, onError: () => {} });
  try {
    const organizationId = newId('org-');
    await store.write((tx) =>
      tx.insertInto('organizations').values({ id: organizationId, name: 'bench', created_at: 1 }).execute(),
    );
    const ids = Array.from({ length: 4 }, () => newId('budget_'));
    for (const id of ids) {
      await store.write((tx) =>
        insertBudget(store, tx, {
          id,
          organizationId,
          projectId: null,
          scope: 'organization',
          scopeId: organizationId,
          period: 'total',
          limit: 10n ** 15n,
          enforcement: 'hard',
          alerts: [],
          createdAt: 1,
        }),
      );
    }
    const escrow = new SqlEscrowStore(store, store.kind === 'postgres' ? null : systemClock);
    for (const nodes of [1, 4]) {
      const times: number[] = [];
      const started = performance.now();
      await Promise.all(
        Array.from({ length: nodes }, async (_, node) => {
          for (let seq = 1; seq <= TURNS; seq++) {
            const from = performance.now();
            await escrow.turn({
              lease: `lease-${nodes}-${node}`,
              node: 'bench',
              seq,
              opened: seq > 1,
              close: false,
              entries: ids.map((budgetId) => {
                const used = { spent: seq * 10, held: 50 };
                return {
                  budgetId,
                  subject: '',
                  windowStart: 0,
                  ...used,
                  want: seq * 10 + 1000,
                  need: seq * 10 + 100,
                };
              }),
            });
            times.push(performance.now() - from);
          }
        }),
      );
      const rate = (nodes * TURNS * 1000) / (performance.now() - started);
      times.sort((a, b) => a - b);
      const at = (share: number) => (times[Math.floor(times.length * share)] ?? 0).toFixed(2).padStart(7);
      console.log(
        `${store.kind.padEnd(9)} ${nodes} at once   p50 ${at(0.5)} ms   p99 ${at(0.99)} ms   ${rate.toFixed(0)} turns a second`,
      );
    }
  } finally {
    await store.close();
    await server?.query(`drop database ${name} with (force)`);
    await server?.end();
    await rm(dataDir, { recursive: true, force: true });
  }
}

await measure(null);
const url = process.env['KEYGATE_TEST_DATABASE_URL'];
if (url !== undefined) await measure(url);
