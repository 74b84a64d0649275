import { describe, expect, test } from 'vitest';
import { MUTANTS, type Mutant } from './model-store.ts';
import { runSchedule } from './schedule.ts';
import { useUp } from './use.ts';
import { Violation } from './world.ts';

/** KEYGATE_SIMULATION_SEEDS=100000 for a long run; a failure names its seed, which replays it. */
const SEEDS = Number(process.env['KEYGATE_SIMULATION_SEEDS'] ?? 2000);

function firstFailure(mutant: Mutant, seeds: number): { seed: number; error: Violation } | undefined {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      runSchedule(seed, mutant);
    } catch (error) {
      if (error instanceof Violation) return { seed, error };
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  return undefined;
}

describe('budgets under random schedules of crashes, lost messages, clock skew and limit changes', () => {
  test(`are never overshot and never stay blocked, in ${SEEDS} schedules`, { timeout: 600_000 }, () => {
    const failure = firstFailure('none', SEEDS);
    expect(failure && `seed ${failure.seed}: ${failure.error.message}`).toBeUndefined();
  });

  test.each(MUTANTS)('the simulation notices when it is broken: %s', { timeout: 120_000 }, (mutant) => {
    expect(firstFailure(mutant, 4000)).toBeDefined();
  });
});

describe('of a budget for 5,000 calls, used by 64 clients over three nodes', () => {
  const nodes = { nodes: 3, clients: 64, calls: 5000 };

  test.each([1, 2, 10])('all but a trace is usable while calls reserve %s times what they cost', (bound) => {
    const use = useUp({ seed: 1, ...nodes, crashEvery: Number.POSITIVE_INFINITY, bound });
    expect(use.billed).toBeGreaterThan(0.995);
    expect(use.unresolved).toBe(0);
  });

  test('at least 97 % is usable though a random node is killed every second', { timeout: 120_000 }, () => {
    for (const seed of [1, 2, 3]) {
      const use = useUp({ seed, ...nodes, crashEvery: 1000, bound: 1 });
      expect(use.crashes).toBeGreaterThan(2);
      expect(use.billed).toBeGreaterThan(0.97);
      expect(use.unused).toBeLessThan(0.01);
    }
  });
});
