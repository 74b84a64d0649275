// How much of a budget is usable: gateways on one store, clients that call one after another, and a crash of a random
// gateway every second, until nothing goes through any more.

import type { SimBudget } from './model-store.ts';
import { keyOf } from './model-store.ts';
import { type Call, World } from './world.ts';

export interface UseCase {
  readonly seed: number;
  readonly nodes: number;
  readonly clients: number;
  /** The budget bears so many calls. */
  readonly calls: number;
  /** Between crashes, in milliseconds; Infinity: none. */
  readonly crashEvery: number;
  /** The worst case of a call, as a multiple of what it costs. */
  readonly bound: number;
}

export interface Use {
  /** Shares of the limit: billed by providers; counted as possibly spent when a node died; given to nobody. */
  readonly billed: number;
  readonly unresolved: number;
  readonly unused: number;
  readonly crashes: number;
  /** Of the calls that were made, how many had to wait for a turn first. */
  readonly waited: number;
}

const COST = 1_000_000;

export function useUp(use: UseCase): Use {
  const world = new World(use.seed);
  const { random } = world;
  const limit = BigInt(use.calls * COST);
  const budgets: SimBudget[] = ['org', 'project', 'key', 'user'].map((id) => ({
    id,
    period: 'month',
    enforcement: 'hard',
    limit,
  }));
  for (const budget of budgets) world.store.budgets.set(budget.id, budget);
  const nodes = Array.from({ length: use.nodes }, () => world.addNode());
  let refusedInARow = 0;
  const over = () => refusedInARow > use.clients * 4;
  const chain: Call['budgets'] = budgets.map((budget) => ({ budget, subject: '' }));
  const next = () => {
    if (over()) return;
    const node = random.pick(nodes);
    if (!node.alive) {
      world.at(20, next);
      return;
    }
    const { life } = node;
    let answered = false;
    const call: Call = {
      budgets: chain,
      worst: COST * use.bound,
      actual: COST,
      duration: random.between(20, 120),
      waitMs: 5000,
    };
    waitingFor.set(call, () => {
      answered = true;
    });
    world.call(node, call);
    // A client whose gateway dies comes back after a moment.
    const watch = () => {
      if (answered) return;
      if (node.life !== life) world.at(20, next);
      else world.at(50, watch);
    };
    world.at(50, watch);
  };
  const waitingFor = new Map<Call, () => void>();
  world.onAnswer = (_, __, answer) => {
    refusedInARow = answer.kind === 'held' ? 0 : refusedInARow + 1;
  };
  world.onEnd = (call) => {
    waitingFor.get(call)?.();
    waitingFor.delete(call);
    world.at(refusedInARow > 0 ? 200 : 1, next);
  };
  for (let client = 0; client < use.clients; client++) world.at(random.int(50), next);
  if (Number.isFinite(use.crashEvery)) {
    const crash = () => {
      if (over()) return;
      const node = random.pick(nodes);
      world.crash(node);
      world.at(300, () => world.start(node));
      world.at(use.crashEvery, crash);
    };
    world.at(use.crashEvery, crash);
  }
  for (let second = 0; second < 600 && !over(); second++) {
    world.run(1000);
    if (second % 5 === 0) world.sweep();
  }
  world.run(60_000);
  for (const node of nodes) if (node.alive) node.escrow.stop();
  world.run(60_000);
  world.sweep();
  let least = 1;
  let key = '';
  for (const [each, truth] of world.truth) {
    const share = Number(truth.billed) / Number(limit);
    if (share <= least) {
      least = share;
      key = each;
    }
  }
  const committed = Number(world.store.committed(key));
  return {
    billed: least,
    unresolved: Number(world.store.unresolved(key)) / Number(limit),
    unused: 1 - committed / Number(limit),
    crashes: world.counts.crashes,
    waited: world.counts.later / (world.counts.held + world.counts.refused),
  };
}

export { keyOf };
