// One random schedule from one seed: budgets at six levels (credits, organization, project, groups, key, end user), nodes that crash, freeze, lose the store and drift, calls
// of every kind, limits that change, grants that come, expire and are revoked, members that change their groups, a window that ends in the middle. At the end the weather clears, and what is
// left is checked: nothing blocked, nothing lost but what a crash may lose, every amount accounted for.

import { windowAt } from '../../src/spend/budgets/window.ts';
import { charge, limitOf } from '../../src/spend/credits/ledger.ts';
import { LEASE_MS } from '../../src/spend/escrow/protocol.ts';
import { keyOf, type Mutant, type SimBudget } from './model-store.ts';
import { type Call, type Random, type SimNode, Violation, World } from './world.ts';

const HOUR = 3_600_000;

export interface Outcome {
  readonly world: World;
  readonly excess: boolean;
}

/** Runs the schedule of a seed. @throws Violation */
export function runSchedule(seed: number, mutant: Mutant = 'none'): Outcome {
  const world = new World(seed, mutant);
  const { random } = world;
  const budgets = makeBudgets(world);
  const excess = random.chance(0.2);
  const calm = random.chance(0.15);
  world.resolves = random.chance(0.5);
  world.weather = calm
    ? { lost: 0, late: 0, delay: 2 }
    : {
        lost: random.pick([0, 0.02, 0.2]),
        late: random.pick([0, 0.01, 0.1, 0.3]),
        delay: random.pick([1, 5, 50]),
      };
  // Half of the schedules run over the end of a day, of which some over the end of a month.
  if (random.chance(0.5))
    world.now = Date.UTC(2026, 10, random.chance(0.3) ? 30 : 24, 23, 59, 60 - random.between(1, 20));
  const nodes = Array.from({ length: random.between(1, 4) }, () => world.addNode());
  for (const node of nodes) {
    node.skew = calm
      ? 0
      : random.pick([0, 0, random.between(-5000, 5000), random.between(-2 * HOUR, 2 * HOUR)]);
    node.drift = 1 + (random.next() - 0.5) / 5;
  }
  const length = random.between(5_000, 40_000);
  traffic(world, budgets, nodes, length, excess);
  if (!calm) trouble(world, budgets, nodes, length);
  for (let at = 1000; at < length + LEASE_MS * 3; at += 2000) world.at(at, () => world.sweep());
  world.run(length);
  finish(world, nodes);
  checkEnd(world, budgets, excess);
  return { world, excess };
}

interface Budgets {
  readonly all: readonly SimBudget[];
  /** Whose limit is made of grants. */
  readonly credits: SimBudget;
  /** Which groups the owner of each key is in. */
  readonly groups: number[][];
  chain(random: Random): Call['budgets'];
}

function makeBudgets(world: World): Budgets {
  const { random } = world;
  const period = () => random.pick(['day', 'week', 'month', 'total'] as const);
  const make = (id: string, most: number): SimBudget => {
    const budget: SimBudget = {
      id,
      period: period(),
      enforcement: random.chance(0.9) ? 'hard' : 'soft',
      limit: BigInt(random.between(most / 20, most)),
    };
    world.store.budgets.set(id, budget);
    return budget;
  };
  const organization = make('org', 400_000);
  const projects = [make('project-a', 200_000), make('project-b', 200_000)];
  const keys = ['k1', 'k2', 'k3', 'k4'].map((id) => make(id, 80_000));
  const users = make('each-user', 30_000);
  const named = [make('group-a', 150_000), make('group-b', 150_000)];
  const each = make('each-group', 100_000);
  const groups = keys.map(() => [0, 1].filter(() => random.chance(0.4)));
  const credits: SimBudget = {
    id: 'credits',
    period: 'total',
    enforcement: 'hard',
    limit: 0n,
    credits: { grants: [], charged: 0n },
  };
  world.store.budgets.set(credits.id, credits);
  for (let i = random.between(1, 3); i > 0; i--) grantSome(world, credits);
  return {
    all: [organization, ...projects, ...keys, users, ...named, each],
    credits,
    groups,
    chain: (r) => {
      const key = r.int(keys.length);
      const chain = [
        { budget: credits, subject: '' },
        { budget: organization, subject: '' },
        { budget: projects[key & 1] as SimBudget, subject: '' },
        { budget: keys[key] as SimBudget, subject: '' },
      ];
      for (const group of groups[key] ?? []) {
        chain.push({ budget: named[group] as SimBudget, subject: '' });
        chain.push({ budget: each, subject: `g${group}` });
      }
      if (r.chance(0.7)) chain.push({ budget: users, subject: `u${r.int(3)}` });
      return r.chance(0.1) ? chain.slice(r.int(3)) : chain;
    },
  };
}

/** Grants that are used up, that expire while calls are under way, and that outlast the schedule. */
function grantSome(world: World, credits: SimBudget): void {
  const { random } = world;
  const amount = BigInt(random.between(1, random.pick([5_000, 50_000, 500_000])));
  world.grant(credits, amount, random.chance(0.3) ? null : random.between(1, 60_000));
}

function traffic(
  world: World,
  budgets: Budgets,
  nodes: readonly SimNode[],
  length: number,
  excess: boolean,
): void {
  const { random } = world;
  const calls = random.between(20, 250);
  const size = random.pick([50, 500, 5000]);
  for (let i = 0; i < calls; i++) {
    // Some come one by one, some in a burst at once.
    const at = random.chance(0.5) ? random.int(length) : Math.floor(random.int(length) / 5000) * 5000;
    world.at(at, () => {
      const worst = random.between(1, size);
      world.call(random.pick(nodes), {
        budgets: budgets.chain(random),
        worst,
        actual: excess && random.chance(0.1) ? worst + random.int(size) : random.int(worst + 1),
        duration: random.chance(0.1) ? random.int(30_000) : random.int(800),
        waitMs: random.pick([50, 500, 2000, 8000]),
        ...(random.chance(0.05) ? { unsent: true } : random.chance(0.08) ? { unseen: true } : {}),
        ...(random.chance(0.1)
          ? { extensions: [random.int(size), random.int(size)], actual: worst + random.int(2 * size) }
          : {}),
      });
    });
  }
}

function trouble(world: World, budgets: Budgets, nodes: readonly SimNode[], length: number): void {
  const { random } = world;
  const some = (most: number, run: () => void) => {
    for (let i = random.int(most + 1); i > 0; i--) world.at(random.int(length), run);
  };
  some(5, () => {
    const node = random.pick(nodes);
    world.crash(node);
    world.at(random.between(0, 20_000), () => world.start(node));
  });
  some(3, () => {
    const node = random.pick(nodes);
    node.cut = true;
    world.at(random.between(100, 40_000), () => {
      node.cut = false;
    });
  });
  some(2, () => {
    const node = random.pick(nodes);
    if (node.alive) node.escrow.stop();
    world.at(random.between(500, 20_000), () => {
      world.crash(node);
      world.start(node);
    });
  });
  some(2, () => {
    const node = random.pick(nodes);
    if (node.alive) node.escrow.renew();
  });
  some(2, () => {
    random.pick(nodes).skew += random.between(-3000, 3000);
  });
  some(6, () => grantSome(world, budgets.credits));
  some(2, () => {
    const { grants } = budgets.credits.credits ?? { grants: [] };
    if (grants.length > 0) world.revoke(budgets.credits, random.pick(grants).id);
  });
  some(3, () => {
    budgets.groups[random.int(4)] = [0, 1].filter(() => random.chance(0.4));
  });
  some(6, () => {
    const budget = random.pick(budgets.all);
    const by = BigInt(random.pick([10, 50, 90, 150, 300]));
    world.setLimit(budget, (budget.limit * by) / 100n + 1n);
  });
}

/** The weather clears, calls end, living nodes give everything back, dead ones are reconciled. */
function finish(world: World, nodes: readonly SimNode[]): void {
  world.weather = { lost: 0, late: 0, delay: 2 };
  for (const node of nodes) node.cut = false;
  world.run(45_000);
  for (const node of nodes) if (node.alive) node.escrow.stop();
  world.run(LEASE_MS + 10_000);
  for (const node of nodes) {
    if (node.alive && !node.escrow.stopped)
      throw new Violation(
        `${node.name} does not come to rest: ${JSON.stringify([...node.escrow.accounts()].map(({ key, amount, spent, held, waiting, due, asked }) => ({ key, amount, spent, held, waiting, due, asked })))}`,
      );
    world.crash(node);
  }
  world.run(LEASE_MS * 2);
  world.sweep();
}

function checkEnd(world: World, budgets: Budgets, excess: boolean): void {
  const { store } = world;
  for (const [key, truth] of world.truth) {
    if (truth.possible !== 0n) throw new Violation(`${key}: a call never ended`);
    const account = store.accounts.get(key);
    const committed = account?.committed ?? 0n;
    const settled = account?.settled ?? 0n;
    const unresolved = store.unresolved(key);
    if (committed !== settled + unresolved) {
      throw new Violation(
        `${key}: blocked: ${committed} committed, ${settled} settled, ${unresolved} unresolved`,
      );
    }
    if (truth.hard && !excess && (settled > truth.billed + truth.over || truth.billed > committed)) {
      throw new Violation(`${key}: ${truth.billed} billed, ${settled} settled, ${committed} committed`);
    }
  }
  // Evidence comes in: the provider's bill of each dead lease. Then every budget is what the bills say.
  for (const [lease, { slices }] of store.leases) {
    for (const key of slices.keys())
      store.evidence(lease, key, world.billedBy.get(lease)?.get(key) ?? 0, true);
  }
  for (const [key, truth] of world.truth) {
    const { committed = 0n, settled = 0n } = store.accounts.get(key) ?? {};
    const most = truth.billed + truth.over;
    if (truth.hard && (committed < truth.billed || committed > most || settled !== committed)) {
      throw new Violation(
        `${key}: ${truth.billed} billed, but ${committed} committed and ${settled} settled in the end`,
      );
    }
  }
  checkCredits(world, budgets.credits, excess);
  usable(world, budgets.credits);
  for (const budget of budgets.all) if (budget.enforcement === 'hard') usable(world, budget);
}

/** Every nano-dollar of every grant was used, taken away once, or is left; and what was used is what was billed. */
function checkCredits(world: World, budget: SimBudget, excess: boolean): void {
  world.store.endDue(budget.id);
  world.store.moveCredits(budget, (before, settled) => charge(before, settled, world.now));
  const ledger = budget.credits ?? { grants: [], charged: 0n };
  const { billed = 0n, over = 0n } = world.truth.get(`${budget.id}||0`) ?? {};
  const sum = (kind: 'amount' | 'used' | 'taken') =>
    ledger.grants.reduce((total, grant) => total + grant[kind], 0n);
  for (const { id, amount, used, taken, status, expiresAt } of ledger.grants) {
    const left = amount - used - taken;
    if (left < 0n || used < 0n || taken < 0n || (status !== 'active' && left !== 0n))
      throw new Violation(`${id}: ${amount} granted, ${used} used, ${taken} taken away`);
    if (status === 'active' && expiresAt !== null && expiresAt <= world.now)
      throw new Violation(`${id}: still holds after its time`);
  }
  if (!excess && (sum('used') < billed || sum('used') > billed + over))
    throw new Violation(`${billed} billed, but the grants were charged ${sum('used')}`);
  if (budget.limit !== ledger.charged + sum('amount') - sum('used') - sum('taken'))
    throw new Violation(`the limit is ${budget.limit}, but the grants make it ${limitOf(ledger)}`);
}

/** A new node can spend exactly what is left, to the last nano-dollar. */
function usable(world: World, budget: SimBudget): void {
  const node = world.addNode();
  const key = keyOf({
    budgetId: budget.id,
    subject: '',
    windowStart: windowAt(budget.period, world.now).start,
  });
  const left = Number(budget.limit - world.store.committed(key));
  const answers: string[] = [];
  world.onAnswer = (_, __, answer) => answers.push(answer.kind);
  const call = (worst: number) => ({
    budgets: [{ budget, subject: '' }],
    worst,
    actual: worst,
    duration: 10,
    waitMs: 5000,
  });
  const expected: string[] = [];
  if (left >= 0) {
    world.call(node, call(left + 1));
    world.run(6000);
    expected.push('refused');
  }
  if (left > 0) {
    world.call(node, call(left));
    world.run(6000);
    expected.push('held');
  }
  if (answers.join() !== expected.join())
    throw new Violation(`${budget.id}: ${left} left, but ${answers.join()}`);
  node.escrow.stop();
  world.run(1000);
}
