// A server with budgets for tests: prices of a dollar for a million tokens in and ten for a million out.

import { systemClock } from '../../src/platform/clock.ts';
import { newId } from '../../src/platform/ids.ts';
import type { Budget } from '../../src/spend/budgets/model.ts';
import { insertBudget } from '../../src/spend/budgets/store.ts';
import { openStore } from '../../src/store/open.ts';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';

export const PRICES = `
prices:
  - {provider: mock, models: [priced, dear], input: "1", output: "10"}
  - {provider: mock, models: [priced], tier: priority, factor: "2"}
  - {provider: mock, models: [gratis], free: true}
`;

/** Nano-dollars of a call with this usage at those prices. */
export function costOf(input: number, output: number): number {
  return input * 1_000 + output * 10_000;
}

export type NewBudget = Pick<Budget, 'scope' | 'limit'> & Partial<Budget>;

/** Starts a server whose store holds these budgets; a scopeId that is left out is the first project's or organization's. */
export async function startBudgeted(
  upstream: string,
  budgets: readonly NewBudget[],
  yaml = '',
): Promise<TestServer> {
  const text = oneProvider(upstream) + PRICES + yaml;
  const first = await startTestServer({ yaml: text });
  await first.stop();
  const store = await openStore({
    dataDir: first.dataDir,
    databaseUrl: null,
    clock: systemClock,
    onError: () => {},
  });
  const ids = { organization: first.organizationId, project: first.projectId };
  await store.write(async (tx) => {
    for (const budget of budgets) {
      await insertBudget(store, tx, {
        id: newId('budget_'),
        organizationId: first.organizationId,
        projectId: budget.scope === 'organization' ? null : first.projectId,
        scopeId: budget.scope === 'organization' || budget.scope === 'project' ? ids[budget.scope] : '*',
        period: 'month',
        enforcement: 'hard',
        alerts: [],
        createdAt: Date.now(),
        ...budget,
      });
    }
  });
  await store.close();
  const again = await startTestServer({ yaml: text, dataDir: first.dataDir });
  const request: TestServer['request'] = (path, init = {}) =>
    again.request(path, { key: first.projectKey, ...init });
  const { adminKey, projectKey, organizationId, projectId } = first;
  const admin: TestServer['admin'] = async (method, path, body) => {
    const reply = await fetch(again.adminUrl + path, {
      method,
      headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
  };
  const createKey: TestServer['createKey'] = async (body) => {
    const made = await admin('POST', `/v1/keygate/projects/${projectId}/api_keys`, body);
    if (made.status !== 200) throw new Error(`no key was made: ${JSON.stringify(made.body)}`);
    return { id: String(made.body['id']), value: String(made.body['value']) };
  };
  const metric: TestServer['metric'] = async (name) => {
    const reply = await fetch(`${again.adminUrl}/metrics`, {
      headers: { authorization: `Bearer ${adminKey}` },
    });
    const lines = (await reply.text()).split('\n');
    const line = lines.find((text) => text.startsWith(`${name} `) || text.startsWith(`${name}{`));
    return Number(line?.split(' ').at(-1) ?? Number.NaN);
  };
  return { ...again, adminKey, projectKey, organizationId, projectId, request, admin, createKey, metric };
}

/** What the store of a stopped server holds of its budgets' accounts. */
export async function accountsOf(dataDir: string) {
  const store = await openStore({ dataDir, databaseUrl: null, clock: systemClock, onError: () => {} });
  try {
    return await store.db.selectFrom('escrow_accounts').selectAll().execute();
  } finally {
    await store.close();
  }
}
