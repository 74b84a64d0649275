// What spending costs the road, in ns a call: with no budget in the installation, with budgets that are not above the
// call, and with four levels of hard budgets (bound, price look-up, reserve, settle).
// node bench/spend/spending.ts

import { setImmediate as breathe } from 'node:timers/promises';
import { sizeOfJson } from '../../src/limits/estimate.ts';
import { systemClock } from '../../src/platform/clock.ts';
import type { BudgetId, KeyId, OrganizationId, ProjectId } from '../../src/platform/ids.ts';
import type { Budget } from '../../src/spend/budgets/model.ts';
import { Escrow } from '../../src/spend/escrow/escrow.ts';
import { shippedPrices } from '../../src/spend/prices/shipped.ts';
import { PriceTable } from '../../src/spend/prices/table.ts';
import { Reservation } from '../../src/spend/reservation.ts';
import { Spending } from '../../src/spend/spending.ts';
import { noUsage } from '../../src/spend/usage.ts';

const ROUNDS = 9;
const CALLS = 100_000;
const table = new PriceTable([shippedPrices()]);
const json = {
  model: 'gpt-5-mini',
  messages: [
    { role: 'system', content: 'You are a helpful assistant that answers in one sentence.' },
    { role: 'user', content: 'What is the capital of France, and since when? '.repeat(8) },
  ],
  max_completion_tokens: 200,
};
/** As on the road: the same lists for every call of a key. */
const TARGETS = [{ provider: { name: 'openai' }, model: 'gpt-5-mini' }];
const NO_GROUPS: readonly string[] = [];
const usage = { ...noUsage(), input: 120, output: 60 };

function budget(at: number, scope: Budget['scope'], scopeId: string): Budget {
  return {
    id: `budget_${at}` as BudgetId,
    organizationId: 'org-1',
    projectId: scope === 'organization' ? null : 'proj_1',
    scope,
    scopeId,
    period: 'month',
    limit: 10n ** 18n,
    enforcement: 'hard',
    alerts: [],
    createdAt: 0,
  };
}

/** Grants what is asked for, at once, as often as it is asked: the turns are no part of the road. */
function grant(escrow: Escrow<Budget>): void {
  for (let turn = escrow.next(systemClock.monotonic(), systemClock.now()); turn !== null; ) {
    const granted = turn.request.entries.map(() => ({
      amount: 10 ** 15,
      left: 10 ** 15,
      open: false,
      pressed: false,
      closed: false,
    }));
    escrow.answered(turn, { kind: 'done', fenced: false, granted }, systemClock.monotonic());
    turn = escrow.next(systemClock.monotonic(), systemClock.now());
  }
}

async function measure(name: string, budgets: readonly Budget[]): Promise<void> {
  const escrow = new Escrow<Budget>('bench', () => 'lease');
  const spending = new Spending({
    rules: {
      account: 'postpaid',
      unpriced: 'refuse',
      replyTokens: 16_384,
      unboundedReplies: 'bound',
      stopModels: [],
    },
    escrow,
    clock: systemClock,
    paid: true,
    prices: async () => table,
    listName: () => 'openai',
  });
  const rows = budgets.map((each) => ({
    id: each.id,
    organization_id: each.organizationId,
    project_id: each.projectId,
    scope: each.scope,
    scope_id: each.scopeId,
    period: each.period,
    limit_nano: String(each.limit),
    enforcement: each.enforcement,
    alerts: '[]',
    created_at: 0,
  }));
  const query: Record<string, unknown> = { execute: async () => rows };
  for (const step of ['selectAll', 'where', 'orderBy', 'limit']) query[step] = () => query;
  const store = { lastChange: async () => 0, db: { selectFrom: () => query } };
  await spending.load(store as unknown as Parameters<Spending['load']>[0]);
  const size = sizeOfJson('chat', json);
  const call = () => {
    if (!spending.active) return;
    const reserved = spending.reserve(
      {
        organizationId: 'org-1' as OrganizationId,
        projectId: 'proj_1' as ProjectId,
        keyId: 'key_1' as KeyId,
        serviceAccountId: null,
        groupIds: NO_GROUPS,
        stream: false,
        endUser: 'ann',
        at: Date.now(),
        body: { meter: 'chat', json, size, files: 0, fileBytes: 0, characters: 0 },
        targets: TARGETS,
      },
      (later) => {
        if (later instanceof Reservation) spending.release(later);
      },
    );
    if (reserved instanceof Reservation)
      spending.settle(reserved, {
        provider: 'openai',
        model: 'gpt-5-mini',
        serviceTier: 'default',
        usage,
        unseen: false,
        stopped: false,
      });
    else if (reserved !== null && reserved !== undefined) throw reserved;
  };
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    call();
    grant(escrow);
    const began = process.hrtime.bigint();
    for (let i = 0; i < CALLS; i++) call();
    times.push(Number(process.hrtime.bigint() - began) / CALLS);
    grant(escrow);
    await breathe();
  }
  times.sort((a, b) => a - b);
  console.log(
    `${name.padEnd(40)} ${times[ROUNDS >> 1]?.toFixed(0).padStart(6)} ns (least ${times[0]?.toFixed(0)})`,
  );
}

await measure('no budget', []);
await measure('budgets of others', [budget(1, 'project', 'proj_2')]);
await measure('four hard budgets', [
  budget(1, 'organization', 'org-1'),
  budget(2, 'project', 'proj_1'),
  budget(3, 'api_key', 'key_1'),
  budget(4, 'end_user', '*'),
]);
