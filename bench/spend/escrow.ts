// What escrow costs the road: reserve and settle with four levels of budgets (and one, two, eight), in ns a call, while
// the keeper's turns run beside it against a store that answers after a millisecond.
// node bench/spend/escrow.ts

import { setImmediate as breathe } from 'node:timers/promises';
import { systemClock } from '../../src/platform/clock.ts';
import { windowAt } from '../../src/spend/budgets/window.ts';
import { Escrow } from '../../src/spend/escrow/escrow.ts';
import { EscrowKeeper } from '../../src/spend/escrow/keep.ts';
import {
  type AccountState,
  applyEntry,
  type EscrowBudget,
  type EscrowStore,
  NEW_ACCOUNT,
  type SliceState,
  type TurnReply,
  type TurnRequest,
} from '../../src/spend/escrow/protocol.ts';

const ROUNDS = 7;
const CALLS = 400_000;
const BATCH = 200;
const WORST = 2_000_000;
const COST = 700_000;

/** The rules over maps, answered a millisecond later. */
class MemoryStore implements EscrowStore {
  turns = 0;
  private readonly accounts = new Map<string, AccountState>();
  private readonly slices = new Map<string, SliceState>();

  async turn(request: TurnRequest): Promise<TurnReply> {
    this.turns++;
    await new Promise((resolve) => setTimeout(resolve, 1));
    const granted = request.entries.map((entry) => {
      const key = `${entry.budgetId} ${entry.windowStart}`;
      const terms = { limit: 2n ** 62n, hard: true, live: true, open: true, now: Date.now() };
      const applied = applyEntry(this.accounts.get(key) ?? NEW_ACCOUNT, this.slices.get(key), entry, terms);
      this.accounts.set(key, applied.account);
      this.slices.set(key, applied.slice);
      return applied.granted;
    });
    return { kind: 'done', fenced: false, granted };
  }

  async fence() {
    return [];
  }

  async reconcile() {}
}

async function measure(levels: number): Promise<void> {
  const store = new MemoryStore();
  const escrow = new Escrow<EscrowBudget>('bench', () => 'lease');
  const keeper = new EscrowKeeper(escrow, store, { clock: systemClock, onError: console.error });
  const purses = Array.from({ length: levels }, (_, level) =>
    escrow.purse({ id: `budget-${level}`, period: level % 2 ? 'month' : 'day', enforcement: 'hard' }),
  );
  let waited = 0;
  /** One call; true if it had to wait for a turn. */
  const call = async () => {
    const answer = escrow.reserve(purses, WORST, Date.now(), performance.now());
    if (answer !== 'later') {
      if (answer.kind === 'held') escrow.settle(answer, COST);
      return;
    }
    waited++;
    await new Promise<void>((resolve) => {
      escrow.wait(purses, WORST, Date.now(), performance.now(), 5000, (late) => {
        if (late.kind === 'held') escrow.settle(late, COST);
        resolve();
      });
    });
  };
  await call();
  const each: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    let spent = 0n;
    waited = 0;
    for (let done = 0; done < CALLS; done += BATCH) {
      const wall = Date.now();
      const mono = performance.now();
      const started = process.hrtime.bigint();
      let at = 0;
      for (; at < BATCH; at++) {
        const answer = escrow.reserve(purses, WORST, wall, mono);
        if (answer === 'later' || answer.kind !== 'held') break;
        escrow.settle(answer, COST);
      }
      spent += process.hrtime.bigint() - started;
      if (at < BATCH) {
        done -= BATCH - at;
        await call();
      }
      await breathe();
    }
    each.push(Number(spent) / CALLS);
  }
  each.sort((a, b) => a - b);
  await keeper.stop(5000);
  const name = `reserve and settle, ${levels} ${levels === 1 ? 'level' : 'levels'}`;
  console.log(
    `${name.padEnd(34)} ${(each[ROUNDS >> 1] ?? 0).toFixed(0).padStart(6)} ns a call   ` +
      `${waited} of ${CALLS} waited for a turn, ${store.turns} turns in all`,
  );
}

console.log(`windows: ${new Date(windowAt('day', Date.now()).start).toISOString()}`);
for (const levels of [1, 2, 4, 8]) await measure(levels);
